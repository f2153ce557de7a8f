"""Pictures; matplotlib draws them without a display."""

from fastgan.plots.dashboard import save_dashboard
from fastgan.plots.objectives import save_objectives
from fastgan.plots.samples import save_samples, tile

__all__ = ["save_dashboard", "save_objectives", "save_samples", "tile"]
