"""Costly results, kept where they were made and taken up again when the same is asked for.

So a page that runs again, because of a word in it or the colour of a figure, trains nothing anew.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from . import digests
from .files import write_json
from .profiles import Profile, flatten
from .sections import fields_noted, note_read

USED = "used.json"
DECIDES_NOTHING = tuple(f"{__package__}.{name}" for name in (
    "digests", "errors", "files", "kept", "profiles", "provenance", "sections", "settings"))


def keep(folder: Path, asked: Any, make: Callable[..., dict[str, Any]], profile: Profile,
         *arguments: Any) -> dict[str, Any]:
    """What `make(profile, *arguments)` returns, or an earlier call that is alike has returned.

    A call is alike where these are the same:

    - what was `asked`: JSON with all that `make` uses and that no profile says;
    - the code of the module of `make`, with all that this imports;
    - what `make` has used: the profile fields that it read, and the package's data. Where an
      earlier result is taken, this process counts as having used them too.

    Results are tables and JSON values by name (chapters 5 and 6).
    """
    modules = digests.closure([make.__module__], without=DECIDES_NOTHING)
    code = digests.code_digest(*map(digests.package_modules().get, modules))
    mark = digests.text_digest([asked, code, os.environ.get("SELFPROMPT_BF16")])[:16]
    fields = flatten(profile)
    for noted in sorted(folder.glob(f"{mark}-*/{USED}")):
        with contextlib.suppress(OSError, ValueError):  # one that was not copied whole
            used = json.loads(noted.read_text(encoding="utf-8"))
            if used == _as_now(fields, used["fields"], used["data"]):
                results = _results(noted.parent)
                note_read(used["fields"])
                digests.note_opened(used["data"])
                return results
    with fields_noted() as names:
        results = make(profile, *arguments)
    data = [name for name in digests.opened_files()
            if name.startswith("resources/") and not name.startswith("resources/profiles/")]
    used = _as_now(fields, names & fields.keys(), data)
    place = folder / f"{mark}-{digests.text_digest(used)[:8]}"
    partial = place.with_suffix(".partial")
    for there in (place, partial):
        shutil.rmtree(there, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, result in results.items():
        if isinstance(result, pd.DataFrame):
            result.to_parquet(partial / f"{name}.parquet", index=False)
        else:
            write_json(partial / f"{name}.json", result)
    write_json(partial / USED, used)
    partial.rename(place)
    return _results(place)


def _as_now(fields: dict[str, Any], names: Iterable[str], data: Iterable[str]) -> dict[str, dict]:
    """The fields of these names, and the digests of these files of the package."""
    paths = {name: digests.PACKAGE / name for name in sorted(data)}
    return {"fields": {name: fields.get(name) for name in sorted(names)},
            "data": {name: digests.file_digest(path) if path.is_file() else None
                     for name, path in paths.items()}}


def _results(place: Path) -> dict[str, Any]:
    tables = {path.stem: pd.read_parquet(path) for path in place.glob("*.parquet")}
    plain = (path for path in place.glob("*.json") if path.name != USED)
    return tables | {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in plain}
