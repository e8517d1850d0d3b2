"""Data sets on the hub, or in a folder that mirrors its layout."""

from pathlib import Path

from .errors import UserError, require
from .rows import read_json_lines


def hub_rows(path: str, name: str, split: str, mirror: str | None = None) -> list[dict]:
    """The rows of a hub data set, or of its copy in a folder with the hub's layout.

    Raises:
        UserError: no such file in the mirror, or no access to the hub.
    """
    if mirror:
        file = Path(mirror).expanduser() / path / name / f"{split}.jsonl"
        require(file.is_file(), f"data.mirror: {file} is missing; a mirror has <org>/<name>/<config>/<split>.jsonl")
        return read_json_lines(file)
    import datasets

    try:
        return datasets.load_dataset(path, name, split=split).to_list()
    except Exception as error:  # the hub raises many types: offline, gated, unknown
        raise UserError(f"data: cannot load {path} from the hub ({type(error).__name__}); log in and check the "
                        "network, or set data.mirror to a folder in the hub's layout") from None
