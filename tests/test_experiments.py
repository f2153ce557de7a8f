"""The experiments in short, and the runner that they share."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments import (
    began,
    began_report,
    default_recipes,
    diagnostics,
    equilibrium,
    goodfellow2014,
    labels,
    markdown,
    mode_collapse,
    mode_collapse_report,
    pages,
    saturation,
    stacked,
)
from experiments.record import PICTURE, folder_name, run_seeds, stored_seeds, write_result
from experiments.remedies import PROTOCOLS, REMEDIES, SAMPLES, Protocol, settings_of
from experiments.thumbnails import images_of, thumbnails
from fastgan.data import Dataset, Labelled
from fastgan.data.digits import digits
from fastgan.metrics import classifier, parzen_window
from fastgan.training.recipes import BEGAN, RECIPES, Recipe
from fastgan.training.run_config import RunConfig
from fastgan.training.session import train_run
from tests.pictures import Shown, undrawn_pictures, watched_pictures


def test_a_stopped_experiment_goes_on_with_the_seeds_that_are_left(tmp_path: Path) -> None:
    ran = []

    def run(seed: int) -> dict[str, int]:
        if seed == 2 and len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(seed)
        return {"square": seed**2}

    settings = {"steps": 3, "betas": (0.5, 0.9)}
    with pytest.raises(KeyboardInterrupt):
        run_seeds(tmp_path, settings, range(3), run)
    ran.append(-1)
    results = run_seeds(tmp_path, settings, range(3), run)
    assert ran == [0, 1, -1, 2]
    assert results == [{"square": 0}, {"square": 1}, {"square": 4}]


def test_seeds_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    run_seeds(tmp_path, {"steps": 3}, [0], lambda seed: {})
    with pytest.raises(ValueError, match=r"seed-0.json: was run with other settings; remove it"):
        run_seeds(tmp_path, {"steps": 4}, [0], lambda seed: {})


def test_a_summary_is_of_all_stored_seeds_and_says_which_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (10, 2):
        run_seeds(tmp_path, {"betas": (0.5, 0.9)}, [seed], lambda seed: {"seed": seed})
    run_seeds(tmp_path, {"betas": (0.0, 0.9)}, [3], lambda seed: {})
    before = {"settings": {"betas": [0.5, 0.9]}, "result": {}}  # without what made it
    (tmp_path / "seed-4.json").write_text(json.dumps(before))
    capsys.readouterr()
    assert list(stored_seeds(tmp_path, {"betas": (0.5, 0.9)}).items()) == [
        (2, {"seed": 2}),
        (4, {}),
        (10, {"seed": 10}),
    ]
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{tmp_path}: left out of the summary, as run with other settings: seeds 3\n")


@pytest.mark.parametrize(
    ("main", "words", "error"),
    [
        (mode_collapse.main, "--steps 0", "steps is 0, expected a whole number from 1"),
        (
            mode_collapse.main,
            "--data ring stacked",
            "--data is stacked, expected ring, grid with --protocol pacgan",
        ),
        (mode_collapse.main, "--protocol unrolled --data-dir nowhere", "nowhere: holds no train-images"),
        (mode_collapse.main, "--protocol unrolled --data ring --data-dir nowhere --steps 0", "steps is 0"),
        (default_recipes.main, "--seeds -1", "seed is -1, expected a whole number from 0"),
        (saturation.main, "--seeds -1", "seed is -1, expected a whole number from 0"),
        (diagnostics.main, "--runs mnist --data-dir nowhere", "nowhere: holds no train-images"),
        (goodfellow2014.main, "--data-dir nowhere", "nowhere: holds no train-images"),
        (labels.main, "--run nowhere", "nowhere: holds no config.yaml"),
        (goodfellow2014.main, "--epochs 0", "--epochs is 0, expected at least 1"),
    ],
)
def test_bad_input_ends_in_one_line(
    main: Callable[[], None],
    words: str,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "--out", str(tmp_path), *words.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1


def test_a_result_names_what_made_it(tmp_path: Path) -> None:
    write_result(tmp_path, "equilibrium", {"modes": 8}, lambda result: [])
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["command"].startswith("python -m experiments.equilibrium")
    made = {"device", "torch", "fastgan", "commit"}
    assert made < stored.keys()
    assert stored["modes"] == 8
    run_seeds(tmp_path, {}, [0], lambda seed: {})
    seed = json.loads((tmp_path / "seed-0.json").read_text())
    assert {name: seed[name] for name in made} == {name: stored[name] for name in made}


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("pacgan", "PacGAN's protocol with 4 of its 400,000 steps"),
        ("unrolled", "Unrolled GAN's protocol with 4 of its "),
        ("small", "small networks, 4 steps"),
    ],
)
def test_mode_collapse_runs_every_remedy_and_says_by_which_protocol(
    protocol: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = shorten(monkeypatch, protocol)
    out = tmp_path / f"{protocol}-4-steps"
    command = f"mode_collapse --protocol {protocol} --steps 4 --seeds 0 --out".split()
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path)])
    # small networks have all data; the other pictures are only counted
    drawn = nullcontext() if protocol == "small" else undrawn_pictures()
    with drawn, watched_pictures() as shown:
        mode_collapse.main()
    table = capsys.readouterr().out
    assert table.count(words) == len(full.data)
    assert table.count("| plain | 1 |") == len(full.data)
    assert ("high quality" in table) == ("ring" in full.data)
    stored = json.loads((out / "result.json").read_text())["results"]
    assert list(stored) == list(full.data)
    assert all(of["steps"] == 4 and list(of["remedies"]) == list(REMEDIES) for of in stored.values())
    cells = iter(shown(out / PICTURE))
    for name in full.data:
        for _ in REMEDIES:
            *centres, samples = next(cells)
            assert centres == {"ring": [8], "grid": [25], "stacked": []}[name]
            assert samples > 0


@pytest.mark.usefixtures("undrawn")
def test_a_part_of_mode_collapse_is_shown_with_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shorten(monkeypatch, "pacgan")
    command = f"mode_collapse --steps 4 --out {tmp_path}".split()
    for part in (
        ["plain", "R1", "--seeds", "0", "--data", "ring"],
        ["label smoothing", "--seeds", "0"],
        ["R1", "plain", "--seeds", "1", "--data", "ring"],
    ):
        monkeypatch.setattr(sys, "argv", [*command, "--remedies", *part])
        capsys.readouterr()
        mode_collapse.main()
    ring, grid = capsys.readouterr().out.split("\ngrid: ")
    rows = [re.findall(r"^\| (.+?) \| (\d) \|", table, re.MULTILINE) for table in (ring, grid)]
    assert rows == [[("plain", "2"), ("R1", "2"), ("label smoothing", "1")], [("label smoothing", "1")]]


def shorten(monkeypatch: pytest.MonkeyPatch, protocol: str) -> Protocol:
    """Make a protocol's networks small, its samples few, and its stacked digits those that are at hand."""
    full = PROTOCOLS[protocol]

    def small(name: str) -> Recipe:
        recipe = full.recipe(name)
        config = replace(recipe.config, batch_size=10)
        return replace(recipe, generator=(16,), discriminator=(8,), config=config)

    data = {**full.data, "stacked": PROTOCOLS["small"].data["stacked"]}
    short = replace(full, recipe=small, data={name: data[name] for name in full.data})
    monkeypatch.setitem(PROTOCOLS, protocol, short)
    monkeypatch.setattr(classifier, "_STEPS", 5)
    for name in SAMPLES:
        monkeypatch.setitem(SAMPLES, name, 500)
    return full


