"""Differences over items and seeds: against statsmodels and SciPy, in simulated worlds, and on bad tables."""

import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import rival_intervals as rivals
import simulated_worlds as sim
import statsmodels.api as sm
import yaml
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import Polygon
from scipy.stats import binomtest, t, ttest_1samp
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import TTestPower

from selfprompt_lib import plots
from selfprompt_lib.evaluate import compare
from selfprompt_lib.evaluate.subjects import (
    GROUP_OF,
    partial_pooling,
    shrink,
    subject_differences,
)
from selfprompt_lib.sample_size import (
    critical_difference,
    minimum_detectable_effect,
    required_sample_size,
    scaled_components,
)
from selfprompt_lib.stats import Z, holm, mcnemar_p, tango
from selfprompt_lib.two_way import (
    VarianceComponents,
    p_value,
    two_way_interval,
    variance_components,
)

ARMS = ("self-prompt", "baseline")
STATISTICS = Path(__file__).parents[1] / "book" / "statistics.md"


def changes(items=40, seeds=3, shift=0.0, seed=0, tasks=1):
    """Differences with a spread over items and over seeds; shape (items, seeds), or (tasks, items, seeds)."""
    rng = np.random.default_rng(seed)
    latent = (
        rng.normal(size=(tasks, items, 1))
        + rng.normal(size=(tasks, items, seeds))
        + rng.normal(size=seeds) * 0.3
        + shift
    )
    found = (latent > 1.2).astype(int) - (latent < -1.2)
    return found[0] if tasks == 1 else found


def made(
    seeds=3,
    tasks=(("mmlu", 120), ("gsm8k", 60)),
    gain=0.3,
    arms=("baseline", "self-prompt"),
    base=False,
):
    """A table of items as an evaluation leaves it."""
    rng, rows = np.random.default_rng(1), []
    subjects = list(GROUP_OF)
    for task, n in tasks:
        hard = rng.normal(size=n)
        for place, arm in enumerate((*arms, "base") if base else arms):
            for seed in [-1] if arm == "base" else range(seeds):
                right = hard + 0.7 * rng.normal(size=n) < -0.5 + gain * place + 0.1 * rng.normal()
                rows += [
                    {
                        "seed": seed,
                        "arm": arm,
                        "task": task,
                        "item": f"{i:03}",
                        "correct": bool(hit),
                        "stratum": subjects[i % 20] if task == "mmlu" else "",
                    }
                    for i, hit in enumerate(right)
                ]
    return pd.DataFrame(rows)


def paired(*arguments):
    return compare.paired_table(*arguments).to_numpy()


# Numbers


@pytest.mark.parametrize(("items", "seeds"), [(25, 3), (7, 2), (40, 5)])
def test_the_variances_are_the_mean_squares_of_an_analysis_of_variance(items, seeds):
    table = changes(items, seeds)
    item, seed = np.indices(table.shape)
    frame = pd.DataFrame({"d": table.ravel(), "item": item.ravel(), "seed": seed.ravel()})
    squares = anova_lm(ols("d ~ C(item) + C(seed)", frame).fit())["mean_sq"] / (items * seeds)
    found = variance_components(table)
    assert (found.items, found.seeds, found.residual) == pytest.approx(
        tuple(squares[["C(item)", "C(seed)", "Residual"]])
    )


def test_one_seed_of_one_task_is_tangos_interval_and_mcnemars_test():
    table = changes(80, 1, shift=0.5)
    new, old = table[:, 0] > 0, table[:, 0] < 0  # as right answers of two runs
    effect, (low, high) = two_way_interval(table), map(float, tango(new.sum(), old.sum(), 80))
    assert (effect.value, effect.low, effect.high, effect.n) == pytest.approx((table.mean(), low, high, 80))
    assert effect.p == mcnemar_p(new, old)


