"""The offline road: in a fresh account and without network, a bundle is installed, checked and run.

    python -m selfprompt_lib bundle --out STICK --run runs/cpu
    python tests/bench/offline.py STICK --work FOLDER --page book/measured/offline.md

Linux alone: `unshare --net` takes the network away, all but 127.0.0.1, and HOME is an empty folder.
Chapters 1 to 4 run with profile `smoke`; then chapter 4 with the real model, from the bundle's run.
The page keeps sizes and seconds; what each step said goes to FOLDER/offline.log, without paths.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

QUESTIONS = 8  # of the fifty, which chapter 4 asks of the real model here
CUT = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]),
       "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
CALL_OUT = ("import socket\ntry: socket.create_connection(('192.0.2.1', 443), timeout=3)\n"
            "except OSError as error: print('no way out:', error.strerror)\n"
            "else: raise SystemExit('there is a network')")


def steps(stick: Path, target: Path) -> dict[str, list]:
    """What a learner calls, by what it is."""
    selfprompt = target / ".venv" / "bin" / "selfprompt"
    real = ["--profile", "cpu"]
    return {
        "no network": [sys.executable, "-c", CALL_OUT],
        "install, with a quick check": ["sh", stick / "install.sh", target],
        "the stick's check": ["sh", stick / "check.sh", target],
        "`selfprompt check`, with its times": [selfprompt, "check", *real],
        "chapters 1 to 4, profile `smoke`": [selfprompt, "start", "--chapter", "5", "--profile", "smoke"],
        "`selfprompt start --chapter 4`": [selfprompt, "start", "--chapter", "4", *real],
        f"chapter 4, profile `cpu`, {QUESTIONS} questions": [
            selfprompt, "run", "--only", "4", "--no-book", *real, "--set", f"data.question_rows={QUESTIONS}"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stick", type=lambda name: Path(name).absolute())
    parser.add_argument("--work", type=lambda name: Path(name).absolute(), required=True)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    home, target = given.work / "home", given.work / "home" / "selfprompt"
    home.mkdir(parents=True, exist_ok=True)
    done_before = given.work / "seconds.json"  # of steps that need not be done again after a stop
    surroundings = {"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": str(home), "LANG": "C.UTF-8"}
    taken = json.loads(done_before.read_text()) if done_before.exists() else {}
    with (given.work / "offline.log").open("a", encoding="utf-8") as log:
        for what, command in steps(given.stick, target).items():
            if what in taken:
                continue
            began = time.perf_counter()
            done = subprocess.run([*CUT, *map(str, command)], env=surroundings, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
                                  cwd=target if target.is_dir() else home)  # fmt: skip
            seconds = time.perf_counter() - began
            said = done.stdout.replace(str(given.stick), "STICK").replace(str(home), "HOME")
            shown = " ".join(map(str, command)) if what != "no network" else "a connection to 192.0.2.1"
            shown = shown.replace(str(given.stick), "STICK").replace(str(home), "HOME")
            text = f"=== {what}: {seconds:.0f} s, exit status {done.returncode}\n$ {shown}\n{said}\n"
            print(text, file=log, flush=True)
            print(text, flush=True)
            if done.returncode:
                raise SystemExit(f"{what}: failed")
            taken[what] = seconds
            done_before.write_text(json.dumps(taken))
    if given.page:
        given.page.write_text(page(given.stick, target, taken), encoding="utf-8")


def page(stick: Path, target: Path, taken: dict[str, float]) -> str:
    """Sizes of the bundle and seconds of the steps, as two tables."""
    manifest = json.loads((stick / "manifest.json").read_text(encoding="utf-8"))
    sizes: dict[str, int] = {}
    for name, (size, _) in manifest["files"].items():
        part = "/".join(name.split("/")[:2]) if "/" in name else "scripts"
        sizes[part] = sizes.get(part, 0) + size
    rows = [f"| `{name}` | {size / 1e6:,.0f} MB |" for name, size in sizes.items() if size > 1e5]
    total = sum(sizes.values())
    needed = sum(size for name, size in sizes.items() if name.startswith("needed"))
    installed = sum(path.lstat().st_size for path in (target / ".venv").rglob("*"))
    steps = [f"| {what} | {seconds:,.0f} s |" for what, seconds in list(taken.items())[1:]]
    when, busy = datetime.now(UTC).date(), os.getloadavg()[2] - 1
    shared = f" that were busy with other work (load {busy:.0f}), so that times are long" if busy > 1 else ""
    lines = [
        f"Measured on {when}, a bundle for Python {manifest['python']} on {manifest['system']} {manifest['machine']}, "
        f"version {manifest['selfprompt_lib']}, on {os.cpu_count()} cores{shared}:",
        "", "| part | size |", "| --- | ---: |", *rows,
        f"| needed / all | {needed / 1e9:.1f} / {total / 1e9:.1f} GB |",
        f"| installed packages | {installed / 1e9:.1f} GB |",
        "", "| step, without network | time |", "| --- | ---: |", *steps, ""]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
