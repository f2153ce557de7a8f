"""Measures of how well a generator covers its data."""

from fastgan.metrics.modes import ModeCoverage, mode_coverage

__all__ = ["ModeCoverage", "mode_coverage"]
