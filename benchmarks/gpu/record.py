"""Writes the files of a check. Each row is on disk before the check goes on."""

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
NAME = "gpu-check"  # stem of the check's files


class Record:
    """Appends to ``gpu-check.jsonl`` and ``gpu-check.log``, so that a second part continues the first.

    Attributes:
        rows: all rows of the file, those of earlier runs first.
        run: name of this run. Its row ``about`` has the versions that it was measured with.
        device: the device's name, once the row ``about`` is there.
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
        """Writes a whole line at once, then calls fsync, so that no crash leaves a partial line."""
        if row["what"] == "about":
            self.device = row.get("device", self.device)
        when = {"t": round(time.monotonic() - self._start, 1), "run": self.run, "stage": stage}
        row = when | {"device": self.device} | row
        os.write(self._rows, (json.dumps(row, ensure_ascii=False) + "\n").encode())
        os.fsync(self._rows)
        self.rows.append(row)
        self.tell(f"{row['t']:6.1f} s  {_shown(row)}")

    def tell(self, text: str) -> None:
        """Writes to the log and to stdout."""
        os.write(self._log, (text + "\n").encode())
        with contextlib.suppress(OSError):  # stdout may be closed
            print(text, flush=True)

    def log(self, stage: str, lines: Iterable[str]) -> None:
        os.write(self._log, "".join(f"[{stage}] {line}\n" for line in lines).encode())


def read(path: Path) -> list[Row]:
    """The rows of a file, without an incomplete last line."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _mended(path: Path) -> list[Row]:
    """The rows of a file, if it exists. Removes an incomplete last line, which a machine crash may leave."""
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
