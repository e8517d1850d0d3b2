"""Faults of a task's YAML, told before a model is loaded (chapter 5)."""

from pathlib import Path
from typing import Any

from lm_eval.tasks._yaml_loader import load_yaml

from ..errors import UserError, require
from ..reading import one_line
from .extraction import KINDS

READERS = ("strict", "tolerant")
FORMS = ("cloze", "letters")  # of tasks whose options are scored by likelihood
BASES = "_choice.yaml, _number.yaml, _yes_no.yaml or _code.yaml"


def check_task(config: Any, where: str | None = None) -> None:
    """One task, as lm-eval's `TaskConfig` or as the dictionary of its YAML (chapter 5).

    Raises:
        UserError: with the task or file (`where`), the field and the mend.
    """
    values = getattr(config, "__dict__", None) or config
    where = where or values.get("task") or "task"
    metadata, kwargs = values.get("metadata"), values.get("dataset_kwargs")
    include = f"include one of {BASES}"
    require(isinstance(metadata, dict) and metadata.get("kind") in KINDS,
            f"{where}: metadata.kind must be one of {', '.join(KINDS)}; set it, or {include}")
    scored = values.get("output_type") == "multiple_choice"  # by likelihood: no reply is read
    require(scored or isinstance(metadata.get("trigger"), str),
            f"{where}: metadata.trigger is missing; {include}, or write one")
    require(not scored or metadata.get("form") in FORMS,
            f"{where}: metadata.form must be {' or '.join(FORMS)}; include _cloze.yaml or "
            "_letters.yaml")
    needed = ("doc_to_text", "doc_to_target", "custom_dataset")
    for field in (*needed, "doc_to_choice") if scored else needed:
        require(values.get(field), f"{where}: {field} is missing; {include}")
    require(isinstance(kwargs, dict) and kwargs.get("path"),
            f"{where}: dataset_kwargs.path is missing; "
            "name a data set of the hub or a .jsonl file")
    require(isinstance(kwargs.get("columns"), dict),
            f"{where}: dataset_kwargs.columns is missing; name at least question and key")
    parts = values.get("filter_list") or []
    filters = tuple(part.get("name") for part in parts if isinstance(part, dict))
    require(scored or filters == READERS,
            f"{where}: filter_list must have the filters {' and '.join(READERS)}; {include}")


def check_task_folder(folder: Path) -> list[str]:
    """The names of the tasks of a folder, all of whose YAMLs were checked (chapter 5).

    lm-eval itself passes over files that it cannot read.

    Raises:
        UserError: no such folder, a file that is not YAML, an include that is missing, two tasks
            of one name, or a fault.
    """
    require(folder.is_dir(), f"{folder}: no such folder; give one with task YAMLs")
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.yaml")):
        config = _read_yaml(file)
        if file.name.startswith("_") or "group" in config:
            continue
        name = config.get("task")
        require(isinstance(name, str), f"{file}: task is missing; give the task a name")
        check_task(config, str(file))
        require(name not in files,
                f"{file}: the task {name} is also in {files.get(name)}; rename one")
        files[name] = file
    require(files, f"{folder}: no task YAML; add one that includes {BASES}")
    return list(files)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        return load_yaml(file, resolve_func=False)
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise UserError(f"{file}: include: {missing} is missing; "
                        "copy the package's _*.yaml beside it") from None
    except Exception as error:  # YAML's own errors, and lm-eval's for what is no mapping
        raise UserError(f"{file}: not a task YAML ({one_line(error)}); mend it") from None