def test_where_only_seeds_vary_it_is_the_t_test_of_the_seeds():
    table = np.zeros((3000, 4))
    for seed, share in enumerate((0.05, 0.12, 0.2, 0.31)):
        table[: int(3000 * share), seed] = 1
    rng = np.random.default_rng(0)
    effect, expected = (
        two_way_interval(rng.permuted(table, axis=0)),
        ttest_1samp(table.mean(axis=0), 0),
    )
    assert effect.p == pytest.approx(expected.pvalue, rel=0.05)
    assert (effect.low, effect.high) == pytest.approx(
        tuple(expected.confidence_interval()), abs=0.004
    )
    assert effect.df == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("seeds", "far"), [(3, 2.0), (3, 4.3), (3, 12.6), (5, 2.78), (5, 6.0), (2, 40.0)]
)
def test_without_a_part_of_the_items_the_p_value_is_students(seeds, far):
    only = VarianceComponents(
        np.float64(1e-12),
        np.float64(1.0),
        np.float64(0.0),
        np.float64(500.0),
        np.float64(1.0),
        seeds,
    )
    assert p_value(np.float64(far), only) == pytest.approx(2 * t.sf(far, seeds - 1), rel=0.02)
    assert critical_difference(
        replace(only, seeds=np.ones(1)), 2 * t.sf(far, seeds - 1)
    ) == pytest.approx([far], rel=0.02)


def test_where_seeds_agree_it_is_the_t_test_of_the_items():
    table = np.repeat(changes(60, 1, shift=0.4), 3, axis=1)
    effect, expected = two_way_interval(table), ttest_1samp(table[:, 0], 0)
    assert (effect.low, effect.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert effect.p == pytest.approx(expected.pvalue)


def test_every_task_counts_the_same_and_the_seeds_stay_paired():
    first, second = changes(200, 3, shift=0.3, seed=1), changes(20, 3, seed=2)
    effect = two_way_interval(first, second)
    assert effect.value == pytest.approx((first.mean() + second.mean()) / 2)
    assert effect.components.seeds == pytest.approx(
        np.var((first.mean(0) + second.mean(0)) / 2, ddof=1) / 3
    )
    assert two_way_interval(first, first).value == pytest.approx(two_way_interval(first).value)


def test_the_test_is_never_bolder_than_the_interval():
    tables = [
        changes(30, seeds, shift, number)
        for number in range(40)
        for seeds in (2, 3, 5)
        for shift in (0.3, 0.8)
    ]
    found = [two_way_interval(table) for table in tables]
    assert 20 < sum(effect.p < 0.05 for effect in found) < 220  # both kinds are there
    assert all(effect.low > 0 or effect.high < 0 for effect in found if effect.p < 0.05)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("value", "items"), [(0, 25), (1, 25), (-1, 4), (1, 1)])
def test_items_that_never_differ_still_leave_a_width(value, items, seeds):
    effect = two_way_interval(np.full((items, seeds), value))
    assert -1 <= effect.low <= value <= effect.high <= 1
    assert effect.high - effect.low > 0.1
    assert np.isfinite([effect.p, effect.df]).all()


@given(st.integers(2, 60), st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=7), st.integers(0, 9))
def test_items_that_are_alike_up_to_rounding_are_alike(items, row, seed):
    order = np.random.default_rng(seed)
    table = np.array([order.permutation(row) for _ in range(items)])  # each row has the same mean
    for same in (table, table * 0.1):
        assert variance_components(same).items == (Z / items) ** 2
    table[0, 0] -= 1  # one item that differs is seen
    assert variance_components(table).items != (Z / items) ** 2