def test_stacked_digits_are_counted_by_the_number_that_they_spell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "_STEPS", 300)  # enough to tell these digits
    mode_collapse._classifier.cache_clear()
    data = PROTOCOLS["small"].data["stacked"](None)
    found = mode_collapse.measure(data, data.samples[:5_000])
    counts = torch.tensor([int(count) for count in found["counts"].split()])
    assert (len(counts), int(counts.sum())) == (1_000, 5_000)
    assert found["modes"] == int((counts > 0).sum()) > 950
    assert found["reverse_kl"] == pytest.approx(999 / 2 / 5_000, rel=0.2)
    one = mode_collapse.measure(data, data.samples[:1].expand(100, -1, -1, -1))
    assert one["modes"] == 1
    assert one["reverse_kl"] == pytest.approx(math.log(1_000), rel=0.05)


def test_pictured_images_come_back_from_what_is_stored() -> None:
    images = torch.rand(20, 3, 4, 5) * 2 - 1
    back = images_of(thumbnails(images), (3, 4, 5))
    torch.testing.assert_close(back, images[: len(back)], rtol=0, atol=0.5 / 127.5 + 1e-6)


def test_a_remedy_comes_alone_and_noise_is_as_strong_for_the_same_data() -> None:
    for protocol in PROTOCOLS.values():
        for name in protocol.data:
            data = (PROTOCOLS["small"] if name == "stacked" else protocol).data[name](None)
            recipe = protocol.recipe(name)
            assert (recipe.config.pack, recipe.config.instance_noise) == (1, 0)
            noise = settings_of(recipe, data, "instance noise")["instance_noise"] * data.transform.scale[0]
            assert noise == {"ring": 0.4, "grid": 0.6, "stacked": 0.5}[name]
            packs = settings_of(recipe, data, "pack 2")
            assert packs == {"pack": 2, "batch_size": 2 * recipe.config.batch_size}


