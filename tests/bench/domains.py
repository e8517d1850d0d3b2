"""How well questions are sorted into the ten domains, as a fragment of the book (chapter 5).

`python tests/bench/domains.py --mirror FOLDER --out book/measured/domains.md` sets the classifier beside a
hand-labelled sample of LIMA's test prompts, and beside its rivals on starter questions that they were not fitted on.
"""

import argparse
from pathlib import Path

from fragment import show, write

from selfprompt_lib import domains


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", help="a folder in the hub's layout; without it LIMA is read from the hub")
    parser.add_argument("--out", type=Path, help="also write the tables as a fragment of the book")
    asked = parser.parse_args()
    agreement, confusion = domains.check(asked.mirror)
    mistaken = confusion.sum(axis=1) - [confusion.loc[name, name] for name in confusion.index]
    tables = {
        "LIMA's test prompts: the classifier and the hand-labelled sample": [_row(row, "agrees with", "share")
                                                                             for row in agreement.to_dict("records")],
        "The same by main label": [
            {"domain": name, "prompts": str(confusion.loc[name].sum()), "sorted otherwise": str(mistaken[name])}
            for name in confusion.index],
        "Starter questions that it was not fitted on (cross-validation)": [
            {"fitted on": row["fitted on"], **_row(row, "classifier", "accuracy")}
            for row in domains.cross_validated().to_dict("records")],
    }  # fmt: skip
    for caption, table in tables.items():
        print(f"\n{caption}")
        show(table)
    if asked.out:
        write(asked.out, tables)


def _row(row: dict, name: str, value: str) -> dict[str, str]:
    interval = f"{row['low']:.0%} to {row['high']:.0%}"
    return {name: row[name], value: f"{row[value]:.0%}", "95% interval": interval, "n": str(row["n"])}


if __name__ == "__main__":
    main()
