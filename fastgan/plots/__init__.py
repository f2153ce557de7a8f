"""Pictures, drawn by matplotlib without a display."""

from fastgan.plots.dashboard import save_dashboard, save_history
from fastgan.plots.objectives import save_objectives
from fastgan.plots.points import View
from fastgan.plots.samples import save_samples
from fastgan.plots.sheets import tile

__all__ = ["View", "save_dashboard", "save_history", "save_objectives", "save_samples", "tile"]