@pytest.mark.parametrize(
    ("protocol", "name", "reach", "sigma", "seen"),
    [
        ("pacgan", "ring", 1, 0.01, 1),
        ("pacgan", "grid", 4 * math.sqrt(2), 0.05, 1),
        ("unrolled", "ring", 1, 0.01, 2),
        ("small", "ring", 1, 0.02, 1),
        ("small", "grid", 4 * math.sqrt(2), 0.05, 2),
    ],
)
def test_a_protocol_has_the_points_of_its_card(
    protocol: str, name: str, reach: float, sigma: float, seen: float
) -> None:
    data = PROTOCOLS[protocol].data[name](None)
    assert data.modes is not None
    assert float(data.modes.centers.norm(dim=1).max()) == pytest.approx(reach)
    assert data.modes.sigma == sigma
    nearest = torch.cdist(data.samples / seen, data.modes.centers).min(dim=1).values
    assert float(nearest.square().mean()) == pytest.approx(2 * sigma**2, rel=0.02)
    assert data.transform.scale[0] * seen == 1


def test_a_row_is_a_mean_and_its_standard_error() -> None:
    seeds = [
        {"modes": 6, "high_quality": 0.9, "reverse_kl": 0.5},
        {"modes": 8, "high_quality": 0.7, "reverse_kl": None},
    ]
    none = [{"modes": 0, "high_quality": 0.0, "reverse_kl": None}]
    found = {"steps": 400_000, "remedies": {"plain": seeds, "R1": none}}
    (table,) = mode_collapse_report.tables({"protocol": "pacgan", "results": {"ring": found}})
    assert "PacGAN's protocol with 400,000 steps" in table
    assert "\n| plain | 2 | 7.0 ± 1.0 | 80.0 ± 10.0 % | 0.500 | 6.3 ± 0.5 modes," in table
    assert "\n| R1 | 1 | 0.0 | 0.0 % | no sample in a mode |  |" in table


