"""Metrics of how well a generator covers its data. Each file cites the paper of its metric."""

from fastgan.metrics.axes import AxisDifference, axis_differences
from fastgan.metrics.diversity import mean_distance, relative_diversity
from fastgan.metrics.extractor import ExtractorError, load_extractor
from fastgan.metrics.frechet import frechet_distance, gaussian_frechet_distance
from fastgan.metrics.histogram import jensen_shannon, reverse_kl
from fastgan.metrics.modes import ModeCoverage, mode_coverage
from fastgan.metrics.moments import Moments, RunningMoments
from fastgan.metrics.neighbours import Neighbourhood, neighbourhood
from fastgan.metrics.parzen import ParzenWindow, parzen_log_likelihood, parzen_window

__all__ = [
    "AxisDifference",
    "ExtractorError",
    "ModeCoverage",
    "Moments",
    "Neighbourhood",
    "ParzenWindow",
    "RunningMoments",
    "axis_differences",
    "frechet_distance",
    "gaussian_frechet_distance",
    "jensen_shannon",
    "load_extractor",
    "mean_distance",
    "mode_coverage",
    "neighbourhood",
    "parzen_log_likelihood",
    "parzen_window",
    "relative_diversity",
    "reverse_kl",
]
