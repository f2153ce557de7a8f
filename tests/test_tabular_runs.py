"""``fastgan train``, ``sample`` and ``evaluate`` on tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors import SafetensorError

from fastgan.tabular import TabularGAN
from fastgan.tabular.frames import read_table, write_table
from fastgan.training import checkpoint
from tests.test_cli import one_line, run
from tests.test_resume import assert_same_run
from tests.test_runs import stop_at
from tests.test_tabular_gan import table

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = ("--batch-size", 40, "--pack", 4, "--latent-dim", 8, "--threads", 1, "--log-interval", 2)


def files(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "people.csv"
    write_table(table().drop(columns=[7, "job"]), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    path = files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            run(
                patch,
                "train",
                path,
                *SHORT,
                "--steps",
                6,
                "--checkpoint-interval",
                2,
                "--out",
                folder / "run",
            )
            == 0
        )
    return folder / "run"


def test_a_run_leaves_behind(trained: Path) -> None:
    names = {each.name for each in trained.iterdir()}
    assert {"config.yaml", "table.json", "metrics.jsonl", "summary.json", "dashboard.png"} <= names
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["rows"] == 200
    assert config["training"]["steps"] == 6
    summary = json.loads((trained / "summary.json").read_text())
    assert 0 < summary["marginals"] <= 1
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert {"condition_entropy", "categories", "numbers", "pack_distance"} <= rows[0].keys()


def test_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = files(tmp_path)
    assert run(monkeypatch, "train", path, *SHORT, "--epochs", 1, "--out", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert "people.csv: 200 rows of 6 columns (" in printed
    assert "model ctgan, 5 steps" in printed


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_samples(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    out = tmp_path / f"made.{suffix}"
    arguments = ("--rows", 5_020, "--condition", "sex=female", "--condition", "member=true", "--out", out)
    assert run(monkeypatch, "sample", trained, *arguments) == 0
    made = read_table(out)
    assert len(made) == 5_020
    assert (made["sex"] == "female").all()
    assert made["member"].all()
    expected = TabularGAN.load(trained).sample(5_020, {"sex": "female", "member": True}, seed=0)
    assert made["age"].tolist() == expected["age"].tolist()


def test_a_table_with_tabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "people.tsv"
    write_table(read_table(files(tmp_path)), path)
    assert run(monkeypatch, "train", path, *SHORT, "--steps", 2, "--out", tmp_path / "run") == 0
    assert run(monkeypatch, "evaluate", tmp_path / "run", "--count", 50, "--holdout", path) == 0


def test_evaluation(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = files(tmp_path)
    arguments = ("--count", 300, "--holdout", held, "--target", "member", "--out", tmp_path / "q.png")
    assert run(monkeypatch, "evaluate", trained, *arguments) == 0
    printed = capsys.readouterr().out
    for name in ("columns", "all pairs", "detection, logistic", "of member", "closest record"):
        assert name in printed
    assert (tmp_path / "q.png").exists()
    assert 0 < json.loads((tmp_path / "q.json").read_text())["shapes"] <= 1


def test_resumed_to_the_bit(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    arguments = (*SHORT, "--steps", 6, "--checkpoint-interval", 2, "--out", out)
    path = trained.parent / "people.csv"
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert run(patch, "train", path, *arguments) != 0
    assert checkpoint.peek(out)[0] == 2
    assert run(monkeypatch, "train", "--resume", out) == 0
    assert_same_run(out, trained)


def test_more_steps(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shutil.copytree(trained, tmp_path / "run")
    assert run(monkeypatch, "train", "--resume", out, "--steps", 8) == 0
    assert checkpoint.peek(out)[0] == 8
    assert yaml.safe_load((out / "config.yaml").read_text())["training"]["steps"] == 8


def test_nothing_to_do(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "--resume", trained) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_table_that_has_moved(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shutil.copytree(trained, tmp_path / "run")
    moved = Path(shutil.copy(trained.parent / "people.csv", tmp_path / "elsewhere.csv"))
    assert run(monkeypatch, "train", "--resume", out, "--data", moved, "--steps", 8) == 0


def test_the_settings_of_another_run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = trained / "config.yaml"
    assert run(monkeypatch, "train", "--config", config, "--steps", 2, "--out", tmp_path / "run") == 0
    again = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert again["training"]["latent_dim"] == 8


def changed(path: Path, change: str) -> Path:
    frame = read_table(path)
    if change == "columns":
        frame = frame.rename(columns={"age": "years"})
    elif change == "rows":
        frame = frame.head(100)
    elif change == "values":
        frame["age"] = frame["age"] + 1
    write_table(frame, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("columns", "other|another|column"),
        ("rows", "was trained on 200 rows, and .* has 100"),
        ("values", "was trained on another table than"),
    ],
)
def test_another_table(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    message: str,
) -> None:
    out = shutil.copytree(trained, tmp_path / "run")
    path = changed(files(tmp_path), change)
    before = {each.name: each.read_bytes() for each in out.iterdir()}
    assert run(monkeypatch, "train", "--resume", out, "--data", path, "--steps", 8) == 2
    line = one_line(capsys)
    assert pd.Series([line]).str.contains(message).all(), line
    kept = {each.name: each.read_bytes() for each in out.iterdir() if each.name != ".lock"}
    assert kept == {name: content for name, content in before.items() if name != ".lock"}


def test_columns_whose_names_are_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({0: range(60), 1: [0.5, 1.5, 2.5] * 20}).to_parquet("numbers.parquet")
    arguments = ("--steps", 2, "--columns", "1=category", "--out", "run")
    assert run(monkeypatch, "train", "numbers.parquet", *SHORT, *arguments) == 0
    assert set(TabularGAN.load("run").sample(50)[1]) <= {0.5, 1.5, 2.5}


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, metadata: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    path = files(tmp_path / "data")
    monkeypatch.setattr("fastgan.files.save_file", full)
    assert run(monkeypatch, "train", path, *SHORT, "--steps", 2, "--out", tmp_path / "run") == 2
    assert "No space left on device" in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_codes_are_text_in_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, holdout, out = tmp_path / "people.csv", tmp_path / "holdout.csv", tmp_path / "run"
    rows = [f"{number % 7 / 3},{number % 3 + 1}0115\n" for number in range(120)]
    holdout.write_text("size,zip\n" + "".join(rows))  # which is text only because it was when training
    path.write_text(holdout.read_text().replace(",10115", ",01159"))
    assert run(monkeypatch, "train", path, *SHORT, "--steps", 2, "--out", out) == 0
    assert (
        "people.csv: column 'zip': row 2, counting the header, is '01159', which" in capsys.readouterr().err
    )
    assert TabularGAN.load(out).sample(3)["zip"].dtype == "str"
    arguments = ("--holdout", holdout, "--data", holdout, "--count", 120)
    assert run(monkeypatch, "evaluate", out, *arguments) == 0


WRONG = {
    "no file": (("train", "nothing.csv"), "nothing.csv: is no file"),
    "model": (("train", "{csv}", "--model", "mlp"), "a table has networks of its own; omit --model"),
    "pack": (("train", "{csv}", "--batch-size", 505), "pack is 10, expected a divisor of batch_size, 505"),
    "kind": (("train", "{csv}", "--columns", "age"), "--columns age: expected COLUMN=KIND"),
    "column": (("train", "{csv}", "--columns", "agee=category"), "'agee', which is no column; did you mean"),
    "epochs and steps": (("train", "{csv}", "--epochs", 3, "--steps", 5), "epochs is 3 and steps is 5"),
    "no table": (("train", "ring", "--epochs", 3), "ring is no table; omit --epochs"),
    "condition": (("sample", "{run}", "--condition", "sex"), "--condition sex: expected COLUMN=VALUE"),
    "value": (("sample", "{run}", "--condition", "sex=x"), "condition on 'sex': 'x' never occurs there"),
    "twice": (
        ("sample", "{run}", "--condition", "sex=male", "--condition", "sex=female"),
        "--condition sex=female: there is another on 'sex'",
    ),
    "no run": (("sample", "nothing", "--out", "x.csv"), "nothing: "),
    "picture": (("evaluate", "{run}", "--out", "q.txt"), "q.txt: unknown kind of picture"),
    "continuous": (("sample", "{run}", "--condition", "age=3"), "condition on 'age', which is integer"),
    "class": (("sample", "{run}", "--class", 3), "was trained on a table; omit --class"),
    "suffix": (("sample", "{run}", "--out", "x.png"), "x.png: expected a name that ends in .csv, .tsv or .p"),
    "workbook": (
        ("train", "people.xlsx"),
        "people.xlsx: expected a name that ends in .csv, .tsv or .parquet; co",
    ),
    "compressed": (
        ("train", "people.tsv.gz"),
        "people.tsv.gz: expected a name that ends in .csv, .tsv or .parq",
    ),
    "unknown": (("train", "{run}/config.yaml"), "for fastgan train, a table (.csv, .tsv, .parquet)"),
    "best": (("evaluate", "{run}", "--best"), "omit --best"),
    "target": (("evaluate", "{run}", "--target", "age"), "target is 'age', but holdout is None"),
    "export": (("export", "{run}", "--format", "onnx", "--out", "x"), "was trained on a table"),
    "cut": (("train", "{cut}"), "cut.csv: line "),
    "one row": (("train", "{short}"), "short.csv: the table has 1 rows, expected at least 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_line_for_what_is_wrong(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    path = trained.parent / "people.csv"
    cut = tmp_path / "cut.csv"
    cut.write_bytes(path.read_bytes()[:-40])
    short = tmp_path / "short.csv"
    short.write_text("a,b\n1,2\n")
    places = {"csv": path, "run": trained, "cut": cut, "short": short}
    assert run(monkeypatch, *(str(each).format(**places) for each in arguments)) == 2
    assert message in one_line(capsys)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cut.csv", "short.csv"]
