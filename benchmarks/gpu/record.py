"""The one writer of a check's files: a row is on the disk before anything else happens."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NAME = "gpu-check"  # of all four files


class Record:
    """Appends to ``gpu-check.jsonl`` and ``gpu-check.log``; a second part completes what the first one left.

    Attributes:
        rows: all rows of the file, those of earlier runs first.
        run: names this run; its row ``about`` has the versions that all its rows were measured with.
        device: as that row says, once it is there.
    """

    def __init__(self, out: Path, part: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / f"{NAME}.jsonl"
        self.rows = _mended(self.path)
        self.run = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}-part-{part}"
        self.device = "not known yet"
        self._start = time.monotonic()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._rows, self._log = (os.open(path, flags, 0o644) for path in (self.path, out / f"{NAME}.log"))

    @property
    def of_this_run(self) -> list[Row]:
        return [row for row in self.rows if row["run"] == self.run]

    def put(self, stage: str, row: Row) -> None:
        """One write of a whole line, then fsync: whatever ends this process, no line is cut off."""
        if row["what"] == "about":
            self.device = row.get("device", self.device)
        when = {"t": round(time.monotonic() - self._start, 1), "run": self.run, "stage": stage}
        row = when | {"device": self.device} | row
        os.write(self._rows, (json.dumps(row, ensure_ascii=False) + "\n").encode())
        os.fsync(self._rows)
        self.rows.append(row)
        self.tell(f"{row['t']:6.1f} s  {_shown(row)}")

    def tell(self, text: str) -> None:
        """To the log and to whoever watches."""
        os.write(self._log, (text + "\n").encode())
        with contextlib.suppress(OSError):  # nobody watches any more
            print(text, flush=True)

    def log(self, stage: str, lines: Iterable[str]) -> None:
        os.write(self._log, "".join(f"[{stage}] {line}\n" for line in lines).encode())


def read(path: Path) -> list[Row]:
    """The rows of a file, without a last line that was cut off."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _mended(path: Path) -> list[Row]:
    """The rows that are there, if any; what a machine that went down left of one more is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    os.truncate(path, data.rfind(b"\n") + 1)
    return read(path)


def _shown(row: Row) -> str:
    hidden = ("t", "run", "stage", "device", "what", "case")
    values = ", ".join(f"{key} {_short(value)}" for key, value in row.items() if key not in hidden)
    return f"{row['what']}, {row.get('case', '')}: {values}"


def _short(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
