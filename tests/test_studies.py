"""The scripts of book/studies: each names its page and is named by it; old commands name them."""

import runpy
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / "book"
PAGES = {
    "interval_coverage": "statistics.md",
    "likelihood_study": "statistics.md",
    "benchmark_study": "statistics.md",
    "judge_table": "judge.md",
    "domains_left_out": "robustness.md",
    "domain_classifier": "measuring.md",
    "keep_study": "measuring.md",
    "keep_designs": "measuring.md",
    "keep_sweep": "measuring.md",
    "unseen_questions": "deviations.md",
    "strategy_readings": "own.md",
}
FORMER = {
    "simulate": "interval_coverage",
    "examine": "judge_table",
    "left_out": "domains_left_out",
    "study": "keep_study",
}


@pytest.mark.parametrize("script", PAGES)
def test_a_study_names_its_page_and_the_page_names_it(script):
    assert f"python book/studies/{script}.py" in (BOOK / PAGES[script]).read_text()
    source = (BOOK / "studies" / f"{script}.py").read_text()
    assert f"`python book/studies/{script}.py" in source.split('"""')[1]
    assert (
        f"book/{PAGES[script]}" in source or script.startswith("keep_")
    )  # their pages are made of templates


def test_the_commands_of_before_name_the_new_ones(capsys):
    for old, new in FORMER.items():
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"selfprompt_lib.evaluate.{old}", run_name="__main__")
        assert ended.value.code == 2
        assert f"python book/studies/{new}.py" in capsys.readouterr().err
