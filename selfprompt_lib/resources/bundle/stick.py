"""What the scripts of a bundle call: `check` finds a bad copy, `install` installs it offline.

The standard library is enough, and any Python 3 can read this, so that a wrong one is told so.
"""

import hashlib
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

STICK = Path(__file__).resolve().parent
SAME = {"amd64": "x86_64", "arm64": "aarch64"}
SHOWN = 5  # bad files that are named
FOLDERS = {"needed/notebooks": "workshop/learner", "nice/book": "book", "nice/run": "run"}
MAKE_MODELS = "import sys; from selfprompt_lib import models; [*map(models.resolve, sys.argv[1:])]"


def fail(message):
    """Stop with words."""
    sys.exit("[FAIL] " + message)


def read_manifest():
    """The list of what belongs to the bundle."""
    try:
        manifest = json.loads((STICK / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        fail("manifest.json is missing or cut off: copy the bundle again, whole")
    if not manifest["files"]:
        fail("this bundle was not finished: call `selfprompt bundle` again where it was made")
    return manifest


def check_python(manifest):
    """Whether the packages of the bundle fit this Python and this machine."""
    wanted = "Python {python} on {system} {machine}".format(**manifest)
    version = "{}.{}".format(*sys.version_info[:2])
    here = f"Python {version} on {platform.system()} {platform.machine()}"
    both = f"this bundle is for {wanted}, and this is {here}. "
    if version != manifest["python"]:
        other = f", or ask for a bundle made with --python {version}"
        fail(f"{both}Install Python {manifest['python']} and call this again"
             f"{other if sys.version_info >= (3, 11) else ''}")
    machines = [SAME.get(name.lower(), name.lower())
                for name in (platform.machine(), manifest["machine"])]
    if platform.system() != manifest["system"] or machines[0] != machines[1]:
        fail(f"{both}Ask for a bundle made with --platform for this machine")
    if struct.calcsize("P") < 8:
        fail(f"{both}It is a 32-bit one; install the 64-bit Python {version}")
    print(f"[OK]   {here}")


def bad_files(files):
    """What is missing, cut off or damaged; a part of nice/ may be left away as a whole."""
    whole = sum(size for size, _ in files.values())
    print(f"looking at {len(files)} files, {whole / 1e9:.1f} GB ...", flush=True)
    for name, (size, digest) in files.items():
        path = STICK / name
        if name.startswith("nice/") and not STICK.joinpath(*name.split("/")[:2]).exists():
            continue
        if not path.is_file():
            yield name + " is missing"
        elif path.stat().st_size != size:
            yield f"{name} is cut off ({path.stat().st_size:,} of {size:,} bytes)"
        elif sha256(path) != digest:
            yield name + " is damaged"


def sha256(path):
    """The checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_files(manifest):
    """Stop at a bundle that was not copied whole."""
    bad = list(bad_files(manifest["files"]))
    if bad:
        more = " ..." if len(bad) > SHOWN else ""
        fail(f"{len(bad)} of {len(manifest['files'])} files: {'; '.join(bad[:SHOWN])}{more}. "
             "Copy the bundle again, whole")
    print("[OK]   the bundle is whole")


def python_of(target):
    """The Python of the installed environment."""
    return target / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(target, *arguments, **environment):
    """A command in the installed environment."""
    command = [str(python_of(target)), *map(str, arguments)]
    sys.stdout.flush()  # what it says comes after what was said
    return subprocess.run(command, cwd=str(target), env=dict(os.environ, **environment)).returncode


def install(target, manifest):
    """Make the environment, the model and the folders; what is there is kept."""
    import venv  # not in every Python that could read this

    target.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(str(target)).free
    if not python_of(target).exists() and free < manifest["installed"]:
        fail(f"{target}: {free / 1e9:.1f} GB are free, {manifest['installed'] / 1e9:.1f} are "
             "needed; make room, or give another folder")
    wheels = STICK / "needed" / "wheels"
    print(f"installing into {target}: some minutes, {manifest['installed'] / 1e9:.1f} GB ...",
          flush=True)
    if not python_of(target).exists():
        venv.create(str(target / ".venv"), with_pip=False)  # some systems' Python has no pip
    pip = [next(wheels.glob("pip-*.whl")) / "pip", "--isolated", "--disable-pip-version-check",
           "install", "--quiet", "--no-index", "--find-links", wheels]
    own = next(wheels.glob("selfprompt_lib-*.whl"))
    if run(target, *pip, own, "pip") or run(target, *pip, "--no-deps", "--force-reinstall", own):
        fail("pip could not install the packages; its own words are above")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    if run(target, "-c", MAKE_MODELS, *manifest["models"], **offline):
        fail("the model could not be made; the reason is above")
    for part, name in FOLDERS.items():
        if not (STICK / part).is_dir():
            continue
        print(f"copying {name} ...", flush=True)
        for path in sorted((STICK / part).rglob("*")):
            copy = target / name / path.relative_to(STICK / part)
            if path.is_file() and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                partial = copy.with_name(copy.name + ".partial")
                shutil.copyfile(str(path), str(partial))
                os.replace(str(partial), str(copy))


def main():
    """`stick.py check|install [FOLDER]`."""
    action = sys.argv[1]
    given = sys.argv[2] if len(sys.argv) > 2 else "~/selfprompt"
    target = Path(os.path.abspath(os.path.expanduser(given)))
    manifest = read_manifest()
    check_python(manifest)
    check_files(manifest)
    if action == "install":
        install(target, manifest)
    if not python_of(target).exists():
        print(f"not installed in {target} yet: call install")
        return
    if run(target, "-m", "selfprompt_lib", "check", "--quick"):
        fail("mend what is said above and call check again")
    begin = ".venv\\Scripts\\activate" if os.name == "nt" else ". .venv/bin/activate"
    print(f"\nto begin:\n  cd {target}\n  {begin}\n  jupyter lab workshop/learner")


if __name__ == "__main__":
    main()
