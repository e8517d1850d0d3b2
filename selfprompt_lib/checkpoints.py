"""Checkpoint folders: what kind of model lies in one, whether it is whole, and which model it is.

Only headers and ends of large files are read, so that a bad folder is refused before work begins.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .digests import path_digest, text_digest
from .errors import UserError, require
from .reading import is_pointer, one_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin", "adapter_model.safetensors",
           "adapter_model.bin")
ADAPTER = "adapter_config.json"
TOKENIZERS = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tekken.json")
# What a model is loaded from; a training leaves other files of these kinds beside it.
LOADED = ("*.json", "*.safetensors", "*.bin", "*.jinja", "*.py", "merges.txt", *TOKENIZERS)
LEFT_BY_TRAINING = ("trainer_state.json", "training_args.bin", "run.json")


def located(name: str, above: tuple[Path, ...] = ()) -> str:
    """A checkpoint folder that exists and is whole, or what can only be a hub id.

    An adapter on the hub is fetched, and its folder given.

    Raises:
        UserError: no such folder, or one that no model can be loaded from.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
        require(not looks_like_path,
                f"model: no folder {folder}; give a checkpoint folder or a hub id")
        if not (fetched := _hub_adapter(name)):
            return name
        folder = Path(fetched)
    require(folder.resolve() not in above,
            f"model: {folder} is an adapter on itself; give it a base")
    _check_folder(folder, (*above, folder.resolve()))
    return str(folder)


def _hub_adapter(name: str) -> str | None:
    """The folder in the hub's cache of a repository that holds an adapter; None of any other."""
    from huggingface_hub import snapshot_download
    from transformers.utils import find_adapter_config_file

    if _in_hub_cache(name, "config.json"):  # a whole model: nothing to ask the hub for
        return None
    try:
        return snapshot_download(name) if find_adapter_config_file(name) else None
    except (OSError, ValueError):  # whoever loads it will be told
        return None


def _check_folder(folder: Path, above: tuple[Path, ...]) -> None:
    adapter = adapter_config(folder)
    if adapter is None:
        require((folder / "config.json").is_file(), f"model: {folder} {_what_else(folder)}")
        _require_whole(folder / "config.json")
        require(any(list(folder.glob(name)) for name in TOKENIZERS),
                f"model: {folder} holds no tokenizer (tokenizer.json or tokenizer.model); copy "
                "the tokenizer's files into it from where the model comes from")
    if (settings := folder / "generation_config.json").is_file():
        _require_whole(settings)
    files = weight_files(folder)
    require(files, f"model: {folder} holds no weights ({WEIGHTS[0]}); fetch them, too")
    for path in files:
        _require_whole(path)
    if adapter is not None:
        _check_adapter(folder, adapter, above)


def _require_whole(path: Path) -> None:
    require(not (fault := file_fault(path)), f"model: {path}: {fault}; fetch it again")


def require_whole_files(folder: Path) -> None:
    """Refuse a file that a model would be loaded from, by its name, where it is not whole."""
    for pattern in LOADED:
        for path in sorted(folder.glob(pattern)):
            _require_whole(path)


def _what_else(folder: Path) -> str:
    """What a folder without config.json is, with the mend."""
    if list(folder.glob("*.gguf")):
        return ("holds a GGUF file only, which cannot be trained; give the folder of the model "
                "that it was made from (config.json, model.safetensors, tokenizer.json)")
    inside = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    mend = f"give {inside[0].parent}" if inside else "give a checkpoint folder"
    return f"holds no config.json; {mend}"


def weight_files(folder: Path) -> list[Path]:
    """The files that weights would be read from, in the order that transformers looks for them."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name]
        if index.is_file():
            _require_whole(index)
            found = json.loads(index.read_text(encoding="utf-8"))
            names = found.get("weight_map") if isinstance(found, dict) else None
            require(isinstance(names, dict) and all(isinstance(n, str) for n in names.values()),
                    f"model: {index}: no weight_map with names of files; fetch it again")
            return [folder / shard for shard in sorted(set(names.values()))]
    return []


def file_fault(path: Path) -> str:
    """Why a file of a checkpoint is not whole, in words; empty where it is."""
    try:
        if is_pointer(path):
            return "only a pointer of Git LFS (`git lfs pull` fetches the file)"
        with path.open("rb") as file:
            start = file.read(1)
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):  # compares what its header says with its size
                return ""
        if path.suffix in (".bin", ".pt", ".pth") and not start.startswith(b"\x80"):
            with zipfile.ZipFile(path):  # torch writes the table of contents last
                return ""
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
        return f"half-written or damaged ({one_line(error)})"
    return ""


def adapter_config(folder: Path) -> dict | None:
    """The configuration in a folder that holds an adapter and no model; None for another folder."""
    path = folder / ADAPTER
    if not path.is_file() or (folder / "config.json").is_file():
        return None
    _require_whole(path)
    return json.loads(path.read_text(encoding="utf-8"))


def _check_adapter(folder: Path, config: dict, above: tuple[Path, ...]) -> None:
    """Whether an adapter can be merged onto its base."""
    what = f"model: {folder} is an adapter"
    require(find_spec("peft"), f'{what}, which needs the package peft; pip install '
            '"selfprompt-lib[card]", or merge it onto its base and give that folder')
    from peft import PeftConfig  # an optional package

    try:
        prompt_learning = PeftConfig.from_pretrained(folder).is_prompt_learning
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{what} that peft cannot read ({error}); merge it onto its base and give "
                        "that folder") from None
    require(not prompt_learning, f"{what} of kind {config['peft_type']}, which cannot be merged "
            "onto its base; give a LoRA adapter or a whole model")
    base = config.get("base_model_name_or_path")
    require(isinstance(base, str) and base,
            f"{what} that names no base; set base_model_name_or_path in its adapter_config.json, "
            "or merge it and give that folder")
    try:
        located(base, above)
    except UserError as error:
        reason = str(error).removeprefix("model: ").partition(";")[0]
        raise UserError(f"{what} whose base cannot be loaded ({reason}); correct "
                        "base_model_name_or_path in its adapter_config.json") from None


def model_digest(name: str) -> str:
    """The digest of a folder's model, or the revision of a hub model; empty where it is not here.

    Files beside the model, such as a README or an optimizer's state, are no part of it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        paths = {path.name: path for pattern in LOADED for path in folder.glob(pattern)}
        kept = {file: path_digest(path) for file, path in paths.items()
                if file not in LEFT_BY_TRAINING}
        base = (adapter_config(folder) or {}).get("base_model_name_or_path")
        return text_digest([kept, model_digest(base) if base else ""])
    adapter = _in_hub_cache(name, ADAPTER)
    return hub_revision(name) or (model_digest(str(adapter.parent)) if adapter else "")


def hub_revision(name: Any) -> str:
    """The revision of a hub model in the hub's cache; empty for all else."""
    if not isinstance(name, str) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        return ""
    config = _in_hub_cache(name, "config.json")
    return config.parent.name if config else ""


def _in_hub_cache(name: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:  # the name of a served model
        return None
    return Path(found) if isinstance(found, str) else None


@contextmanager
def told_saving(folder: Path) -> Iterator[None]:
    """Tell a failure to write in one line; torch and safetensors have errors of their own for it.

    Raises:
        UserError: the reason, how much is free, and the mend.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: cannot be saved ({one_line(error)}; {free_gb(folder):.1f} GB "
                        "are free there); make room or mend that, and start again: whole "
                        "checkpoints and finished trainings are kept") from None


def free_gb(folder: Path) -> float:
    """GB that are free where a folder is, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free / 1e9
