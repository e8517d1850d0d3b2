"""The board: runs of several laptops merged, told apart, left out; what a laptop hands in."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from selfprompt_lib.__main__ import main
from selfprompt_lib.evaluate.contrasts import likelihood_contrasts
from selfprompt_lib.workshop import board, handed_in

EVERY = ["Does a role help?", "Does it beat a neutral paragraph?", "Is it the right role that counts?",
         board.ANSWERS]


@pytest.fixture
def laptops(road, tmp_path):
    """`laptops(seed, …)`: a run folder a seed, its likelihoods moved a little; settings as given."""

    def make(*seeds, **settings):
        for seed in seeds:
            folder = tmp_path / f"laptop-{seed}" / "smoke"
            shutil.copytree(road / "smoke" / "evaluate", folder / "evaluate")
            for name in ("likelihoods", "items"):
                table = pd.read_parquet(folder / f"evaluate/{name}.parquet")
                trained = table.seed != -1
                table.loc[trained, "seed"] = seed
                if name == "likelihoods":
                    table.loc[trained, "nats"] += np.random.default_rng(seed).normal(0, 0.1, trained.sum())
                table.to_parquet(folder / f"evaluate/{name}.parquet", index=False)
            change(folder, seed=seed, **settings)
        return [tmp_path / f"laptop-{seed}" for seed in seeds]

    return make


def change(folder, version=None, **settings):
    """Other settings, such as `sft__epochs=2`, or another version, in the record of chapter 5."""
    path = folder / handed_in.RECORD
    record = json.loads(path.read_text())
    for name, value in settings.items():
        section, _, field = name.rpartition("__")
        profile = record["provenance"]["profile"]
        (profile[section] if section else profile)[field] = value
    record["provenance"]["selfprompt_lib"] = version or record["provenance"]["selfprompt_lib"]
    path.write_text(json.dumps(record))


def test_three_laptops_are_one_table_whose_last_rows_pool_items_and_seeds(laptops, tmp_path, capsys):
    paths = laptops(1, 2, 3)
    assert main(["board", *map(str, paths), "--out", str(tmp_path / "board")]) == 0
    said, table = capsys.readouterr().out, pd.read_csv(tmp_path / "board" / "board.csv")
    assert list(dict.fromkeys(table.question)) == EVERY and len(table) == 4 * len(EVERY)
    whole = table[table.laptop == board.TOGETHER].set_index("question")
    assert set(whole.seeds) == {"3 seeds"}
    # The same as chapter 5 of one run with three seeds says.
    tables = [pd.read_parquet(path / "smoke/evaluate/likelihoods.parquet") for path in paths]
    trained = [part[part.seed != -1] for part in tables]
    expected = likelihood_contrasts(pd.concat([tables[0][tables[0].seed == -1], *trained]))
    expected = expected[(expected.task == "all") & expected.primary].iloc[0]
    assert expected.seeds == 3
    assert np.allclose(whole.loc[EVERY[0], ["difference", "low", "high"]].astype(float),
                       expected[["difference", "low", "high"]].astype(float))
    alone = table[(table.laptop != board.TOGETHER) & (table.question == EVERY[0])]
    assert alone.difference.nunique() == 3 and whole.difference[EVERY[0]] == pytest.approx(alone.difference.mean())
    above = (alone.difference > 0).sum()
    assert f"{above} of 3 laptops see a difference above zero" in said
    page = (tmp_path / "board" / "board.html").read_text()
    assert "data:image/png" in page and "http" not in page and "laptop-2/smoke" in page
    assert "left out" not in said and (tmp_path / "board" / "board.png").stat().st_size > 20_000


def test_what_cannot_be_compared_is_left_out_by_name_and_what_may_differ_is_marked(laptops, tmp_path):
    paths = laptops(1, 2, 3, 4)
    change(paths[1] / "smoke", version="9.9", sft__micro_batch_size=1)
    change(paths[2] / "smoke", sft__epochs=7)
    again, unfinished, broken = (tmp_path / name for name in ("again", "unfinished", "broken.zip"))
    shutil.copytree(paths[0], again)
    shutil.copytree(paths[0], unfinished)
    shutil.move(unfinished / "smoke" / "evaluate", unfinished / "smoke" / "infer")
    broken.write_bytes(b"half a file")
    (paths[3] / "smoke/evaluate/items.parquet").write_bytes(b"PAR1")
    runs, told = handed_in.gather([*paths, again, unfinished, broken, tmp_path / "nowhere"])
    assert [run.name for run in runs] == ["laptop-1/smoke", "laptop-2/smoke"]
    table, _ = board.board_table(runs)
    assert set(table.differs[table.laptop == "laptop-2/smoke"]) == {"version 9.9"}
    text = "\n".join(told)
    for part in ("laptop-3/smoke: other sft.epochs", "laptop-4/smoke: damaged", "again/smoke: seed 1 is there already",
                 "unfinished/smoke: no evaluate/stage.json", "broken.zip: damaged", "nowhere: no such file"):
        assert part in text, (part, told)
    assert len(told) == 6


def test_other_items_are_told_and_no_run_at_all_is_refused(laptops, tmp_path, refused):
    paths = laptops(1, 2, 3)
    path = paths[2] / "smoke/evaluate/items.parquet"
    items = pd.read_parquet(path)
    items[items.task != items.task[0]].to_parquet(path)
    runs, told = handed_in.gather([tmp_path])
    assert len(runs) == 2 and told == ["left out: laptop-3/smoke: other items than most runs have"]
    with refused("no finished run", "nowhere"):
        handed_in.gather([tmp_path / "nowhere"])


def test_a_laptop_hands_in_one_small_file_that_says_the_same(laptops, tmp_path, capsys):
    folders, files = laptops(5, 6), tmp_path / "handed in"
    assert main(["board", "--pack", *map(str, folders), "--out", str(files)]) == 0
    assert "seed-5.zip: hand this in" in capsys.readouterr().out
    assert sum(file.stat().st_size for file in files.iterdir()) < 200_000
    packed, plain = handed_in.gather([files])[0], handed_in.gather(folders)[0]
    assert [run.name for run in packed] == ["seed-5", "seed-6"]
    for one, other in zip(packed, plain, strict=True):
        pd.testing.assert_frame_equal(one.likelihoods, other.likelihoods)
        pd.testing.assert_frame_equal(one.items, other.items)
        assert one.record == other.record and one.unlike(other) == []
    assert main(["board", "--pack", str(folders[0]), "--out", str(files)]) == 2
    assert "there already" in capsys.readouterr().err
