"""Writes docs/benchmarks.md from the results of ``make bench``."""
