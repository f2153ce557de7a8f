"""The table of faults fits the sources; `python -m tests.plant_faults` plants them."""

from __future__ import annotations

import shlex

import pytest
from plant_faults import FAULTS, ROOT

pytestmark = pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="needs the sources")


def test_every_fault_can_be_planted() -> None:
    found = {name: (ROOT / fault.file).read_text().count(fault.old) for name, fault in FAULTS.items()}
    assert {name: count for name, count in found.items() if count != 1} == {}


def test_every_fault_names_tests() -> None:
    for name, fault in FAULTS.items():
        files = [word for word in shlex.split(fault.tests) if word.endswith(".py")]
        assert files, name
        assert [file for file in files if not (ROOT / "tests" / file).exists()] == [], name


def test_the_faults_reach_everything() -> None:
    assert len(FAULTS) >= 15
    places = ("csrc/cpu/", "csrc/cuda/", "kernels/triton/", "ops/", "nn.py", "fusion/", "training/", "data/")
    for place in places:
        assert any(place in fault.file for fault in FAULTS.values()), place
