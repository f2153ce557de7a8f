"""Makes the tables of the pages on experiments from the results in docs/experiments.

python -m experiments.pages                # prints the tables of every page
python -m experiments.pages saturation     # stores the result and the picture of runs/experiments/saturation
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from experiments import (
    began_report,
    default_recipes,
    diagnostics,
    equilibrium,
    goodfellow2014,
    labels,
    mode_collapse_report,
    saturation_report,
    stacked,
    tabular,
)
from experiments.record import PICTURE, RESULT, RUNS, Tables, command, write_json
from fastgan.files import write_whole

DOCS = Path(__file__).parents[1] / "docs"
_COLORS, _LARGEST = 64, 150_000  # colours and most bytes of a picture


@dataclass(frozen=True)
class Shown:
    """The page that shows a result (relative to docs), and the function that makes its tables."""

    page: str
    tables: Tables


RESULTS = {
    "equilibrium": Shown("experiments/equilibrium.md", equilibrium.tables),
    "saturation": Shown("experiments/saturation.md", saturation_report.tables),
    "began": Shown("experiments/began.md", began_report.tables),
    "goodfellow2014/250-epochs-seed-0": Shown("experiments/goodfellow2014.md", goodfellow2014.tables),
    "labels": Shown("experiments/labels.md", labels.tables),
    "stacked": Shown("experiments/stacked.md", stacked.tables),
    "mode_collapse/small": Shown("experiments/mode_collapse.md", mode_collapse_report.tables),
    "mode_collapse/pacgan": Shown("experiments/pacgan.md", mode_collapse_report.tables),
    "mode_collapse/unrolled": Shown("experiments/unrolled.md", mode_collapse_report.tables),
    "default_recipes": Shown("experiments/default_recipes.md", default_recipes.tables),
    "diagnostics": Shown("diagnostics.md", diagnostics.tables),
    "tabular": Shown("experiments/tabular.md", tabular.tables),
}
"""By folder of the result, relative to runs/experiments and docs/experiments."""


def tables(name: str) -> list[str]:
    """The tables of a stored result, in the order of its page."""
    return RESULTS[name].tables(_read(DOCS / "experiments" / name))


def store(runs: Path, docs: Path) -> None:
    """Copy result and picture of runs to the documentation.

    Names that only the documentation's result has were added by hand and are kept.
    """
    result = _read(runs)
    before = _read(docs) if (docs / RESULT).exists() else {}
    added = {name: value for name, value in before.items() if name not in result}
    docs.mkdir(parents=True, exist_ok=True)
    if (runs / PICTURE).exists():
        picture = _reduced(runs / PICTURE)
        write_whole(docs / PICTURE, lambda path: path.write_bytes(picture))
    write_json(docs / RESULT, {**result, **added})


def _read(folder: Path) -> Mapping[str, Any]:
    result: Mapping[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return result


def _reduced(path: Path) -> bytes:
    """The picture as a PNG with a small palette."""
    file = io.BytesIO()
    with Image.open(path) as picture:
        plain = picture.convert("RGB").quantize(_COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    plain.save(file, "png", optimize=True)
    if file.tell() > _LARGEST:
        raise ValueError(f"{path}: {file.tell():,} bytes in {_COLORS} colours, expected at most {_LARGEST:,}")
    return file.getvalue()


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RESULTS))
    names = parser.parse_args().names
    for name in names:
        if name not in RESULTS:
            raise ValueError(f"{name}: no page shows it, expected {', '.join(RESULTS)}")
        if not (RUNS / name / RESULT).exists():
            raise ValueError(f"{RUNS / name}: holds no {RESULT}; run the experiment first")
        store(RUNS / name, DOCS / "experiments" / name)
    for name in names or RESULTS:
        print(f"docs/{RESULTS[name].page}", *tables(name), sep="\n\n", end="\n\n")


if __name__ == "__main__":
    main()