def test_the_smallest_difference_of_one_seed_is_the_power_of_a_t_test():
    effect = two_way_interval(changes(100, 1))
    spread = changes(100, 1).std(ddof=1)
    assert TTestPower().power(
        minimum_detectable_effect(effect.components) / spread, 100, 0.05
    ) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_so_many_items_or_seeds_as_are_needed_do_it_and_fewer_do_not(seeds):
    effect = two_way_interval(changes(250, seeds, seed=3))
    target = 0.8 * minimum_detectable_effect(effect.components)
    items, more = required_sample_size(effect, target)
    if items:
        assert (
            minimum_detectable_effect(scaled_components(effect.components, items / 250))
            <= 1.01 * target
        )
        assert (
            minimum_detectable_effect(scaled_components(effect.components, 0.9 * items / 250))
            > target
        )
    if seeds == 1:
        assert items and more is None
    else:
        assert more > seeds
        assert (
            minimum_detectable_effect(scaled_components(effect.components, seeds=more))
            <= target
            < minimum_detectable_effect(scaled_components(effect.components, seeds=more - 1))
        )


def test_where_seeds_differ_no_number_of_items_helps():
    table = changes(400, 3)
    table[:, 0] = np.where(np.arange(400) % 4 == 0, 1, table[:, 0])
    items, seeds = required_sample_size(two_way_interval(table), 0.15)
    assert items is None
    assert 3 < seeds <= 200
    assert required_sample_size(two_way_interval(table), 0.01) == (None, None)


# Against the ways not taken