@pytest.mark.usefixtures("undrawn")
def test_goodfellow_2014_goes_on_where_it_was_stopped_and_measures_in_unit_intensities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = goodfellow2014.PUBLISHED[goodfellow2014.NAME]["images"]
    small = replace(recipe, generator=(16,), discriminator=(8,), config=replace(recipe.config, batch_size=10))
    monkeypatch.setitem(goodfellow2014.PUBLISHED, goodfellow2014.NAME, {"images": small})
    for name, value in {"_TRAINED_ON": 40, "_VALIDATED_ON": 20, "_SAMPLES": 40}.items():
        monkeypatch.setattr(goodfellow2014, name, value)
    images = torch.rand(100, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    monkeypatch.setattr(goodfellow2014, "mnist", lambda folder: Dataset("mnist", images[:60]))
    monkeypatch.setattr(goodfellow2014, "mnist_test_images", lambda folder: images[60:])
    folders = ["--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["goodfellow2014", "--epochs", "2", *folders])
    goodfellow2014.main()
    result = tmp_path / "out" / "2-epochs-seed-0" / "result.json"
    stored = json.loads(result.read_text())
    goodfellow2014.main()
    assert json.loads(result.read_text()) == stored
    points = (images.flatten(1) + 1) / 2
    real = parzen_window(points[:40], points[40:60], points[60:])
    assert stored["training images"]["nats"] == pytest.approx(real.mean)
    assert stored["published"] == "225 ± 2"


@pytest.mark.usefixtures("undrawn")
def test_samples_of_classes_are_judged_by_a_classifier_that_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = torch.arange(40) % 10
    data = Dataset("mnist", images, labelled=Labelled("mnist", images, classes), labels=classes)
    config = replace(RECIPES["mnist"].config, steps=2, batch_size=10, labels=True)
    train_run(tmp_path / "run", data, RunConfig.of("mnist", data, Recipe((8,), (8,), config)))
    trained = []
    monkeypatch.setattr(labels, "mnist", lambda folder: trained.append(folder) or data)
    monkeypatch.setattr(labels, "mnist_test_images", lambda folder: images)
    monkeypatch.setattr(labels, "mnist_test_labels", lambda folder: classes)
    for name, value in {"_SAMPLES_OF_A_CLASS": 4, "_BATCH": 20}.items():
        monkeypatch.setattr(labels, name, value)
    folders = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["labels", *folders])
    capsys.readouterr()
    labels.main()
    table = capsys.readouterr().out
    labels.main()
    assert capsys.readouterr().out == table
    assert len(trained) == 1
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    (row,) = stored["runs"]
    assert row["steps"] == 2
    assert len(row["shares"]) == 10
    assert (
        labels.diversity(images[classes.argsort(stable=True)], [images[classes == c] for c in range(10)]) == 1
    )
    assert labels.shares(torch.tensor([0, 1] * 10)) == [0.5, 0.5, *[0.0] * 8]


def test_default_recipes_are_measured_seed_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ring", "grid"):
        recipe = default_recipes.RECIPES[name]
        short = replace(recipe, config=replace(recipe.config, steps=5))
        monkeypatch.setitem(default_recipes.RECIPES, name, short)
    monkeypatch.setattr(sys, "argv", ["default_recipes", "--seeds", "0", "1", "--out", str(tmp_path)])
    default_recipes.main()
    table = capsys.readouterr().out
    assert table.count("\n| 0 | ") == table.count("\n| 1 | ") == 2
    assert " of 8 | " in table
    assert " of 25 | " in table
    first = json.loads((tmp_path / "ring" / "seed-0.json").read_text())
    assert first["settings"]["config"]["steps"] == 5
    assert first["result"]["fewest"] <= first["result"]["most"]
    part = ["--data", "ring", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["default_recipes", *part])
    default_recipes.main()
    longer = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert sum(line.startswith("| 2 | ") for line in longer) == 1
    shorter = [line for line in table.splitlines() if line.startswith("|")]
    assert [line for line in longer if not line.startswith("| 2 | ")] == shorter


def test_began_says_how_long_k_stayed_at_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown: Shown
) -> None:
    paper, unit = began.Setting(encoder=(16, 4)), began.Setting(encoder=(16, 4), unit=True)
    recipe = replace(BEGAN["mnist"], config=replace(BEGAN["mnist"].config, steps=20, log_interval=5))
    settings = {"paper": paper, "pixels in [0, 1]": unit, "recipe": recipe}
    monkeypatch.setattr(began, "SETTINGS", settings)
    monkeypatch.setattr(began, "_EVALUATED", 64)
    monkeypatch.setattr(began, "compare", lambda *_: {"modes covered": 3.0})
    arguments = ["--data", "digits", "--steps", "20", "--out", str(tmp_path), "--settings"]
    for ran in (["uniform noise"], ["recipe", "pixels in [0, 1]"], ["paper"]):
        monkeypatch.setattr(sys, "argv", ["began", *arguments, *ran])
        capsys.readouterr()
        # what the last picture shows is looked at below
        with nullcontext() if ran == ["paper"] else undrawn_pictures():
            began.main()
    found = json.loads((tmp_path / "result.json").read_text())["digits"]
    assert list(found) == [*settings, "uniform noise"], "what is stored, in one order, whatever was run"
    assert all(seeds[0]["modes covered"] == 3 for seeds in found.values())
    paper_at_0, unit_at_0, recipe_at_0 = (found[name][0]["k at 0"] for name in settings)
    assert paper_at_0 == unit_at_0 == 1 > recipe_at_0
    assert capsys.readouterr().out.count("\n|") == 6
    panels = shown(tmp_path / PICTURE)  # three panels a group, of which the paper stands in three; the sheets
    assert panels[:12] == [[20, 20]] * 3 + [[20]] * 6 + [[4]] * 3
    sheets = [panel for panel in panels[12:] if panel]
    assert len(sheets) == len(settings)
    assert min(map(min, sheets)) > 0


