"""One exercise a chapter, solved in JupyterLab in a real browser: its check first refuses the stub, then turns green.

`python tests/bench/lab.py --run RUNS --out FOLDER` takes a finished smoke run (`--run` is what `selfprompt run` was given
as `--out`), writes the learner's notebooks of all chapters, and does by mouse and keyboard what a learner does: runs the
cells down to the exercise (the first of each chapter; `--exercise 3` takes the third), then its stub and its check, types
the solution, and runs both again. For each chapter it saves two pictures, and says how long it took. It ends with an
error where a check says anything else than a kind word before and "Right" after. It needs chromium.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
from playwright.sync_api import expect, sync_playwright

from selfprompt_lib.workshop.exercises import chapters_with_exercises, exercise_notebook
from selfprompt_lib.workshop.versions import learner_version, tags, without_markers

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT = 240_000  # milliseconds for a cell; the first ones import torch
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"}, "apputils-extension/notification": {
    "checkForUpdates": False, "fetchNews": "false"}}  # no question about news, no look at the network


def main() -> None:
    """Solve one exercise of each chapter."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished smoke run")
    parser.add_argument("--out", type=Path, default=Path("lab"), help="where the pictures go")
    parser.add_argument("--chapters", nargs="+", help="such as 1 4; default: all that have exercises")
    parser.add_argument("--exercise", type=int, default=1, help="which one of each chapter")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    chapters = [each for each in chapters_with_exercises() if not given.chapters or each.label in given.chapters]
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as address, browser() as chrome:
        for chapter in chapters:
            begun = time.perf_counter()
            said = solve(chrome, address, Path(folder), exercise_notebook(chapter), given.run, given.exercise, given.out)
            print(f"chapter {chapter.label}, exercise {chapter.label}.{given.exercise}, {time.perf_counter() - begun:.0f} s")
            print(f"  stub:     {said[0]}\n  solution: {said[1]}", flush=True)


@contextmanager
def browser():
    """Headless Chromium."""
    with sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chrome
        chrome.close()


@contextmanager
def lab(folder: Path):
    """JupyterLab on `folder/learner`, with settings of its own; its address, once it answers."""
    (folder / "learner").mkdir()
    for name, values in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
           "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces")}
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={folder / 'learner'}"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=os.environ | own, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api").close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def solve(chrome, address: str, folder: Path, solved: Path, run: Path, which: int, out: Path) -> tuple[str, str]:
    """What the check says of the stub and of the solution; pictures of both in `out`.

    Raises:
        AssertionError: the check does not refuse the stub, or does not say "Right" of the solution.
    """
    whole = nbformat.read(solved, 4)
    learner = learner_version(whole)
    for cell in learner.cells:
        if "parameters" in tags(cell):
            cell.source = f'profile = "smoke"\nseed = -1\nout = "{run.resolve()}"\nsettings = {{}}'
    nbformat.write(learner, folder / "learner" / solved.name)
    places = [place for place, cell in enumerate(learner.cells) if "solution" in tags(cell)]
    target = places[which - 1]
    answer = without_markers(next(cell.source for cell in whole.cells if cell.id == learner.cells[target].id))
    check = next(place for place in range(target, len(learner.cells)) if "check" in tags(learner.cells[place]))

    page = chrome.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/lab/tree/{solved.name}?reset")
    cells = page.locator(".jp-Notebook .jp-Cell")
    expect(cells).to_have_count(len(learner.cells), timeout=WAIT)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=WAIT)
    code = [place for place in range(target) if learner.cells[place].cell_type == "code"]
    # Exercises stand on those before them only for what is shown in between.
    for place in [each for each in code if not {"solution", "check"} & set(tags(learner.cells[each]))]:
        assert "Error" not in (text := run_cell(page, cells.nth(place))), text
    run_cell(page, cells.nth(target))
    stub = run_cell(page, cells.nth(check))
    picture(page, cells.nth(check), out / f"{solved.stem}-stub.png")
    assert "AssertionError" in stub, stub
    cells.nth(target).locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(answer)
    assert "Error" not in (text := run_cell(page, cells.nth(target))), text
    right = run_cell(page, cells.nth(check))
    picture(page, cells.nth(check), out / f"{solved.stem}-solved.png")
    assert right.startswith("Right") and "Error" not in right, right
    page.close()
    return stub.strip().splitlines()[-1], right.splitlines()[0]


def run_cell(page, cell) -> str:
    """Run a cell as a learner does, by Control+Enter; its output as text."""
    prompt = cell.locator(".jp-InputPrompt").first
    before = prompt.inner_text()
    for _ in range(12):  # JupyterLab takes no key while the kernel is still connecting
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        with suppress(AssertionError):
            expect(prompt).not_to_have_text(before, timeout=WAIT / 24)
            break
    expect(prompt).to_contain_text(re.compile(r"\d"), timeout=WAIT)
    page.wait_for_timeout(300)  # what was written comes a little later than the number
    return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())


def picture(page, cell, path: Path) -> None:
    """The window, with the end of a cell at its foot."""
    cell.locator(".jp-OutputArea-output").last.scroll_into_view_if_needed()
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
