"""fastgan.compat.ctgan.CTGAN: the published interface on small tables.

``make peers`` compares the signature with the package's, and trains it inside of sdv's synthesizer.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from fastgan.compat.ctgan import CTGAN, synthesizer
from fastgan.files import WriteError

SMALL: dict[str, Any] = {
    "embedding_dim": 4,
    "generator_dim": [8],
    "discriminator_dim": [8],
    "batch_size": 20,
    "pac": 2,
    "epochs": 3,
    "enable_gpu": False,
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "income": rng.lognormal(10, 1, 50).round(2),
            "children": rng.integers(0, 4, 50),
            "city": rng.choice(["Bonn", "Rome"], 50),
            "owner": rng.random(50) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> CTGAN:
    model = CTGAN(**SMALL)
    model.set_random_state(0)
    model.fit(frame, ["city"])
    return model


def test_samples_have_the_columns_dtypes_and_range_of_the_frame(model: CTGAN, frame: pd.DataFrame) -> None:
    samples = model.sample(200)
    assert list(samples) == list(frame)
    assert samples.dtypes.equals(frame.dtypes)
    assert len(samples) == 200
    for name in ("income", "children"):
        assert samples[name].between(frame[name].min(), frame[name].max()).all()


def test_there_is_a_row_of_losses_for_each_epoch(model: CTGAN) -> None:
    losses = model.loss_values
    assert losses is not None
    assert list(losses) == ["Epoch", "Generator Loss", "Discriminator Loss"]
    assert losses["Epoch"].tolist() == [0, 1, 2]
    assert losses.notna().all(axis=None)


def test_only_given_columns_are_discrete(model: CTGAN) -> None:
    with pytest.raises(ValueError, match="condition on 'children', which is integer"):
        model.sample(5, "children", 2)


def test_a_condition_holds_in_every_row(model: CTGAN) -> None:
    assert set(model.sample(50, "city", "Rome")["city"]) == {"Rome"}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (("city", "Oslo"), "condition on 'city': 'Oslo' never occurs"),
        (("town", "Rome"), "'town', .* no column"),
        (("city", None), "condition_column is 'city' and condition_value is None; give both"),
        ((None, "Rome"), "condition_column is None and condition_value is 'Rome'; give both"),
    ],
    ids=str,
)
def test_a_wrong_condition_is_named(model: CTGAN, condition: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.sample(5, *condition)


def test_an_array_gives_an_array_whose_columns_are_numbers() -> None:
    table = np.random.default_rng(0).integers(0, 3, (40, 2)).astype(float)
    model = CTGAN(**SMALL)
    model.fit(table, [1])
    assert model.sample(7).shape == (7, 2)
    for column in ("1", 1):  # the original takes the string
        assert set(model.sample(7, column, 2.0)[:, 1]) == {2.0}
    with pytest.raises(ValueError, match="condition on 'city', which is no column; there are 0, 1"):
        model.sample(7, "city", 2.0)
    with pytest.raises(ValueError, match="columns names 'city', which is no column"):
        model.fit(table, ["city"])


def test_a_random_state_seeds_fit_and_samples(frame: pd.DataFrame) -> None:
    made = []
    for state in (3, np.int64(3), (np.random.RandomState(3), torch.Generator().manual_seed(3)), 4):
        model = CTGAN(**SMALL)
        model.set_random_state(state)
        model.fit(frame, ["city"])
        made.append((model.sample(5), model.sample(5)))
    assert not made[0][0].equals(made[0][1])
    for first, second in made[1:3]:
        assert first.equals(made[0][0])
        assert second.equals(made[0][1])
    assert not made[3][0].equals(made[0][0])
    with pytest.raises(ValueError, match="random_state is 'x', expected an int"):
        model.set_random_state("x")
    model.set_random_state(None)
    torch.manual_seed(0)
    drawn = model.sample(5)
    torch.manual_seed(0)
    assert model.sample(5).equals(drawn)


def test_a_loaded_model_samples_as_the_saved_one(model: CTGAN, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    loaded = CTGAN.load(tmp_path / "model")
    for each in (model, loaded):
        each.set_random_state(1)
    assert loaded.sample(9, "city", "Bonn").equals(model.sample(9, "city", "Bonn"))
    with pytest.raises(WriteError):
        model.save(tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator_decay": 0.0}, "generator_decay is 0.0 and discriminator_decay is 1e-06"),
        ({"pac": 3}, "pack is 3, expected a divisor of batch_size, 20"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"generator_dim": [8, 0]}, r"generator is \(8, 0\)"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_before_there_is_a_table(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CTGAN(**SMALL | settings)


def test_settings_reach_the_networks_and_the_optimizers(frame: pd.DataFrame) -> None:
    model = CTGAN(**SMALL | {"generator_lr": 1e-3, "discriminator_lr": 3e-3, "discriminator_steps": 2})
    model.fit(frame, ["city"])
    trainer = model._fitted.trainer
    assert trainer.config.learning_rates_at(0) == (1e-3, 3e-3)
    assert (trainer.config.discriminator_steps, trainer.config.pack) == (2, 2)
    assert (trainer.state.step, trainer.config.batch_size) == (6, 20)
    assert (trainer.config.weight_decay, trainer.config.gp_weight) == (1e-6, 10)


def test_the_device_is_a_gpu_if_wanted_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_there, found in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)  # noqa: B023
        assert synthesizer.device_of(True) == found
        assert synthesizer.device_of(False) == "cpu"
        assert synthesizer.device_of("cuda:1") == "cuda:1"
    assert CTGAN(**SMALL | {"enable_gpu": True, "cuda": "cpu"})._settings["device"] == "cpu"


def test_epochs_are_printed_if_wanted(frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    CTGAN(**SMALL | {"verbose": True}).fit(frame, ["city"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]


def test_what_is_not_fitted_says_so(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = CTGAN(**SMALL)
    assert model.loss_values is None
    for call in (lambda: model.sample(3), lambda: model.save(tmp_path / "model")):
        with pytest.raises(ValueError, match="this CTGAN is not fitted; call fit or load first"):
            call()
    with pytest.raises(ValueError, match="'town', which is no column"):
        model.fit(frame, ["town"])


def test_the_losses_need_no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("fastgan.compat.ctgan", "fastgan.tabular"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pandas", None)
    module = importlib.import_module("fastgan.compat.ctgan")
    assert module.generator_loss(torch.tensor([1.0])) == -1
    with pytest.raises(ImportError, match=r"pip install '\.\[tabular\]' in fastgan's sources"):
        _ = module.CTGAN
    with pytest.raises(AttributeError, match="no attribute 'TVAE'"):
        _ = module.TVAE


def test_tables_of_polars_and_no_discrete_columns(frame: pd.DataFrame) -> None:
    made = []
    for table in (frame, polars.from_pandas(frame)):
        model = CTGAN(**SMALL)
        model.set_random_state(0)
        model.fit(table, None)
        made.append(model.sample(5))
    pd.testing.assert_frame_equal(*made)
    with pytest.raises(ValueError, match="the table is a str, expected a DataFrame of pandas or polars"):
        model.fit("people.csv")


def test_a_device_is_set_before_and_after_fit(frame: pd.DataFrame) -> None:
    model = CTGAN(**SMALL)
    model.set_device(torch.device("cpu"))
    model.set_random_state(0)
    model.fit(frame, ["city"])
    model.set_device("cpu")
    assert len(model.sample(3)) == 3
    for device in ("xpu", "gpu"):
        with pytest.raises(ValueError, match=f"device '{device}' cannot be used"):
            model.set_device(device)
    rows = model._fitted._rows
    moved: list[object] = []
    rows.generator.to = moved.append
    model._fitted.to("cuda")
    assert moved == ["cuda"]
