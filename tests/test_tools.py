"""What can be done with a run: evaluate, interpolate, export; and what TensorBoard sees of it."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fastgan
from fastgan.data import Transform, load
from fastgan.metrics import classifier
from fastgan.models import pretrained
from fastgan.plots import View
from fastgan.training import export as export_module
from fastgan.training import pictures, recorder
from fastgan.training.run import load_generator
from fastgan.training.sampling import interpolation, sample
from tests.pictures import pixels_of, undrawn_pictures
from tests.test_cli import one_line, run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        assert run(monkeypatch, "train", "digits", "--steps", 30, "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        assert run(monkeypatch, "train", "ring", "--steps", 30, "--out", folder) == 0
    return folder


def test_evaluate_prints_the_metrics(
    ring: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", ring, "--count", 500) == 0
    rows = {
        name.strip(): float(value)
        for name, value in (line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    }
    assert rows["step"] == 30
    assert rows["modes"] == 8
    assert -10 < rows["V(D, G)"] < 0
    assert 0 < rows["diversity"] < 10
    assert {"D(x)", "D(G(z))", "saturated", "modes covered", "high quality"} <= set(rows)


def test_evaluate_sees_a_collapse(
    ring: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fastgan.training import evaluation

    config, _ = load_generator(ring)
    monkeypatch.setattr(evaluation, "sample", lambda *_: torch.ones(500, 2) + 1e-3 * torch.randn(500, 2))
    assert evaluation.evaluate(ring, config, load("ring"), 500, 0)["diversity"] < 0.01
    monkeypatch.setattr(evaluation, "sample", lambda *_: torch.full((500, 2), torch.nan))
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", ring) == 2
    assert "its generator makes nan or infinite samples; try a lower" in one_line(capsys)


@pytest.mark.usefixtures("undrawn")
def test_evaluate_of_a_single_image_prints_no_infinite_diversity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "one.npy", np.random.default_rng(0).random((1, 8, 8), np.float32))
    assert run(monkeypatch, "train", tmp_path / "one.npy", "--steps", 2, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", tmp_path / "run", "--count", 50) == 0
    printed = capsys.readouterr().out
    assert "V(D, G)" in printed
    assert "diversity" not in printed
    assert "inf" not in printed


def test_evaluate_compares_images_by_a_classifier(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classifier, "_STEPS", 20)
    options = ("--count", 500, "--classifier-dir", tmp_path)
    assert run(monkeypatch, "evaluate", digits, *options) == 0
    printed = capsys.readouterr().out
    for name in ("classifier accuracy", "modes covered", "reverse KL", "JSD", "Fréchet distance", "recall"):
        assert name in printed
    assert [path.name for path in tmp_path.iterdir()] == ["classifier-digits.safetensors"]


def test_other_data_than_the_run_began_with(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(digits, out)
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", "data: ring"))
    for arguments in (("evaluate", out), ("train", "--resume", out, "--steps", 10_000)):
        assert run(monkeypatch, *arguments) == 2
        assert "trained on samples of shape [1, 8, 8], those of ring are [2]" in one_line(capsys)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("seconds", "rows"), [(0.0, [1, 2, 3, 3]), (3600.0, [3])])
def test_the_dashboard_is_redrawn_while_training_but_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, rows: list[int]
) -> None:
    drawn = []
    save = pictures.save_dashboard

    def counted(path: Path, history: dict[str, list[float]], *others: Any) -> None:
        drawn.append(len(history["step"]))
        save(path, history, *others)

    monkeypatch.setattr(pictures, "save_dashboard", counted)
    monkeypatch.setattr(recorder, "_DASHBOARD_SECONDS", seconds)
    assert run(monkeypatch, "train", "ring", "--steps", 250, "--out", tmp_path / "run") == 0
    assert drawn == rows


@pytest.mark.usefixtures("undrawn")
def test_pictures_of_a_run_have_the_limits_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = []
    save = pictures.save_samples

    def noted(*arguments: Any) -> None:
        views.append(arguments[-1])
        save(*arguments)

    monkeypatch.setattr(pictures, "save_samples", noted)
    out = tmp_path / "run"
    assert run(monkeypatch, "train", "ring", "--steps", 2, "--out", out) == 0
    data = load("ring")
    assert views == [View.of(data.transform.inverse(data.samples))]


def test_interpolate_draws_a_row_a_pair(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "between.png"
    assert run(monkeypatch, "interpolate", digits, "--rows", 4, "--out", out) == 0
    pixels = pixels_of(out)
    zoom = 18  # 4 * 8 pixels and 3 gaps in 640
    assert ((pixels != 255) & (pixels != 204)).any(axis=2).sum() > zoom**2 * 4 * 4 * 8 * 8 / 2


def test_interpolation_begins_and_ends_at_draws_of_the_seed() -> None:
    generator = torch.nn.Linear(3, 3)
    with torch.no_grad():
        generator.weight.copy_(torch.eye(3))
        generator.bias.zero_()
    found = interpolation(generator, 5, 3, seed=1).view(5, 5, 3)
    begin, end = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found[:, 0], begin)
    torch.testing.assert_close(found[:, -1], end)
    lengths = found.norm(dim=-1)
    ends = torch.minimum(lengths[:, 0], lengths[:, -1])
    assert (lengths.min(dim=1).values > 0.5 * ends).all()  # a straight line passes near 0


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table whose axes are far from 0 and from each other, one of them constant."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    rows = rng.normal((1000, 5), (1, 0.97), (5_000, 2))
    np.save(folder / "table.npy", np.concatenate([rows, np.full((5_000, 1), 0.1)], axis=1))
    with pytest.MonkeyPatch.context() as monkeypatch, undrawn_pictures():
        command = ("train", folder / "table.npy", "--steps", 400, "--latent", "uniform")
        assert run(monkeypatch, *command, "--out", folder / "run") == 0
    return folder / "run"


Exported = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def exported(digits: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The generator of a run, exported once in each format, in a folder of its own."""

    @functools.cache
    def export(name: str, kind: str) -> Path:
        out = tmp_path_factory.mktemp("exported") / "generator"
        with pytest.MonkeyPatch.context() as monkeypatch:
            arguments = ("export", {"digits": digits, "table": table}[name], "--format", kind)
            assert run(monkeypatch, *arguments, "--out", out) == 0
        return out

    return export


