"""The second reading of the strategies' texts, as the table of the page "Your own" (book/own.md).

`python book/studies/strategy_readings.py` renews it from the sheets in
`selfprompt_lib/resources/strategies/reviews`. A test sees to it that the two agree.
"""

from pathlib import Path

from pages import table, written_by

from selfprompt_lib import roles
from selfprompt_lib.designs import RESOURCES, STRATEGIES

REVIEWS = RESOURCES / "strategies" / "reviews"
PAGE = Path("book/measured/strategies.md")
SAID = {"fits": "fits its question", "true": "true", "no_leak": "leaves the answer out",
        "form": "form", "all": "**all four**"}


def main() -> int:
    """Write the table; returns the exit status."""
    PAGE.write_text(fragment(), encoding="utf-8")
    print(f"written: {PAGE}")
    return 0


def fragment() -> str:
    """The table with its caption, one row a strategy (Markdown)."""
    rows = [strategy_row(name) for name in STRATEGIES]
    return "\n".join([written_by("strategy_readings.py"), "", *table(rows), ""])


def strategy_row(name: str) -> dict[str, str]:
    """How many of the texts that were read pass, by criterion, and the share that pass all."""
    sheet = roles.read_sheet(REVIEWS / f"{name}.csv", roles.STRATEGY_CRITERIA)
    found = roles.verdicts(sheet, roles.STRATEGY_CRITERIA).set_index("criterion")
    counts = {SAID[row.Index]: f"{row.share * row.n:.0f} of {row.n}" for row in found.itertuples()}
    passed = found.loc["all"]
    return {"strategy": f"`{name}`"} | counts | {
        "share (95%)": f"{passed.share:.0%} ({passed.low:.0%} to {passed.high:.0%})"}


if __name__ == "__main__":
    raise SystemExit(main())
