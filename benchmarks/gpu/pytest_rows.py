"""A pytest plugin: counts of results while the tests run, and a row for each failure when it happens."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from benchmarks.gpu.rows import put

EVERY = 5.0  # seconds between two rows of counts
_case = os.environ.get("FASTGAN_TESTS", "tests")


class Rows:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.told = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.failed:
            error = report.longreprtext[-1500:]
            put("test", report.nodeid, tests=_case, status="failed", error=error)
        if time.monotonic() - self.told > EVERY:
            self.told = time.monotonic()
            put("tests", _case, **self.counts, status="ok", until="now")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tests that are all skipped, or none, have not passed."""
        is_well = exitstatus == 0 and self.counts["passed"] > 0
        until = "interrupted" if exitstatus == pytest.ExitCode.INTERRUPTED else "the end"
        put("tests", _case, **self.counts, status="ok" if is_well else "failed", until=until)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # of several processes the first one alone hears of all tests
        config.pluginmanager.register(Rows())
