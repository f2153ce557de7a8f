"""The argument ``impl`` of StyleGAN's operations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import fastgan


def on(impl: str) -> AbstractContextManager[object]:
    """Return a context for ``impl``: "cuda" chooses kernels for the tensor's device, "ref" none."""
    if impl not in ("ref", "cuda"):
        raise ValueError(f"impl must be 'cuda' or 'ref', but is {impl!r}")
    return fastgan.use_backend("reference") if impl == "ref" else nullcontext()