@pytest.mark.parametrize("kind", export_module.SUFFIXES)
def test_exported_generators_give_the_same_samples(digits: Path, exported: Exported, kind: str) -> None:
    out = exported("digits", kind)
    config, generator = load_generator(digits)
    latent = torch.randn(11, config.training.latent_dim)
    with torch.no_grad():
        found, expected = export_module._RUN[kind](out, latent), generator(latent)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert [path.name for path in out.parent.iterdir()] == ["generator"]


@pytest.mark.parametrize("kind", ["torch-export", "safetensors"])
def test_an_export_that_differs_is_not_written(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config, generator = load_generator(digits)
    monkeypatch.setitem(export_module._RUN, kind, lambda _, latent: torch.zeros(len(latent), 1, 8, 8))
    with pytest.raises(export_module.ExportError, match="the exported generator differs by"):
        export_module.export(generator, config, tmp_path / "g", kind)
    assert list(tmp_path.iterdir()) == []


def test_exported_weights_have_the_hubs_names(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "generator"
    arguments = "export", digits, "--format", "safetensors", "--out", out
    assert run(monkeypatch, *arguments) == 0
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}
    config, generator = load_generator(digits)
    torch.testing.assert_close(load_file(out / "model.safetensors"), generator.state_dict())
    told = json.loads((out / "config.json").read_text())
    assert told["architectures"] == ["MLPGenerator"]
    assert told["latent_dim"] == config.training.latent_dim
    capsys.readouterr()
    assert run(monkeypatch, *arguments) == 2
    assert "already exists; give another --out" in one_line(capsys)
    (out / "config.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"generator: config\.json or model\.safetensors is damaged \('model'\)"
    ):
        pretrained.load(out)


def test_a_table_trains_to_the_deviations_of_its_axes(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points that were only divided by their largest value trained to a deviation of 2.1 for 0.97."""
    generator = fastgan.load(table)
    samples = generator.sample(5_000, seed=1)
    torch.testing.assert_close(samples.mean(0), torch.tensor([1000, 5, 0.1]), atol=0.25, rtol=0)
    torch.testing.assert_close(samples.std(0), torch.tensor([1, 0.97, 0]), atol=0.2, rtol=0)
    assert (samples[:, 2] == torch.tensor(0.1)).all()
    assert run(monkeypatch, "evaluate", table, "--count", 3000) == 0
    lines = (line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    told = {name.strip(): float(value) for name, value in lines}
    for axis in (0, 1):
        assert abs(told[f"axis {axis} mean error"]) < 0.25
        assert told[f"axis {axis} deviation ratio"] == pytest.approx(1, abs=0.2)
        assert told[f"axis {axis} Wasserstein"] < 0.3
    assert "axis 2 mean error" not in told


def test_a_loaded_generator_says_what_it_takes_and_makes(table: Path, digits: Path, ring: Path) -> None:
    points, images, known = map(fastgan.load, (table, digits, str(ring)))
    assert (points.latent, points.sample_shape, points.data_range) == ("uniform", (3,), None)
    assert points.transform.offset[0] == pytest.approx(1000, abs=0.1)
    assert (images.latent, images.latent_dim, images.data_range) == ("normal", 32, (-1.0, 1.0))
    assert images.sample(3).shape == (3, 1, 8, 8)
    assert images.interpolate(2).shape == (4, 1, 8, 8)
    assert known.transform.is_identity
    assert torch.equal(points.sample(4, seed=3), points.sample(4, seed=3))
    assert not torch.equal(points.sample(4, seed=3), points.sample(4, seed=4))
    latent = torch.randn(4, points.latent_dim)
    assert torch.equal(points(latent), points.transform.inverse(points.network(latent)))
    assert not points.training


def test_samples_are_written_as_arrays_in_the_datas_own_units(
    table: Path,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "sample", table, "--format", "npy", "--count", 9, "--seed", 3) == 0
    assert np.array_equal(np.load("samples.npy"), fastgan.load(table).sample(9, seed=3).numpy())
    assert run(monkeypatch, "sample", table, "--out", "S.NPY", "--count", 9, "--seed", 3) == 0
    assert Path("S.NPY").read_bytes() == Path("samples.npy").read_bytes()
    assert run(monkeypatch, "sample", digits, "--out", "d.npy", "--count", 5) == 0
    pixels = np.load("d.npy")
    assert (pixels.dtype, pixels.shape) == (np.uint8, (5, 8, 8, 1))
    exact = (fastgan.load(digits).sample(5).movedim(1, 3).numpy() + 1) * 127.5
    assert np.abs(pixels - exact).max() <= 0.5001
    assert run(monkeypatch, "sample", digits, "--format", "png", "--count", 5) == 0
    assert Path("samples.png").is_file()
    capsys.readouterr()
    for arguments, said in (
        (
            ("--format", "npy", "--out", "x.png"),
            "--out x.png does not end in .npy, as --format says; omit one",
        ),
        (("--format", "gif"), "--format gif: unknown, expected png or npy"),
        (
            ("--out", "x.mp3"),
            "x.mp3: unknown kind of picture; end the name in .png, .pdf, .svg, .jpg, or .npy",
        ),
    ):
        assert run(monkeypatch, "sample", digits, *arguments) == 2
        assert said in one_line(capsys)


def test_a_run_of_an_earlier_version_keeps_its_scale(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(ring, old)
    text = (old / "config.yaml").read_text()
    new = "transform:\n  scale:\n  - 1.0\n  offset:\n  - 0.0\n"
    assert new in text
    (old / "config.yaml").write_text(text.replace(new, "scale: 40.0\n"))
    assert fastgan.load(old).transform == Transform((40.0,))
    torch.testing.assert_close(fastgan.load(old).sample(5), 40 * fastgan.load(ring).sample(5))
    # compared with the data in the data's own units: samples are 40 times too wide
    assert run(monkeypatch, "evaluate", old, "--count", 500) == 0
    wide = next(line for line in capsys.readouterr().out.splitlines() if "axis 0 deviation ratio" in line)
    assert run(monkeypatch, "evaluate", ring, "--count", 500) == 0
    right = next(line for line in capsys.readouterr().out.splitlines() if "axis 0 deviation ratio" in line)
    assert float(wide.split()[-1]) == pytest.approx(40 * float(right.split()[-1]), rel=1e-3)


@pytest.mark.parametrize("kind", export_module.SUFFIXES)
def test_exports_make_samples_in_the_datas_own_units(table: Path, exported: Exported, kind: str) -> None:
    out = exported("table", kind)
    generator = fastgan.load(table)
    latent = torch.rand(4, generator.latent_dim)
    with torch.no_grad():
        found, expected = export_module._RUN[kind](out, latent), generator(latent)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)
    assert (found[:, 0] - 1000).abs().max() < 20


@pytest.mark.parametrize("kind", export_module.SUFFIXES)
@pytest.mark.parametrize("name", ["table", "digits"])
def test_exports_say_what_they_take_and_make(
    name: str, kind: str, exported: Exported, request: pytest.FixtureRequest
) -> None:
    folder, out = request.getfixturevalue(name), exported(name, kind)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        props = session.get_modelmeta().custom_metadata_map
        told = {
            key: json.loads(value)
            for key, value in props.items()
            if key != "pkg.torch.export.ExportedProgram"
        }
    elif kind == "torch-export":
        files = {"metadata.json": ""}
        with out.open("rb") as file:
            torch.export.load(file, extra_files=files)
        told = json.loads(files["metadata.json"])
    else:
        told = json.loads((out / "config.json").read_text())
    uniform = name == "table"
    assert told["latent"] == ("uniform" if uniform else "normal")
    assert told["latent_range"] == (pytest.approx([-(3**0.5), 3**0.5]) if uniform else None)
    assert told["latent_dim"] == fastgan.load(folder).latent_dim
    assert told["sample_shape"] == ([3] if uniform else [1, 8, 8])
    assert told["data_range"] == (None if uniform else [-1, 1])


@pytest.mark.parametrize("kind", ["onnx", "torch-export", "safetensors"])
def test_an_export_does_not_say_where_things_lie_here(table: Path, exported: Exported, kind: str) -> None:
    """Neither the data's folder, nor those of the sources, which torch notes at each operation."""
    out = exported("table", kind)
    data = load_generator(table)[0].data
    for file in [out] if out.is_file() else list(out.iterdir()):
        parts = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                parts = [archive.read(name) for name in archive.namelist()]
        sources = (Path(fastgan.__file__), Path(torch.__file__), Path(data))
        for folder in (str(path.parent) for path in sources):
            assert not any(folder.encode() in part for part in parts)


def test_what_export_needs_is_named(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run(monkeypatch, "export", digits, "--out", tmp_path / "g.onnx") == 1
    assert "ONNX needs onnxruntime: pip install onnx onnxscript onnxruntime" in one_line(capsys)
    assert run(monkeypatch, "export", digits, "--format", "tflite") == 2
    assert "--format tflite: unknown, expected onnx or torch-export or safetensors" in one_line(capsys)


def test_tensorboard_has_scalars_and_pictures(digits: Path) -> None:
    events = EventAccumulator(str(digits))
    events.Reload()
    assert {"loss_D", "loss_G", "D(x)", "D(G(z))"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Images("samples")] == [30]
    assert sample(load_generator(digits)[1], 2, 32, seed=0).shape == (2, 1, 8, 8)


@pytest.mark.usefixtures("undrawn")
def test_every_tool_understands_remedies_and_published_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pacgan"
    remedies = ["--objective", "relativistic", "--pack", 2, "--r1-gamma", 0.1, "--r2-gamma", 0.1]
    settings = ["--recipe", "pacgan", "--steps", 4, "--batch-size", 8, "--latent", "uniform", *remedies]
    assert run(monkeypatch, "train", "ring", *settings, "--instance-noise", 0.1, "--out", out) == 0
    assert run(monkeypatch, "train", "--resume", out, "--steps", 8) == 0
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", out, "--count", 101) == 0
    assert "D(x, G(z))" in capsys.readouterr().out
    assert run(monkeypatch, "sample", out, "--out", tmp_path / "s.png") == 0
    assert run(monkeypatch, "export", out, "--format", "torch-export", "--out", tmp_path / "g.pt2") == 0
    assert run(monkeypatch, "train", "--resume", out, "--recipe", "pacgan") == 2
    assert "omit --recipe" in one_line(capsys)
    assert run(monkeypatch, "train", "digits", "--recipe", "pacgan") == 2
    assert "recipe is 'pacgan', which is for points, and digits" in one_line(capsys)
