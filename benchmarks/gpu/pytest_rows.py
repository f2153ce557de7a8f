"""A pytest plugin: puts a row with counts while the tests run, and a row for each failure."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from benchmarks.gpu.rows import put

EVERY = 5.0  # seconds between rows of counts
_case = os.environ.get("FASTGAN_TESTS", "tests")


class Rows:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.put_at = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.failed:
            error = report.longreprtext[-1500:]
            put("test", report.nodeid, tests=_case, status="failed", error=error)
        if time.monotonic() - self.put_at > EVERY:
            self.put_at = time.monotonic()
            put("tests", _case, **self.counts, status="ok", until="now")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Fails if no test passed, even if all were skipped."""
        is_well = exitstatus == 0 and self.counts["passed"] > 0
        until = "interrupted" if exitstatus == pytest.ExitCode.INTERRUPTED else "the end"
        put("tests", _case, **self.counts, status="ok" if is_well else "failed", until=until)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with pytest-xdist only the controller sees all tests
        config.pluginmanager.register(Rows())
