"""fastgan and ctgan on the same tables, each in processes of its own, which need not have the other."""

from __future__ import annotations

import importlib
from typing import Any

CONTENDERS = {"fastgan": "in_fastgan.InFastgan", "ctgan": "in_ctgan.InCTGAN"}


def contender(name: str, epochs: int, seed: int) -> Any:
    """One of ``CONTENDERS``, whose module is imported only now."""
    module, _, kind = CONTENDERS[name].partition(".")
    return getattr(importlib.import_module(f"benchmarks.tabular.{module}"), kind)(epochs, seed)