@pytest.mark.parametrize(("items", "seeds"), [(25, 3), (60, 5)])
def test_the_two_way_clustered_rival_is_statsmodels(items, seeds):
    table = changes(items, seeds, shift=0.2)
    clusters = np.stack(
        [np.repeat(np.arange(items), seeds), np.tile(np.arange(seeds), items)], axis=1
    )
    fit = sm.OLS(table.ravel(), np.ones(table.size)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    low, high = rivals.two_way_cluster(table[None])
    assert (low[0], high[0]) == pytest.approx(tuple(fit.conf_int()[0]))


def test_the_truth_of_a_simulated_world_is_what_very_many_items_and_seeds_give():
    world = sim.World("", old=0.7, gain=0.05, spread=0.05)
    new, old, truth = sim.draw(world, np.random.default_rng(0), 400, 50, 40)
    assert (new.mean(), old.mean()) == pytest.approx((0.75, 0.7), abs=0.006)
    assert np.std((new.mean(2, dtype=float) - old.mean(2))[:, 0].mean(1)) > 0
    new, old, truth = sim.draw(world, np.random.default_rng(0), 60, 20_000, 1)
    one = (new.mean(2) - old.mean(2))[:, 0, 0]
    assert np.abs(one - truth[:, 0]).max() < 0.02
    assert truth.std() == pytest.approx(0.05, rel=0.25)


def held(rows, method):
    """The range of shares that the simulated coverage of this method is compatible with."""
    row = next(row for row in rows if row["method"] == method)
    found = binomtest(row["held"], row["repeats"]).proportion_ci(0.999)
    return found.low, found.high


@pytest.mark.parametrize(
    ("items", "seeds", "method"),
    [
        (25, 1, "Tango"),
        (250, 1, "Tango"),
        (25, 3, "crossed"),
        (250, 3, "crossed"),
        (250, 5, "crossed"),
    ],
)
@pytest.mark.parametrize("world", sim.WORLDS[1:4], ids=lambda world: world.name)
def test_the_books_intervals_hold_the_truth_as_often_as_they_promise(world, items, seeds, method):
    rows = sim.coverage(world, items, seeds, 1000, entropy=5, only_book=True)
    low, high = held(rows, method)
    assert high > 0.93 and low < 0.97


def test_intervals_that_forget_the_seeds_hold_the_truth_far_too_rarely():
    rows = sim.coverage(sim.WORLDS[1], 1300, 3, 500, entropy=5)
    assert held(rows, "all independent")[1] < 0.85
    assert held(rows, "bootstrap of seeds")[1] < 0.9
    assert held(rows, "crossed")[1] > 0.93


@pytest.mark.parametrize(("world", "seeds"), [(0, 1), (0, 3), (1, 3), (1, 5)])
def test_eight_tasks_without_a_difference_raise_few_false_alarms(world, seeds):
    row = sim.family(sim.WORLDS[world], 250, seeds, 600, entropy=5)[0]
    assert binomtest(row["false"], 600, 0.05, alternative="greater").pvalue > 0.001
    assert row["uncorrected"] > row["false"]


def test_a_family_has_a_false_alarm_where_holm_says_so():
    change = sim.draw(sim.World("", gain=0.1), np.random.default_rng(0), 50, 100, 3, 8)
    tests = sim.p_values(change[0].astype(int) - change[1])
    picked = tests[np.argsort(tests.min(axis=1))][[0, 1, 2, -3, -2, -1]]
    assert (
        [min(holm(row)) <= 0.05 for row in picked]
        == list(picked.min(axis=1) <= 0.05 / 8)
        == [True] * 3 + [False] * 3
    )
    table = change[0][0, 0].astype(int) - change[1][0, 0]
    assert tests[0, 0] == pytest.approx(p_value(table.mean(), variance_components(table)))


def test_one_best_guess_of_the_spread_would_be_too_narrow():
    """Why subjects are not shrunk with a single τ²: it is often zero."""
    from statsmodels.stats.meta_analysis import combine_effects

    rng, noise = np.random.default_rng(2), np.full(57, 0.1**2)
    ours, single = [], []
    for _ in range(200):
        truth = 0.05 * rng.standard_normal(57)
        seen = truth + 0.1 * rng.standard_normal(57)
        centre, variance = partial_pooling(seen, noise)
        ours.append(np.abs(truth - centre) < 1.96 * np.sqrt(variance))
        spread = max(0.0, combine_effects(seen, noise, method_re="iterated").tau2)
        keep = spread / (spread + noise)
        single.append(
            np.abs(truth - keep * seen - (1 - keep) * seen.mean())
            < 1.96 * np.sqrt(keep * noise + noise / 57)
        )
    assert np.mean(ours) > 0.91 > 0.87 > np.mean(single)


# Tables


def test_the_table_of_differences():
    items = made()
    table = compare.differences(items, *ARMS)
    assert list(table.task) == ["mmlu", "gsm8k", "all"]
    wide = (
        items[items.task == "mmlu"]
        .pivot_table(index="item", columns=["arm", "seed"], values="correct")
        .astype(float)
    )
    change = wide["self-prompt"] - wide["baseline"]
    first, _, last = table.itertuples()
    assert first.difference == pytest.approx(change.mean(axis=None))
    assert (first.wins, first.losses) == ((change > 0).sum(axis=None), (change < 0).sum(axis=None))
    assert (first.n, first.seeds, last.n) == (120, 3, 180)
    assert last.difference == pytest.approx(table.difference[:2].mean())
    assert list(table.p_holm) == pytest.approx([*holm(table.p[:2]), last.p])
    assert (table.low < table.difference).all() and (table.difference < table.high).all()
    mirrored = compare.differences(items, *ARMS[::-1])
    assert list(mirrored.low) == pytest.approx(list(-table.high))


def test_the_untuned_model_is_paired_with_every_seed():
    items = made(base=True)
    change = paired(items, "self-prompt", "base", "gsm8k")
    wide = (
        items[items.task == "gsm8k"]
        .pivot(index="item", columns=["arm", "seed"], values="correct")
        .astype(int)
    )
    assert change.shape == (60, 3)
    assert (change[:, 2] == wide[("self-prompt", 2)] - wide[("base", -1)]).all()
    assert (paired(items, "base", "self-prompt", "gsm8k") == -change).all()


def test_another_column_can_be_compared():
    items = made().assign(correct_strict=lambda frame: ~frame.correct)
    assert (paired(items, *ARMS, "gsm8k", "correct_strict") == -paired(items, *ARMS, "gsm8k")).all()


def without(frame, **wanted):
    mask = np.logical_and.reduce([frame[name] == value for name, value in wanted.items()])
    return frame[~mask]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: without(f, arm="baseline"), ["baseline", "no rows"]),
        (lambda f: without(f, arm="baseline", item="003"), ["not asked the same items", "'003'"]),
        (
            lambda f: without(f, arm="baseline", item="003", seed=1),
            ["baseline", "ask every seed the same items", "003"],
        ),
        (lambda f: pd.concat([f, f[f["item"] == "007"]]), ["occur before", "'007'"]),
        (lambda f: without(f, arm="baseline", seed=2), ["seeds [2]", "no pair"]),
        (lambda f: without(f, task="gsm8k", seed=2), ["gsm8k", "other seeds than mmlu"]),
        (
            lambda f: f.assign(correct=f.correct.astype(object).where(f["item"] != "004", None)),
            ["correct", "empty cells"],
        ),
        (lambda f: f.assign(arm="x"), ["self-prompt", "['x']"]),
    ],
)
def test_a_table_that_is_not_paired_is_refused(refused, spoil, told):
    with refused(*told):
        compare.differences(spoil(made()), *ARMS)


