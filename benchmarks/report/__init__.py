"""docs/benchmarks.md out of what ``make bench`` stored: ``python -m benchmarks.report [RESULT.json ...]``."""
