"""TabularGAN: what it generates, is asked for, stores and refuses."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
import torch

from fastgan.files import WriteError
from fastgan.tabular import TableError, TableWarning, TabularGAN
from fastgan.training.config import ConfigError

SMALL: dict[str, Any] = {
    "batch_size": 40,
    "pack": 4,
    "latent_dim": 8,
    "generator": (16,),
    "discriminator": (16,),
    "steps": 3,
    "threads": 1,
}


def table(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "income": np.round(rng.lognormal(10, 1, rows), 2),
            "sex": rng.choice(["female", "male"], rows),
            "job": pd.Categorical(rng.choice(list("abc"), rows), categories=list("cba"), ordered=True),
            "since": pd.Timestamp("2020-01-01", tz="Europe/Berlin") + days,
            "member": rng.random(rows) < 0.3,
            "country": "CH",
            7: rng.normal(size=rows).astype(np.float32),
        }
    )
    frame.loc[::5, "income"] = np.nan
    frame.loc[::9, "sex"] = None
    return frame


@pytest.fixture(scope="module")
def fitted() -> TabularGAN:
    return TabularGAN(**SMALL).fit(table())


def test_rows_have_the_columns_of_the_table(fitted: TabularGAN) -> None:
    real, made = table(), fitted.sample(300, seed=0)
    pd.testing.assert_series_equal(made.dtypes, real.dtypes)
    assert list(made.columns) == list(real.columns)
    assert made.index.equals(pd.RangeIndex(300))
    assert (made["country"] == "CH").all()
    assert made["age"].between(real["age"].min(), real["age"].max()).all()
    assert made["since"].between(real["since"].min(), real["since"].max()).all()
    assert set(made["sex"].dropna()) <= {"female", "male"}
    assert (made["income"].dropna().mul(100) % 1).round(6).isin([0, 1]).all()
    assert made["sex"].isna().any()
    assert made["income"].isna().any()


def test_a_seed_is_always_the_same_rows(fitted: TabularGAN) -> None:
    first = fitted.sample(50, seed=3)
    pd.testing.assert_frame_equal(first, fitted.sample(50, seed=3))
    pd.testing.assert_frame_equal(first, fitted.sample(5_100, seed=3).head(50), check_exact=True)
    assert not first.equals(fitted.sample(50, seed=4))
    torch.manual_seed(0)
    drawn = fitted.sample(20)
    assert not drawn.equals(fitted.sample(20))
    torch.manual_seed(0)
    pd.testing.assert_frame_equal(drawn, fitted.sample(20))


def test_chunks_are_the_rows(fitted: TabularGAN) -> None:
    chunks = list(fitted.chunks(5_100, seed=3))
    assert [len(each) for each in chunks] == [5_000, 100]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), fitted.sample(5_100, seed=3))


def test_networks_without_hidden_layers() -> None:
    gan = TabularGAN(**{**SMALL, "generator": (), "discriminator": ()}).fit(table())
    assert list(gan.sample(5, {"sex": "female"}).sex) == 5 * ["female"]


def test_conditions_hold_for_all_rows(fitted: TabularGAN) -> None:
    made = fitted.sample(100, conditions={"sex": "female"}, seed=0)
    assert (made["sex"] == "female").all()
    assert made["job"].nunique() > 1
    made = fitted.sample(100, conditions={"sex": None, "job": "b", "member": True}, seed=0)
    assert made["sex"].isna().all()
    assert (made["job"] == "b").all()
    assert made["member"].all()


def test_the_generator_sees_the_condition() -> None:
    """A column that follows from the condition follows from it in samples too."""
    rng = np.random.default_rng(0)
    x = rng.choice(["a", "b"], 400)
    frame = pd.DataFrame({"x": x, "y": np.where(x == "a", rng.normal(-5, 0.1, 400), rng.normal(5, 0.1, 400))})
    settings = {
        **SMALL,
        "steps": 600,
        "learning_rate": 2e-3,
        "generator": (32, 32),
        "discriminator": (32, 32),
    }
    gan = TabularGAN(**settings).fit(frame)
    for value, sign in (("a", -1), ("b", 1)):
        made = gan.sample(200, conditions={"x": value}, seed=0)
        assert (np.sign(made["y"]) == sign).mean() > 0.9


def test_tables_of_other_libraries() -> None:
    frame = table()[["age", "income", "sex"]].drop(columns="income")
    expected = TabularGAN(**SMALL).fit(frame).sample(20, seed=0)
    for other in (polars.from_pandas(frame), pyarrow.Table.from_pandas(frame, preserve_index=False)):
        made = TabularGAN(**SMALL).fit(other).sample(20, seed=0)
        assert made["age"].tolist() == expected["age"].tolist()


def test_saved_and_loaded(fitted: TabularGAN, tmp_path: Path) -> None:
    folder = tmp_path / "gan"
    fitted.save(folder)
    assert sorted(each.name for each in folder.iterdir()) == ["generator.safetensors", "table.json"]
    loaded = TabularGAN.load(folder)
    pd.testing.assert_frame_equal(loaded.sample(60, seed=1), fitted.sample(60, seed=1))
    assert loaded.config.generator == (16,)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "table.json").read_text() == (folder / "table.json").read_text()
    with pytest.raises(WriteError, match="already exists"):
        fitted.save(folder)


@pytest.mark.parametrize(("name", "kept"), [("field", "field"), (np.int64(3), 3), (0.5, None)])
def test_the_name_of_the_columns_is_kept(tmp_path: Path, name: object, kept: object) -> None:
    gan = TabularGAN(**SMALL).fit(table()[["age", "sex", 7]].rename_axis(columns=name))
    gan.save(tmp_path / "gan")
    for each in (gan, TabularGAN.load(tmp_path / "gan")):
        made = each.sample(5_020, seed=0)  # in two chunks
        assert made.columns.name == kept
        assert type(made.columns.name) is type(kept)


def test_folders_without_the_name_of_the_columns(saved: Path, tmp_path: Path) -> None:
    content = json.loads((saved / "table.json").read_text())
    del content["columns_name"]
    (tmp_path / "table.json").write_text(json.dumps(content))
    (tmp_path / "generator.safetensors").symlink_to(saved / "generator.safetensors")
    assert TabularGAN.load(tmp_path).sample(3).columns.name is None


def test_nothing_is_unpickled(fitted: TabularGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    fitted.save(tmp_path / "gan")
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    TabularGAN.load(tmp_path / "gan").sample(3, seed=0)


def test_the_same_seed_gives_the_same_generator(fitted: TabularGAN) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = TabularGAN(**SMALL).fit(table())
    assert torch.equal(torch.get_rng_state(), before)
    pd.testing.assert_frame_equal(again.sample(20, seed=0), fitted.sample(20, seed=0))
    other = TabularGAN(**SMALL, seed=1).fit(table())
    assert not other.sample(20, seed=0).equals(fitted.sample(20, seed=0))


def test_ctgans_settings() -> None:
    training = TabularGAN().config.for_rows(5_000).training
    assert training.steps == 300 * 10
    assert (training.batch_size, training.latent_dim, training.pack) == (500, 128, 10)
    assert (training.objective, training.gp_weight, training.penalty_interval) == ("wasserstein", 10, 1)
    assert (training.learning_rate, training.betas, training.weight_decay) == (2e-4, (0.5, 0.9), 1e-6)
    assert TabularGAN(epochs=2).config.for_rows(100).training.steps == 2


def test_many_categories_warn() -> None:
    frame = table()
    frame["id"] = [f"u{i}" for i in range(len(frame))]
    with pytest.warns(TableWarning, match="'id': has 200 categories, more than max_categories, 20"):
        TabularGAN(**SMALL, max_categories=20).fit(frame)


def test_names_and_identifiers_warn() -> None:
    frame = table()
    frame["id"] = [f"u{i}" for i in range(len(frame))]
    with pytest.warns(TableWarning, match="'id': has a value of its own in 200 of 200 rows.*drop the column"):
        TabularGAN(**SMALL).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularGAN(**SMALL, columns={"id": "category"}).fit(frame)


REFUSED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "unknown setting": ({"batchsize": 3}, None, "no setting is called batchsize, but batch_size is"),
    "pack": ({"batch_size": 505}, None, "pack is 10, expected a divisor of batch_size, 505"),
    "epochs and steps": ({"epochs": 3, "steps": 5}, None, "epochs is 3 and steps is 5; give one of them"),
    "epochs": ({"epochs": 0}, None, "epochs is 0, expected a whole number from 1 on"),
    "widths": ({"generator": (16, 0)}, None, r"generator is \(16, 0\), expected widths"),
    "max_categories": ({"max_categories": 1}, None, "max_categories is 1, expected a whole number from 2 on"),
    "began": ({"objective": "began", "gp_weight": 0.0, "pack": 1}, None, "objective is 'began'"),
    "no table": ({}, [1, 2], "the table is a list, expected a DataFrame"),
    "empty": ({}, pd.DataFrame({"a": []}), "0 rows"),
    "one row": ({}, pd.DataFrame({"a": [1.5]}), "1 row"),
    "infinite": ({}, pd.DataFrame({"a": [1.5, np.inf, 2.0]}), r"column 'a': row 1 is inf"),
    "twice": ({}, pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "'a'"),
    "lists": ({}, pd.DataFrame({"a": [[1], [2]]}), r"column 'a': row 0 is \[1\], of type list"),
    "constant": ({}, pd.DataFrame({"a": [1, 1, 1]}), "all columns are constant"),
    "kind": ({"columns": {"b": "category"}}, table(), "names 'b', which is no column"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    settings, frame, message = REFUSED[case]
    with pytest.raises((TableError, ConfigError), match=message):
        TabularGAN(**settings).fit(frame)


def test_refused_samples(fitted: TabularGAN) -> None:
    for arguments, message in (
        ((0,), "n is 0, expected a whole number from 1 on"),
        ((3, {"age": 40}), "condition on 'age', which is integer"),
        ((3, {"sex": "femal"}), "'femal' never occurs there; did you mean 'female'"),
        ((3, {"sexx": "male"}), "condition on 'sexx', which is no column; did you mean 'sex'?"),
        ((3, {"sex": ["male"]}), "condition on 'sex': .* is no single value"),
        ((3, [("sex", "male")]), "conditions is .*, expected values by column"),
        ((3, None, -1), "seed is -1, expected a whole number from 0 to"),
        ((3, None, 2**64), "seed is 18446744073709551616, expected a whole number from 0 to"),
        ((3, None, True), "seed is True, expected a whole number from 0 to"),
    ):
        with pytest.raises(TableError, match=message):
            fitted.sample(*arguments)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(fitted.sample(np.int64(3), seed=np.int64(1)), fitted.sample(3, seed=1))  # type: ignore[arg-type]
    with pytest.raises(TableError, match="not fitted; call fit or load first"):
        TabularGAN().sample(3)
    with pytest.raises(TableError, match="not fitted; call fit or load first"):
        TabularGAN().save("nowhere")


@pytest.mark.parametrize("damage", ["no folder", "no json", "version", "weights", "other weights", "columns"])
def test_damaged_folders(fitted: TabularGAN, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "gan"
    fitted.save(folder)
    description, weights = folder / "table.json", folder / "generator.safetensors"
    content = json.loads(description.read_text())
    if damage == "no folder":
        shutil.rmtree(folder)
    elif damage == "no json":
        description.write_text("{")
    elif damage == "version":
        description.write_text(json.dumps({**content, "format": 99}))
    elif damage == "weights":
        weights.write_bytes(b"x")
    elif damage == "other weights":
        TabularGAN(**{**SMALL, "latent_dim": 9}).fit(table()).save(tmp_path / "other")
        shutil.copy(tmp_path / "other" / "generator.safetensors", weights)
    else:
        description.write_text(json.dumps({**content, "columns": content["columns"][1:]}))
    with pytest.raises(TableError, match=r"table\.json|another version|restore"):
        TabularGAN.load(folder)


@pytest.fixture(scope="module")
def saved(fitted: TabularGAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "gan"
    fitted.save(folder)
    return folder


INCONSISTENT: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "no counts": (("counts",), [], "8 counts, a number for each condition, not 0"),
    "a count": (("counts", 0), -1, "counts from 0 on"),
    "config": (("config", "epochs"), "x", "epochs is 'x'"),
    "no list": (("columns",), {}, "columns is {}, expected a list"),
    "no columns": (("columns",), [], "no column is generated"),
    "name of the columns": (("columns_name",), [1], r"columns_name is \[1\], expected a string, an integer"),
    "a column": (("columns", 0), None, "column 0: 'NoneType'"),
    "name": (("columns", 0, "name"), None, "column 0: expected a name"),
    "twice": (("columns", 0, "name"), "sex", "column 'sex' occurs twice"),
    "kind": (("columns", 0, "kind"), "banana", "column 0: expected kind .*not 'banana'"),
    "other kind": (("columns", 2, "kind"), "date", "column 2: expected kind"),
    "family": (("columns", 0, "storage", "family"), "banana", "family as one of .*not 'banana'"),
    "other family": (("columns", 0, "storage", "family"), "float", "family integer of int64, not 'float'"),
    "dtype": (("columns", 0, "storage", "dtype"), "int65", "int65"),
    "no means": (("columns", 0, "coder", "modes", "means"), [], "at least one of modes.weights"),
    "null": (("columns", 0, "coder", "modes", "means"), [None], "finite numbers as modes.means"),
    "exponent": (("columns", 0, "coder", "modes", "exponent"), "a", "modes.exponent .*not 'a'"),
    "high exponent": (("columns", 0, "coder", "modes", "exponent"), 99999, "modes.exponent .*not 99999"),
    "unit": (("columns", 0, "coder", "scale", "unit"), 0, "scale.unit from 1 on"),
    "range": (("columns", 7, "coder", "scale", "low"), 1e9, "scale.low up to scale.high"),
    "categories": (
        ("columns", 2, "coder", "categories", "values"),
        ["male"],
        "counts of 1 cat",
    ),
    "a category more": (
        ("columns", 2, "coder", "categories", "values"),
        [*"abc"],
        "counts of 3",
    ),
    "no text": (("columns", 2, "coder", "categories", "values"), ["a", 1], "family string, not .1."),
    "frequent": (("columns", 2, "coder", "categories", "frequent"), "a", "not 'a' and 0"),
    "less frequent": (("columns", 2, "coder", "categories", "frequent"), 1, "not 1 and 0"),
    "positions": (("columns", 3, "coder", "categories", "values"), [0, 1, 9], "positions in 3 cat"),
    "constant": (("columns", 6, "coder", "value"), [], "one value"),
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_inconsistent_descriptions(saved: Path, tmp_path: Path, case: str) -> None:
    (*path, last), value, message = INCONSISTENT[case]
    content = json.loads((saved / "table.json").read_text())
    place = content
    for step in path:
        place = place[step]
    place[last] = value
    (tmp_path / "table.json").write_text(json.dumps(content))
    (tmp_path / "generator.safetensors").symlink_to(saved / "generator.safetensors")
    with pytest.raises(TableError, match=rf"table\.json: damaged \(.*{message}.*\); restore it, or") as error:
        TabularGAN.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("is_folder", [False, True])
def test_weights_that_are_no_file(saved: Path, tmp_path: Path, is_folder: bool) -> None:
    shutil.copy(saved / "table.json", tmp_path)
    if is_folder:
        (tmp_path / "generator.safetensors").mkdir()
    with pytest.raises(TableError, match=r"generator\.safetensors: is no file; restore it"):
        TabularGAN.load(tmp_path)