@pytest.mark.parametrize("target", [0, 1, -0.02, 2])
def test_a_target_that_is_no_difference_is_refused(refused, target):
    with refused("target", "between 0 and 1"):
        compare.needed_sizes(made(), *ARMS, target=target)


def test_one_seed_cannot_tell_how_many_seeds_are_needed():
    table = compare.needed_sizes(made(), *ARMS, target=0.05)
    assert list(table.task) == ["mmlu", "gsm8k", "all"] and table.seeds_needed.notna().any()
    alone = compare.needed_sizes(made(seeds=1), *ARMS)
    assert alone.seeds_needed.isna().all() and alone.items_needed.notna().all()


def test_each_seed_is_a_pair_of_models():
    items = made()
    table = compare.seed_differences(items, *ARMS)
    assert len(table) == 3 * 3
    assert table[table.task == "gsm8k"].difference.mean() == pytest.approx(
        paired(items, *ARMS, "gsm8k").mean()
    )
    row = table[(table.task == "mmlu") & (table.seed == 1)].iloc[0]
    alone = two_way_interval(paired(items, *ARMS, "mmlu")[:, [1]])
    assert (row.low, row.high) == pytest.approx((alone.low, alone.high))


def test_the_second_view_of_the_page_on_statistics_runs(tmp_path, monkeypatch):
    """Tasks as a sample of their kind, by statsmodels, from a run's file as the page reads it."""
    (code,) = re.findall(r"```python\n(.*?)```", STATISTICS.read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    Path("runs/cpu/evaluate").mkdir(parents=True)
    made().to_parquet("runs/cpu/evaluate/items.parquet")
    names = {}
    exec(code, names)
    table = names["view"].summary_frame()
    assert table.loc["random effect", "eff"] == pytest.approx(np.mean(names["values"]), abs=0.05)
    assert 0 <= max(0, names["view"].i2) < 1


def test_subjects_stand_in_the_groups_of_lm_evaluation_harness():
    import lm_eval

    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    tags = {
        path.stem.removeprefix("mmlu_"): yaml.safe_load(path.read_text())["tag"]
        for path in folder.glob("mmlu_*.yaml")
    }
    assert {
        name: f"mmlu_{group.lower().replace(' ', '_')}_tasks" for name, group in GROUP_OF.items()
    } == tags
    assert len(GROUP_OF) == 57


def test_subjects_are_drawn_towards_their_mean_and_small_ones_most():
    rng = np.random.default_rng(0)
    sizes = [1, 1, 5, 40, 200]
    sets = [rng.choice([-1, 0, 1], (size, 1), p=(0.1, 0.6, 0.3)) for size in sizes]
    sets[0][:], sets[1][:] = 1, -1
    table = shrink(sets)
    mean = np.concatenate(sets).mean()
    assert (np.abs(table.shrunk - mean) <= np.abs(table.difference - mean) + 0.05).all()
    assert (np.abs(table.shrunk - mean) / np.abs(table.difference - mean))[:2].max() < 0.4
    assert ((table.shrunk_high - table.shrunk_low) < (table.high - table.low))[2:].all()
    assert (table.high - table.low).iloc[0] > 0.5


def test_groups_and_subjects_have_all_items_of_the_task(refused):
    table = subject_differences(made(), *ARMS)
    assert table.groupby("level").n.sum().to_dict() == {"group": 120, "subject": 120}
    assert set(table[table.level == "subject"].name) == set(list(GROUP_OF)[:20])
    with refused("mmlu", "without a stratum"):
        subject_differences(made().assign(stratum=""), *ARMS)


# Figures


@pytest.fixture
def figure():
    yield
    plt.close("all")


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_forest_has_each_interval_and_a_diamond_as_wide_as_the_pooled_one(figure, seeds):
    table = compare.differences(made(seeds), *ARMS)
    axes = plots.forest_plot(table, "self-prompt better", "baseline better")
    bars = [bar[2][0].get_segments()[0][:, 0] for bar in axes.containers]
    assert [list(bar) for bar in bars] == [
        pytest.approx([row.low, row.high]) for row in table[:-1].itertuples()
    ]
    diamond = next(patch for patch in axes.patches if isinstance(patch, Polygon)).get_xy()[:, 0]
    assert (diamond.min(), diamond.max()) == pytest.approx(
        (table.low.iloc[-1], table.high.iloc[-1])
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "mmlu (120)",
        "gsm8k (60)",
        "mean of the tasks",
    ]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_figure_of_seeds_has_a_point_for_each_pair(figure, seeds):
    items = made(seeds)
    table, pairs = compare.differences(items, *ARMS), compare.seed_differences(items, *ARMS)
    axes = plots.seed_plot(pairs, table)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in dots] == [
        sorted(pairs[pairs.task == task].difference) for task in table.task
    ]


