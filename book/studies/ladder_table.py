"""The table of the ladder's rungs, and their commands, for the page "One card, many cards".

`python book/studies/ladder_table.py` writes book/measured/ladder.md. What each rung of ladder.yaml
asks for is arithmetic from its model's name: nothing is fetched. `model_ladder.py` measures the
rungs that can be had.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from pages import require_own, table, written_by

from selfprompt_lib import annotate, profiles
from selfprompt_lib.cli import run_command
from selfprompt_lib.estimates import parameters_from_name, training_bytes
from selfprompt_lib.pipeline.plan import training_hours
from selfprompt_lib.rows import STARTER_FOLDER, Sample, read_rows
from selfprompt_lib.starter import STARTER

MARK = written_by("ladder_table.py")
RUNGS = Path(__file__).with_name("ladder.yaml")
RECIPE, HERE = "mistral-7b", "cpu"  # the profiles of the paper's recipe, and of the default run
RANK = 16  # of LoRA, as in chapter 3's table of plans
LORA_RATE = "1e-4"  # adapters learn little at the recipe's 1e-5
SMALL_CARD = 24  # GiB of memory, of which a tenth is left free
ROOM = 0.9 * SMALL_CARD * 2**30 / 1e9  # GB


def rungs() -> list[dict[str, Any]]:
    """The models from small to large, with profile and terms of use."""
    return yaml.safe_load(RUNGS.read_text(encoding="utf-8"))


def ladder_table() -> list[dict[str, Any]]:
    """One row a rung: parameters, GB to train, hours, and the commands.

    Memory is that of weights, gradients and AdamW's state in bfloat16 training, without
    activations: of a full training (`full_gb`) and with LoRA (`lora_gb`). `recipe_hours` are those
    of the paper's recipe for the models of chapter 3 on one card; `cpu_minutes` those of the `cpu`
    profile's trainings on two cores. `lora` says whether a card of 24 GB is too small for a full
    training; then the command trains adapters.
    """
    samples = read_rows(STARTER_FOLDER / "train.jsonl", Sample)
    return [_row(rung, samples) for rung in rungs()]


def _row(rung: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    size = parameters_from_name(rung["model"])
    recipe = profiles.load(RECIPE, {"model": rung["model"], "sft.optimizer": "adamw"})
    with_lora = profiles.load(RECIPE, {"model": rung["model"], "sft.lora_rank": RANK})
    here = profiles.load(HERE, {"model": rung["model"]})
    full_gb, lora_gb = (sum(training_bytes(each, size, 2).values()) / 1e9
                        for each in (recipe, with_lora))
    return rung | {
        "parameters": size, "full_gb": full_gb, "lora_gb": lora_gb, "lora": full_gb > ROOM,
        "recipe_hours": training_hours(recipe, size, annotate.LIMA_ROWS, samples, from_hub=True),
        "cpu_minutes": 60 * training_hours(here, size, here.data.train_rows, samples,
                                           from_hub=False),
        "command": command(rung, lora=full_gb > ROOM),
    }


def command(rung: dict[str, Any], lora: bool = False) -> str:
    """The command that runs a rung; its settings are read as those of the profile."""
    settings = {"model": rung["model"]}
    if _is_base(rung):
        settings |= {"annotate.model": STARTER, "judge.model": STARTER}
    if lora:
        settings |= {"sft.lora_rank": str(RANK), "sft.learning_rate": LORA_RATE}
    own = profiles.flatten(profiles.load(rung["profile"]))
    given = [f"--set {field}={value}" for field, value in settings.items()
             if str(own[field]) != value]
    return " ".join(["selfprompt run --profile", rung["profile"], *given])


def sweep_command(profile: str) -> str:
    """The command that runs, as one sweep, a profile's rungs that a small card trains in full."""
    chosen = [rung for rung in ladder_table() if rung["profile"] == profile and not rung["lora"]]
    own, names = profiles.flatten(profiles.load(profile)), [rung["model"] for rung in chosen]
    others = ("annotate.model", "judge.model") if any(map(_is_base, chosen)) else ()
    settings = [f"--set {field}={STARTER}" for field in others if own[field] != STARTER]
    return " ".join([f"selfprompt sweep --profile {profile} --grid model={','.join(names)}",
                     *settings, f"--out sweep-{profile}"])


def _is_base(rung: dict[str, Any]) -> bool:
    return rung.get("base", False)


def table_page() -> str:
    """The table of rungs as Markdown, with the commands below it."""
    rows = [{
        "model": row["model"], "million weights": f"{row['parameters'] / 1e6:,.0f}",
        "full, GB": f"{row['full_gb']:.1f}", "LoRA, GB": f"{row['lora_gb']:.1f}",
        "the paper's recipe, one card": _hours(row["recipe_hours"]),
        "profile `cpu`, two cores": _hours(row["cpu_minutes"] / 60),
        "profile": f"`{row['profile']}`", "terms": row["terms"]} for row in ladder_table()]
    return "\n".join([
        MARK, "", *table(rows), "", "```bash",
        *(row["command"] for row in ladder_table()), "",
        f"# the rungs that a card of {SMALL_CARD} GB trains in full: one sweep a profile",
        *map(sweep_command, ("cpu", "gpu")), "```", ""])


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def main(arguments: list[str] | None = None) -> None:
    """The command; raises UserError on bad input."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("book/measured/ladder.md"),
                        metavar="FILE", help="the page to write (default: %(default)s)")
    out = parser.parse_args(arguments).out
    require_own(out, MARK)
    out.write_text(table_page(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(main))