@pytest.mark.parametrize(("data", "name"), [("digits", "recipe of digits"), ("mnist", "recipe")])
def test_the_began_that_was_measured_is_what_users_get(data: str, name: str) -> None:
    path = pages.DOCS / "experiments/began/result.json"
    if not path.exists():
        pytest.skip("needs the sources")
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert name in stored[data]
    assert stored["recipes"][name] == json.loads(json.dumps(began.described(BEGAN[data])))


def test_a_floor_has_learnt_nothing_and_is_in_the_range_of_the_samples() -> None:
    data = Dataset("digits", torch.zeros(8, 1, 8, 8))
    for draw in began.FLOORS.values():
        fake = draw(data, 0)
        assert torch.equal(fake, draw(data, 0))
        assert fake.shape[1:] == data.shape
        assert -1 <= fake.min() < -0.5
        assert 0.5 < fake.max() <= 1


def test_k_is_at_0_only_where_all_steps_of_a_row_had_it_there() -> None:
    rows = [{"k": k, "M": 1.0, "L(x)": 2.0, "loss_G": 1.0, "diversity": 0.5} for k in (0, 0, 0, 1e-9, 0.2)]
    found = began_report.summary({"rows": rows})
    assert found["k at 0"] == pytest.approx(3 / 5)
    assert (found["k"], found["ratio"]) == (0.2, 0.5)


TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
BY_HAND = {
    "| | |",  # what an experiment is of
    "| | ring | stacked digits |",
    "| remedy | flags |",
    "| | ring: modes | high quality | reverse KL | grid: modes | high quality | reverse KL |",  # published
    "| modes of 1,000; reverse KL | plain | 1 step | 5 steps | 10 steps |",
    "| column | meaning |",
    "| alarm | begins | ends | for steps |",
}
"""Headers of tables that no result has a part in."""


@pytest.mark.parametrize("name", pages.RESULTS)
def test_the_tables_of_a_page_are_made_from_its_stored_result(name: str) -> None:
    shown = pages.RESULTS[name]
    text = (pages.DOCS / shown.page).read_text(encoding="utf-8")
    made = pages.tables(name)
    assert made
    places = [text.find(f"\n\n{table}\n") for table in made]
    assert -1 not in places, f"{shown.page} lacks {made[places.index(-1)]}"
    assert places == sorted(places)
    rest = [table for table in TABLE.findall(text) if not any(table.strip() in each for each in made)]
    assert {table.partition("\n")[0] for table in rest} <= BY_HAND


def test_equilibrium_leaves_a_result_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train_table", "train_network"):
        monkeypatch.setattr(equilibrium, name, partial(getattr(equilibrium, name), steps=2))
    monkeypatch.setattr(equilibrium, "NETWORK_STEPS", 2)
    monkeypatch.setattr(sys, "argv", ["equilibrium", "--out", str(tmp_path / "new" / "folder")])
    equilibrium.main()
    assert capsys.readouterr().out.count("\n| ") == len(equilibrium.SHIFTS)
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {PICTURE, "result.json"}


