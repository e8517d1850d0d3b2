"""Costly results are taken up where all is alike that they were made from, and made again where anything of it is not."""

from types import SimpleNamespace

import pandas as pd
import pytest

from selfprompt_lib import ablate_measure, kept, models, profiles
from selfprompt_lib.digests import PACKAGE, opened_files
from selfprompt_lib.evaluate import likelihood_measure, measure
from selfprompt_lib.rows import Question
from selfprompt_lib.sections import fields_noted

ASIDE = "resources/evaluate/aside.txt"


@pytest.fixture
def keep(tmp_path):
    """`keep(asked, field=value)`: the result, and whether it was made for it."""
    made = []

    def make(profile, factor):
        made.append(profile)
        (PACKAGE / ASIDE).read_text(encoding="utf-8")
        table = pd.DataFrame({"role": ["a", None], "n": [1, 2]})
        return {"items": table, "record": {"epochs": profile.sft.epochs * factor}, "replies": [{"id": "é"}]}

    make.__module__ = "selfprompt_lib.designs"

    def call(asked=1, **changed):
        before = len(made)
        profile = profiles.load("smoke", {name.replace("__", "."): value for name, value in changed.items()})
        return kept.keep(tmp_path / "kept", asked, make, profile, 3), len(made) > before

    return call


def test_a_result_is_taken_up_and_counts_as_if_it_had_been_made(keep):
    first, made = keep()
    with fields_noted() as read:
        again, made_again = keep()
    assert made and not made_again and "sft.epochs" in read and ASIDE in opened_files()
    assert again["record"] == first["record"] == {"epochs": 3} and again["replies"] == [{"id": "é"}]
    pd.testing.assert_frame_equal(again["items"], first["items"])
    assert not keep(judge__pairs=2)[1], "no such field was read"


def test_what_it_was_made_from_decides(keep, tmp_path, monkeypatch):
    keep()
    assert keep(sft__epochs=2)[1] and keep(asked=2)[1]
    assert not keep()[1] and not keep(sft__epochs=2)[1] and not keep(asked=2)[1], "each is kept"
    with monkeypatch.context() as patch:
        patch.setattr(kept.digests, "file_digest", lambda path: "edited data")
        assert keep()[1]
    with monkeypatch.context() as patch:
        patch.setattr(kept.digests, "code_digest", lambda *paths: "edited code")
        assert keep()[1]
    monkeypatch.setenv("SELFPROMPT_BF16", "0" if kept.os.environ.get("SELFPROMPT_BF16") == "1" else "1")
    assert keep()[1]


def test_a_result_that_was_not_written_whole_is_none(keep, tmp_path):
    keep()
    (place,) = (tmp_path / "kept").iterdir()
    for file, rest in (("used.json", 0), ("items.parquet", 20), ("used.json", 10)):
        whole = (place / file).read_bytes()
        (place / file).write_bytes(whole[:rest])
        assert keep()[1] and not keep()[1]


def ask_benchmarks(model, profile, folder):
    measure.measure_model(profile, {}, model, -1, ["base"], [], folder)


def ask_letters(model, profile, folder):
    task = SimpleNamespace(config=SimpleNamespace(generation_kwargs={}), eval_docs=[])
    tables = {"likelihoods": pd.DataFrame(), "roles": pd.DataFrame()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood_measure, "measure_likelihoods", lambda *_: tables)
        likelihood_measure.measure_seeds(profile, lambda *_: folder, [], {}, {"cloze": {}, "letters": {"one": task}}, folder)


def ask_prompted(model, profile, folder):
    roles = pd.DataFrame({"seed": [0], "task": [likelihood_measure.OPEN], "item": ["1"], "role": ["A baker"],
                          "design": ["from-now-on"]})  # fmt: skip
    asked = [Question(id="1", question="Why?", reference="So.")]
    list(ablate_measure._prompted(profile, {}, roles, asked, folder, folder))


@pytest.mark.parametrize("ask", [ask_benchmarks, ask_letters, ask_prompted])
def test_hub_models_that_were_never_fetched_share_no_rows(ask, tmp_path, monkeypatch):
    """They have no digest yet."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    loaded, some = [], pd.DataFrame({"item": ["1"]})
    monkeypatch.setattr(models, "load", lambda place, *_: loaded.append(place) or ("model", "tokenizer"))
    monkeypatch.setattr(measure, "ask_benchmarks", lambda *_: some)
    monkeypatch.setattr(likelihood_measure, "measure_options", lambda *_: some)
    monkeypatch.setattr(ablate_measure, "likelihoods", lambda *_, **__: [0.0])
    names = ["org/one", "org/two", "org/one"]
    for model in names:
        ask(model, profiles.load("smoke", {"model": model, "evaluate.contrasts": "short"}), tmp_path / "parts")
    assert loaded == names[:2]
