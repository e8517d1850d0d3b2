"""A room without network: what `check` says, what `start` puts in place, and what a bundle's own scripts find."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import command

from selfprompt_lib.__main__ import main
from selfprompt_lib.files import write_json
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.workshop import bundle, wheels

HERE = wheels.choose_target(None, None)


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_machine_that_has_all_is_told_so_line_by_line(tmp_path, capsys):
    assert main(["check", "--profile", "smoke", "--out", str(tmp_path)]) == 0
    said = lines(capsys)
    looked_at = ["Python", "packages", "ports", "browser", "folder", "model", "precision", "memory", "disk", "step", "reply",
                 "run"]  # fmt: skip
    told = {line.split()[1]: line for line in said[:-1]}
    assert list(told) == looked_at
    assert "of training, 4 samples" in told["step"] and "tokens" in told["reply"] and "minutes" in told["run"]
    assert {line.split()[0] for line in said[:-1]} <= {"[OK]", "[NOTE]"} and said[-1] == "ready for profile smoke"


def test_what_fails_is_told_with_its_mend(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    assert main(["check", "--quick", "--profile", "smoke", "--out", str(tmp_path / "file" / "runs")]) == 1
    assert [line for line in lines(capsys) if line.startswith("[FAIL] folder") and "give another" in line]
    monkeypatch.setenv("SELFPROMPT_CACHE", str(tmp_path / "empty"))
    assert main(["check", "--quick", "--profile", "smoke", "--out", str(tmp_path)]) == 1
    assert [line for line in lines(capsys) if line.startswith("[FAIL] model") and "with the network once" in line]
    assert not (tmp_path / "empty").exists(), "a quick check fetches nothing"


ASK = ["annotate", "--data", "asked.jsonl", "--out", "roles.jsonl", "--base-url", "http://127.0.0.1:9/v1"]


@pytest.mark.parametrize("module, given", [("yaml", ["run"]), ("openai", ASK)])
def test_a_missing_package_is_named_by_any_command(tmp_path, module, given):
    """A distribution that asks for more stands before the real one; a module that is not there, before another."""
    (tmp_path / "asked.jsonl").write_text('{"question": "Why?"}\n', encoding="utf-8")
    given = [str(tmp_path / word) if word.endswith(".jsonl") else word for word in given]
    needs = ["no-such-package>=1", "pyyaml<1", 'not-asked; extra == "card"', 'not-here; sys_platform == "never"', "numpy"]
    (tmp_path / "selfprompt_lib-0.1.0.dist-info").mkdir()
    (tmp_path / "selfprompt_lib-0.1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: selfprompt-lib\nVersion: 0.1.0\nRequires-Python: >=3.11\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs))
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    path = os.pathsep.join([str(tmp_path), str(Path(bundle.PROJECT))])
    done = command(*given, PYTHONPATH=path)
    said = done.stderr.splitlines()
    assert done.returncode == 1 and said[0] == "[FAIL] packages   no-such-package is missing"
    assert said[1].startswith("[FAIL] packages   pyyaml") and said[1].endswith("is not <1")
    assert "install" in said[2] and len(said) == 3


@pytest.fixture
def started(road, tmp_path):
    def start(*more):
        return main(["start", "--from", str(road), "--profile", "smoke", "--out", str(tmp_path), *more])

    return start


def test_a_finished_run_lets_any_chapter_begin_and_what_is_there_is_kept(started, tmp_path, capsys):
    own = tmp_path / "smoke" / "sft" / "trainer" / "half"
    own.parent.mkdir(parents=True)
    own.touch()
    assert started("--chapter", "4") == 0
    said = lines(capsys)
    assert [line for line in said if line.endswith("`run` skips it")] == said[-4:-1]
    assert said[-1].startswith("now chapter 4: open 04_infer")
    assert (tmp_path / "smoke" / "sft.unfinished-1" / "trainer" / "half").is_file(), "an hour's work is not lost"
    assert not (tmp_path / "smoke" / "sft" / "trainer").exists() and not (tmp_path / "smoke" / "infer").exists()
    mark = tmp_path / "smoke" / "roles" / "mine"
    mark.touch()
    assert started("--chapter", "5") == 0
    said = lines(capsys)
    assert sum("kept, finished" in line for line in said) == 3 and sum("in place" in line for line in said) == 1 and mark.exists()


def test_a_run_of_other_settings_can_be_used_and_is_said_to_run_again(started, capsys):
    assert started("--chapter", "4", "--set", "sft.epochs=2") == 0
    assert [line for line in lines(capsys) if line.startswith("3 sft") and "would make it again (fields: sft.epochs)" in line]


def test_a_run_that_was_not_copied_whole_is_refused_by_name(road, tmp_path, capsys):
    half = tmp_path / "half" / "smoke"
    shutil.copytree(road / "smoke", half, ignore=shutil.ignore_patterns("trainer", "02_roles.ipynb"))
    weights = half / "sft" / "baseline" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (half / "annotate" / "roles.jsonl").unlink()
    given = ["start", "--profile", "smoke", "--out", str(tmp_path / "out"), "--from"]
    assert main([*given, str(half), "--chapter", "4"]) == 2
    told = capsys.readouterr().err
    for part in ("annotate/roles.jsonl is missing", "nbs/02_roles.ipynb is missing", "baseline/model.safetensors is cut off",
                 "copy the run again"):  # fmt: skip
        assert part in told
    assert not (tmp_path / "out" / "smoke" / "annotate").exists()
    shutil.copytree(road / "smoke" / "annotate", (early := tmp_path / "early" / "smoke") / "annotate")
    shutil.copytree(road / "smoke" / "nbs", early / "nbs")
    assert main([*given, str(early), "--chapter", "4"]) == 2 and "chapter 3 (sft) has not finished" in capsys.readouterr().err
    assert main([*given, str(tmp_path), "--chapter", "5"]) == 2 and "no finished run of profile smoke" in capsys.readouterr().err


@pytest.fixture
def stick(tmp_path):
    """A bundle whose packages are three small files; `check` of it does not care."""
    folder = tmp_path / "stick"
    for name in ("needed/wheels/a.whl", "needed/notebooks/01.ipynb", "nice/book/index.html"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"content of {name}")
    bundle.write_scripts(folder, HERE, {"needed/wheels": 3e8, "nice/book": 2e6})
    manifest = {**HERE.described(), "models": [], "installed": 1, "files": bundle.listed(folder)}
    write_json(folder / "manifest.json", manifest)
    return folder


def check(stick, **changed):
    manifest = json.loads((stick / "manifest.json").read_text())
    write_json(stick / "manifest.json", manifest | changed)
    call = [sys.executable, stick / "stick.py", "check", stick.with_name("nowhere")]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == (1 if "[FAIL]" in done.stderr else 0), done.stderr
    return done.stdout + done.stderr


def test_a_whole_bundle_is_whole_with_or_without_its_nice_parts(stick):
    assert "[OK]   the bundle is whole" in check(stick) and "call install" in check(stick)
    shutil.rmtree(stick / "nice")
    assert "[OK]   the bundle is whole" in check(stick)


def test_a_half_copied_bundle_is_told_by_name(stick):
    (stick / "needed/wheels/a.whl").write_text("cont")
    (stick / "nice/book/index.html").write_text("CONTENT of nice/book/index.html")
    (stick / "needed/notebooks/01.ipynb").unlink()
    said = check(stick)
    for part in ("3 of 9 files", "a.whl is cut off (4 of 30 bytes)", "index.html is damaged", "01.ipynb is missing",
                 "Copy the bundle again"):  # fmt: skip
        assert part in said
    assert "was not finished: call `selfprompt bundle` again" in check(stick, files={})
    (stick / "manifest.json").write_text("{")
    done = subprocess.run([sys.executable, stick / "stick.py", "check"], capture_output=True, text=True)
    assert "manifest.json is missing or cut off" in done.stderr


@pytest.mark.parametrize(("changed", "mend"), [
    ({"python": "3.99"}, "Install Python 3.99 and call this again, or ask for a bundle made with --python"),
    ({"system": "Plan 9"}, "made with --platform for this machine"),
    ({"machine": "vax"}, "made with --platform for this machine"),
])  # fmt: skip
def test_a_wrong_python_or_machine_is_told_both_sides_and_the_mend(stick, changed, mend):
    said = check(stick, **changed)
    assert mend in said and f"this is {HERE}" in said and next(iter(changed.values())) in said


@pytest.mark.skipif(os.name == "nt", reason="a script for other systems")
def test_the_script_finds_its_python_and_says_where_there_is_none(stick, tmp_path):
    script = ["/bin/sh", str(stick / "check.sh"), str(tmp_path / "nowhere")]
    named = tmp_path / "bin" / f"python{HERE.python}"
    named.parent.mkdir()
    shutil.copy(shutil.which("dirname"), named.parent)
    done = subprocess.run(script, capture_output=True, text=True, env={"PATH": str(named.parent)})
    assert done.returncode == 1 and f"install Python {HERE.python}" in done.stdout
    named.symlink_to(sys.executable)
    done = subprocess.run(script, capture_output=True, text=True, env={"PATH": str(named.parent)})
    assert "[OK]   the bundle is whole" in done.stdout
    for name in ("check", "install"):
        subprocess.run(["/bin/sh", "-n", stick / f"{name}.sh"], check=True)
        batch = (stick / f"{name}.bat").read_bytes()
        assert f'stick.py" {name} %*\r\n'.encode() in batch and f"py -{HERE.python} ".encode() in batch


def test_the_readme_tells_the_sizes_and_no_script_has_a_gap(stick):
    for path in stick.glob("*.*"):
        gaps = (b"@PYTHON@", b"@SIZES@", b"@COMMAND@")
        assert not any(gap in path.read_bytes() for gap in gaps), path.name
    assert {path.name for path in stick.glob("*.sh")} == {"check.sh", "install.sh"}
    text = (stick / "README.txt").read_text()
    assert "needed/wheels        300 MB" in text and "needed/ 0.30 GB, nice/ 0.00 GB" in text and str(HERE) in text


def test_other_machines_have_their_own_tags_and_markers(refused):
    windows = wheels.choose_target("win_amd64", "3.12")
    assert str(windows) == "Python 3.12 on Windows AMD64" and windows.markers()["sys_platform"] == "win32"
    assert windows.options()[-2:] == ["--platform", "win_amd64"]
    linux = wheels.choose_target("manylinux_2_28_x86_64", "3.13")
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(linux.options())
    mac = {"python": "3.11", "system": "Darwin", "machine": "arm64"}
    assert wheels.choose_target("macosx_14_0_arm64", "3.11").described() == mac
    assert HERE.options() == ["--python-version", HERE.python] and not HERE.markers()
    for tag, python in (("beos", None), ("win_amd64", "3"), (None, "2.7")):
        with refused("give"):
            wheels.choose_target(tag, python)


def wheel(folder, name, *needs):
    place = f"{name}-1.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as file:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *(f"Requires-Dist: {need}" for need in needs)]
        file.writestr(f"{place}/METADATA", "\n".join(lines) + "\n")
        file.writestr(f"{place}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{place}/RECORD", "")


def test_pip_takes_what_the_other_system_needs_and_names_what_has_no_wheel(tmp_path, monkeypatch):
    for name in ("two", "three"):
        wheel(tmp_path / "index", name)
    wheel(tmp_path / "index", "one", 'two; sys_platform == "win32"', 'three; python_version < "3.12"')
    wheel(tmp_path / "index", "lacks", "nowhere-else>=2")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (pins := tmp_path / "pins.txt").touch()
    windows = wheels.choose_target("win_amd64", "3.12")
    assert wheels.download(["one"], windows, tmp_path / "windows", pins) is None
    assert {path.name[:3] for path in (tmp_path / "windows").iterdir()} == {"one", "two"}
    assert wheels.download(["lacks"], windows, tmp_path / "windows", pins) == "nowhere-else>=2"


def test_a_folder_with_something_else_and_a_bundle_for_others_are_left_alone(tmp_path, refused, stick):
    (tmp_path / "thesis.txt").touch()
    with refused("not empty, and no bundle", "give a new folder"):
        bundle.check_folder(tmp_path, HERE)
    with refused("holds a bundle for", "give another folder"):
        bundle.check_folder(stick, wheels.choose_target("win_amd64", "3.12"))
    bundle.check_folder(stick, HERE)
    bundle.check_folder(tmp_path / "new", HERE)


def test_the_projects_wheel_has_the_chapters_and_no_solution(tmp_path):
    wheels.lay_out_project(tmp_path / "tree")
    pages = sorted(path.name for path in (tmp_path / "tree" / "nbs").rglob("*.ipynb"))
    assert pages == sorted(chapter.notebook.name for chapter in CHAPTERS.values())
    assert not [page for page in pages if "SOLUTION" in (tmp_path / "tree" / "nbs" / page).read_text(encoding="utf-8")]
    assert (tmp_path / "tree" / "selfprompt_lib" / "resources" / "bundle" / "stick.py").is_file()