def test_what_is_stored_of_experiments_is_small() -> None:
    files = [path for path in (pages.DOCS / "experiments").rglob("*") if path.is_file()]
    folders = {path.parent.relative_to(pages.DOCS / "experiments") for path in files} - {Path()}
    assert {str(folder) for folder in folders} == set(pages.RESULTS)
    assert len(files) <= 60
    assert sum(path.stat().st_size for path in files) <= 1_500_000
    assert all(path.as_posix().isascii() for path in files)


def test_a_stored_result_keeps_what_was_added_by_hand_and_its_picture_is_small(tmp_path: Path) -> None:
    runs, docs = tmp_path / "runs", tmp_path / "docs"
    for folder, result in ((runs, {"modes": 8}), (docs, {"modes": 7, "changes": [1]})):
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(result))
    pixels = torch.randint(256, (300, 300, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(runs / PICTURE)
    pages.store(runs, docs)
    assert json.loads((docs / "result.json").read_text()) == {"modes": 8, "changes": [1]}
    with Image.open(docs / PICTURE) as picture:
        assert len(picture.getcolors()) <= 64
    assert (docs / PICTURE).stat().st_size < 150_000 < (runs / PICTURE).stat().st_size


def test_a_picture_that_stays_too_large_is_not_stored(tmp_path: Path) -> None:
    noise = torch.randint(256, (900, 900, 3), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(tmp_path / PICTURE)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"picture.png: [\d,]+ bytes in 64 colours, expected at most 150,000"
    ):
        pages.store(tmp_path, tmp_path / "docs")
    assert not list((tmp_path / "docs").iterdir())


def test_the_folder_of_a_setting_is_named_in_plain_ascii() -> None:
    names = [*began.SETTINGS, *began.FLOORS, *diagnostics.RUNS, *REMEDIES]
    folders = [folder_name(name) for name in names]
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", folder) for folder in folders)
    for group in (began.SETTINGS, diagnostics.RUNS, REMEDIES):
        assert len(set(map(folder_name, group))) == len(group)


def test_a_number_has_as_many_digits_as_asked_for() -> None:
    two = {
        0.0: "0",
        8: "8",
        25_000: "25,000",
        0.056: "0.056",
        0.0099999: "0.010",
        0.0039: "3.9·10⁻³",
        0.999: "1.0",
        12.34: "12",
        365.4: "365",
    }
    assert {value: markdown.number(value) for value in two} == two
    assert markdown.number(-7.86e-11, digits=1) == "−8·10⁻¹¹"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("veegan", "veegan: no page shows it, expected equilibrium, saturation, began, "),
        ("saturation", "runs/experiments/saturation: holds no result.json; run the experiment first"),
    ],
)
def test_what_cannot_be_stored_is_said_in_one_line(
    words: str,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pages", words])
    with pytest.raises(SystemExit):
        pages.main()
    assert capsys.readouterr().err.startswith(f"error: {error}")


@pytest.mark.usefixtures("undrawn")
def test_networks_are_compared_on_stacked_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits()
    small = Recipe((8, 4), (4, 8), replace(RECIPES["mnist"].config, steps=2, batch_size=4), model="r3gan")
    other = replace(small, model="stylegan2")
    monkeypatch.setattr(stacked, "mnist", lambda folder: data)
    monkeypatch.setattr(stacked, "published_recipe", lambda name, data: small)
    monkeypatch.setattr(stacked, "recipe_for", lambda data, model: other)
    monkeypatch.setattr(mode_collapse, "SAMPLES", {"stacked": 32})
    monkeypatch.setattr(sys, "argv", ["stacked", "--seeds", "0", "1", "--out", str(tmp_path)])
    stacked.main()
    assert re.search(r"\| r3gan \| [\d,]+ \| [\d,]+ \| 2 \| 4 \| 2 \| ", capsys.readouterr().out)
    stored = json.loads((tmp_path / "result.json").read_text())
    for name in ("r3gan", "dcgan"):
        assert [seed["seed"] for seed in stored["runs"][name]["seeds"]] == [0, 1]
        assert all(1 <= seed["modes"] <= 32 for seed in stored["runs"][name]["seeds"])
