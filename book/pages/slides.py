"""The deck for the projector: a template filled from a run, with the figures of its notebooks.

Built by Sphinx with reveal.js, which lies beside it: the deck opens from a stick, without network.
"""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from measurements import difference_text
from rendering import render

from selfprompt_lib import plots
from selfprompt_lib.designs import designs_of, get_design
from selfprompt_lib.errors import UserError, require
from selfprompt_lib.evaluate.compare import ALL
from selfprompt_lib.evaluate.contrasts import MEASURES
from selfprompt_lib.evaluate.likelihood_report import QUESTIONS
from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.provenance import PROJECT
from selfprompt_lib.reading import read_json_lines
from selfprompt_lib.rows import Sample
from selfprompt_lib.sources import take_evenly_spaced

STYLE = Path(__file__).with_name("deck.css")
# Figures by words of their cell, which stand in no other of that chapter.
FIGURES = {"outcomes": ("annotate", "What became of each request"),
           "ranks": ("roles", "plots.rank_curves("), "loss": ("sft", "plots.loss_curves("),
           "rates": ("infer", "infer.role_rates("), "tokens": ("infer", "infer.tokens_by_part("),
           "designs": ("ablate", "ablate.role_rates(")}
READ = 4  # roles to read on a slide
# Designs for which a slide has no room: other wordings of those that it shows.
UNSHOWN = ("third-person", "expert-and-brings", "request-only", "system-style", "after-answer")
# A phone held upright gets a narrow, high slide in place of a small wide one.
SCRIPT = """{hash: true, slideNumber: "c/t", transition: "none", center: false, margin: 0.03,
  width: innerWidth < 600 ? 640 : 1280, height: innerWidth < 600 ? 1200 : 720,
  scrollActivationWidth: null}"""
SETTINGS = {
    "project": "Self-Prompt Tuning", "html_title": "Self-Prompt Tuning: slides",
    "extensions": ["myst_parser", "sphinx_revealjs"], "myst_enable_extensions": ["colon_fence"],
    "revealjs_style_theme": "white", "revealjs_script_conf": SCRIPT,
    "revealjs_static_path": ["."], "revealjs_css_files": ["deck.css"],
    "revealjs_script_plugins": [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}],
    "exclude_patterns": ["_build"], "html_copy_source": False,
}
UNUSED = ("revealjs/css", "revealjs/plugin/[!n]*", "revealjs/dist/*.map", "revealjs/dist/*.esm.js",
          "revealjs/plugin/notes/*.esm.js", "conf.py", "*.md")


def build(root: Path, facts: dict[str, Any], out: Path) -> Path:
    """Build the deck of the run in `root` into `out`; returns its page.

    Args:
        facts: of the run, as all its pages get them (`front.page_facts`).

    Raises:
        UserError: a figure is missing, or the builder warns, with its last words.
    """
    source = out.with_name(f"{out.name}-source")
    contrasts = shown_contrasts(facts["stages"])
    text = render("slides.md.jinja", facts | {"deck": deck_facts(root, contrasts)})
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    (source / "index.md").write_text(text, encoding="utf-8")
    (source / "conf.py").write_text(f"globals().update({SETTINGS!r})\n", encoding="utf-8")
    for file in (STYLE, PROJECT / "book" / "idea.svg", PROJECT / "book" / "idea-phone.svg"):
        shutil.copy(file, source)
    for name, (chapter, words) in FIGURES.items():
        (source / f"{name}.png").write_bytes(figure(root, chapter, words))
    draw_contrasts(contrasts, source)
    shutil.rmtree(out, ignore_errors=True)
    builder = [sys.executable, "-m", "sphinx", "-b", "revealjs", "-W", "-q", "-E", "-d",
               str(source / "_build"), str(source), str(out)]
    done = subprocess.run(builder, capture_output=True, encoding="utf-8", errors="replace")
    words = done.stdout + done.stderr
    require(not done.returncode, f"slides: the build failed:\n{words[-2000:]}")
    shutil.rmtree(source)
    for pattern in UNUSED:
        for path in (out / "_static").glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return out / "index.html"


def figure(root: Path, chapter: str, words: str) -> bytes:
    """The first figure of an executed notebook that the cell with these words has drawn, as PNG.

    Raises:
        UserError: there is none.
    """
    page = CHAPTERS[chapter].executed_notebook(root)
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []) if words in "".join(cell["source"]) else []:
            if picture := output.get("data", {}).get("image/png"):
                return base64.b64decode("".join(picture))
    raise UserError(f"{page}: no cell with {words!r} has a figure for the slides; run it again, "
                    "or mend FIGURES in book/pages/slides.py")


def shown_contrasts(stages: dict[str, Any]) -> pd.DataFrame:
    """The first three questions of chapter 5 that a run has answered, one row each.

    Columns are those of chapter 5's contrasts, with `question` and `effect`, in words.
    """
    rows = pd.DataFrame(stages["evaluate"]["metrics"]["likelihoods"]["contrasts"])
    titles = {contrast: question for contrast, question, _ in QUESTIONS[:3]}
    rows = rows[(rows.task == ALL) & rows.contrast.isin(titles)].infer_objects()
    rows = rows.merge(rows[["form", "measure"]].head(1))  # open questions, where there were any
    rows[["low", "high"]] = rows[["low", "high"]].astype(float)
    effect = [difference_text(row.difference, row.low, row.high) for row in rows.itertuples()]
    return rows.assign(question=rows.contrast.map(titles), effect=effect)


def draw_contrasts(rows: pd.DataFrame, folder: Path) -> None:
    """The figure of those three, in a shape that fits a slide."""
    rows = rows.assign(contrast=rows.question)
    axes = plots.contrast_plot(rows, MEASURES[rows.measure[0]])
    axes.figure.set_size_inches(plots.WIDTH, 3.4)  # low, so that its letters are large on a slide
    plots.save_figures({"contrasts": axes}, folder)


def deck_facts(root: Path, contrasts: pd.DataFrame) -> dict[str, Any]:
    """What the slides show of a run besides what all pages may tell.

    `sample`: the first that was trained on; `designs`: its role in each design; `roles`: replies to
    read, at even distances; `contrasts`: rows of `shown_contrasts`.
    """
    sample = Sample.model_validate(read_json_lines(root / "annotate" / "train.jsonl")[0])
    written = read_json_lines(root / "infer" / "self-prompt.jsonl")
    with_role = [row for row in written if row["role"]] or written
    return {"sample": {"question": sample.question, "answer": sample.answer,
                       "role": sample.role.model_dump()},
            "designs": {name: design.role_text(sample.role) for name, design
                        in designs_of(sample.role.strategy).items() if name not in UNSHOWN},
            "opening": get_design("from-now-on").opening,
            "roles": take_evenly_spaced(with_role, READ),
            "contrasts": contrasts.to_dict("records")}
