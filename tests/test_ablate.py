"""Chapter 6: what is computed from designs' tables, by hand; equal tokens; real trainings in small."""

import numpy as np
import pandas as pd
import pytest

from selfprompt_lib import ablate, ablate_measure, models, profiles, sft
from selfprompt_lib.ablate_measure import PROMPT, design_samples
from selfprompt_lib.designs import get_design
from selfprompt_lib.evaluate.likelihood_measure import COLUMNS, OPEN
from selfprompt_lib.rows import STARTER_FOLDER, Question, Sample, read_rows

SAMPLES = read_rows(STARTER_FOLDER / "train.jsonl", Sample)[:6]
QUESTIONS = read_rows(STARTER_FOLDER / "heldout.jsonl", Question)[:3]


def rows(model, prefix, nats, seed=0):
    return pd.DataFrame([{"model": model, "prefix": prefix, "seed": seed, "task": OPEN, "form": "text", "item": str(i),
                          "nats": value} for i, value in enumerate(nats)]).reindex(columns=COLUMNS)  # fmt: skip


def test_contrasts_of_designs_by_hand():
    table = pd.concat([
        rows("none", "own role", [-3, -2, -1, -2]), rows("neutral", "own role", [-3, -2, -1, -1]),
        rows("title-only", "own role", [-2, -1, -1, -1]), rows("title-only", "other question's role", [-4, -3, -1, -1]),
        rows("after-answer", "own role", [-3, -2, -1, -3])])  # fmt: skip
    found = ablate.design_contrasts(table).set_index(["design", "against"]).difference
    assert found.to_dict() == {
        ("neutral", ablate.AGAINST_NONE): 0.25, ("title-only", ablate.AGAINST_NONE): 0.75,
        ("title-only", ablate.AGAINST_NEUTRAL): 0.5, ("title-only", ablate.AGAINST_OTHER): 1.0,
        ("after-answer", ablate.AGAINST_NONE): -0.25, ("after-answer", ablate.AGAINST_NEUTRAL): -0.5}  # fmt: skip


def test_the_spread_is_that_of_the_designs_and_not_of_the_questions():
    """Two designs that differ by 0.2 everywhere have a spread of 0.2 / √2; noise of items alone has none."""
    base = np.linspace(-4, -2, 40)
    apart = pd.concat([rows("title-only", "own role", base), rows("from-now-on", "own role", base + 0.2)])
    found = ablate.design_spread(apart).set_index("what")
    assert list(found.index) == [ablate.TUNED]
    tuned = found.loc[ablate.TUNED]
    assert tuned[["spread", "low", "high"]].tolist() == pytest.approx([0.2 / 2**0.5] * 3) and (tuned.of, tuned.n) == (2, 40)

    noise = np.random.default_rng(0).normal(0, 1, (2, 40))
    noise -= noise.mean(axis=1, keepdims=True)
    alike = pd.concat([rows("title-only", "own role", noise[0]), rows("from-now-on", "own role", noise[1])])
    found = ablate.design_spread(alike).set_index("what").loc[ablate.TUNED]
    assert found.spread == 0 and found.low == 0 < found.high


def test_the_same_texts_as_prompts_and_other_seeds_stand_beside():
    base = np.linspace(-4, -2, 10)
    # The second seed differs by 2, so that the mean of both does by 1; questions that lie on a line tell of no noise.
    parts = [rows(name, "own role", base + step * (2 * seed - 6), seed) for seed in (3, 4)
             for step, name in enumerate(("title-only", "from-now-on"))]  # fmt: skip
    parts += [rows("plan", "own role", base + 9, 3), rows("neutral", "own role", base, 3)]
    parts += [rows(model, PROMPT + name, base + 2 * step, seed) for model, seed in (("base", -1), ("none", 3))
              for step, name in enumerate(("title-only", "from-now-on", "plan"))]  # fmt: skip
    found = ablate.design_spread(pd.concat(parts)).set_index("what")
    assert found.of.to_dict() == dict.fromkeys([ablate.TUNED, "prompted, untuned", "prompted, baseline", ablate.SEEDS], 2)
    # The seeds of title-only are equal, those of from-now-on 2 apart (variance 2): the mean variance is 1.
    assert found.spread.tolist() == pytest.approx([0.5**0.5, 2**0.5, 2**0.5, 1])


def test_with_equal_tokens_a_longer_design_gets_fewer_samples():
    profile = profiles.load("smoke", {"ablate.equal": "tokens"})
    tokenizer = models.shape(profile.model)[1]
    counts = {name: sft.token_counts(tokenizer, design_samples(profile, name, SAMPLES), get_design(name)).tokens.sum()
              for name in ("none", "title-only", "from-now-on", "plan")}  # fmt: skip
    assert len(design_samples(profile, "none", SAMPLES)) == 6 > len(design_samples(profile, "from-now-on", SAMPLES))
    assert max(counts.values()) == counts["none"] and min(counts.values()) > 0.6 * counts["none"]
    assert len(design_samples(profiles.load("smoke"), "from-now-on", SAMPLES)) == 6


def test_designs_and_a_strategy_are_trained_measured_and_taken_up(tmp_path, capsys):
    names = ["none", "after-answer", "plan", "title-only"]
    profile = profiles.load("smoke", {"ablate.designs": names, "ablate.tasks": [], "sft.checkpoints": 0,
                                      "dtype": "float32"})  # fmt: skip
    given = SAMPLES[:4], QUESTIONS, {}, tmp_path / "trainings", tmp_path / "parts"
    records = ablate.train_designs(profile, SAMPLES[:4], tmp_path / "trainings")
    assert {name: (len(runs), runs[0]["samples"]) for name, runs in records.items()} == dict.fromkeys(names, (1, 4))
    found = ablate.measure_designs(profile, records, *given)
    likelihoods, roles = found["likelihoods"], found["roles"]
    assert likelihoods.nats.notna().all() and set(likelihoods.model) == {*names, "base"}
    behind = likelihoods.groupby("model").prefix.unique().map(list).to_dict()
    assert behind["after-answer"] == ["own role"] and behind["plan"] == ["own role", "other question's role"]
    assert [name for name in behind["base"] if name.startswith(PROMPT)] == [PROMPT + "title-only"]
    assert roles.groupby("design").size().to_dict() == dict.fromkeys(names, 3)
    rates = ablate.role_rates(roles, found["replies"])
    assert rates.design.tolist() == names and rates.n.tolist() == [3, 2, 3, 3]

    capsys.readouterr()
    again = ablate.train_designs(profile, SAMPLES[:4], tmp_path / "trainings")
    assert again == records and capsys.readouterr().out.count("taken up") == len(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablate_measure.models, "load", None)  # nothing is loaded again
        repeated = ablate.measure_designs(profile, again, *given)
    pd.testing.assert_frame_equal(repeated["likelihoods"], likelihoods)