def test_the_figure_of_subjects_shows_raw_and_shrunk(figure):
    table = subject_differences(made(), *ARMS)
    axes = plots.subject_plot(table)
    assert len(axes.containers) == 2 * len(table)
    assert len(axes.get_yticklabels()) == len(table)


# The page


COMMITTED = Path(__file__).parents[1] / "book" / "measured" / "statistics.json"
EXPECTED_OUTSIDE = {
    ("+2 points, arms nearly alike", 25, 1)
}  # two items in 25 differ: too few steps to cover 95%


def test_the_committed_simulation_keeps_what_the_page_says():
    found = json.loads(COMMITTED.read_text())
    assert found["repeats"] >= 2000
    usual = {world.name for world in sim.WORLDS}
    missed = set()
    for row in found["coverage"]:
        if row["world"] in usual and row["method"] == ("Tango" if row["seeds"] == 1 else "crossed"):
            error = binomtest(row["held"], row["repeats"]).proportion_ci(method="wilson")
            if error.high < 0.93 or error.low > 0.97:
                missed.add((row["world"], row["n"], row["seeds"]))
    assert missed == EXPECTED_OUTSIDE
    for row in found["family"]:
        promised = row["seeds"] > 1 or "alike" in row["world"]
        assert (
            not promised
            or binomtest(row["false"], row["repeats"]).proportion_ci(method="wilson").low <= 0.05
        )


def test_a_task_without_any_difference_does_not_widen_another_measure_than_shares():
    change, same = np.random.default_rng(0).normal(0.03, 0.05, (50, 3)), np.zeros((50, 3))
    alone, both = two_way_interval(change, shares=False), two_way_interval(change, same, shares=False)
    assert (both.value, both.low, both.high) == pytest.approx((alone.value / 2, alone.low / 2, alone.high / 2))
    assert both.p == pytest.approx(alone.p)
    none = two_way_interval(same, shares=False)
    assert none.value == 0 and none.p == 1 and np.isnan([none.low, none.high]).all()
    assert two_way_interval(np.zeros((50, 3))).high > 0  # of shares a rare win may still be there
