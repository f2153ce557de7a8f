"""Messages from a stage's process to the check: rows as soon as they are known, and the next attempt.

An attempt may crash the process or never end. The check then writes a row about it and starts the stage
again, without that contender and without the cases that are done.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.gpu.record import Row

_PIPE = int(os.environ.get("FASTGAN_ROWS", 0))
_STATE: dict[str, Any] = json.loads(os.environ.get("FASTGAN_STATE", '{"lost": [], "done": []}'))
DONE: list[str] = _STATE["done"]  # cases to skip
CONTEXT_IS_LOST = 70  # exit code


def put(what: str, case: str, **values: object) -> None:
    _tell({"row": _plain({"what": what, "case": case} | values)})


def is_lost(case: str, contender: str) -> bool:
    """Whether this contender ended an earlier process of the stage and must not be tried again."""
    return [case, contender] in _STATE["lost"]


def done(case: str) -> None:
    _tell({"done": case})


@contextmanager
def attempt(what: str, case: str, contender: str, seconds: float) -> Iterator[None]:
    """Announces an attempt. If it raises, exceeds ``seconds`` or crashes, its row says so."""
    row: Row = {"what": what, "case": case, "contender": contender}
    _tell({"doing": row, "seconds": seconds})
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        put(**row, status="failed", error=f"{type(error).__name__}: {error}"[:1500])
        if _context_is_lost():
            _tell({"lost": [case, contender]})
            sys.stderr.flush()
            os._exit(CONTEXT_IS_LOST)
    _tell({"doing": None})


def _context_is_lost() -> bool:
    """Whether an invalid access has made the GPU unusable for the rest of the process."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _tell(message: dict[str, Any]) -> None:
    line = json.dumps(message, ensure_ascii=False)
    if _PIPE:
        os.write(_PIPE, (line + "\n").encode())
    else:  # a stage that is run by hand
        print(line, flush=True)


def _plain(value: Any) -> Any:
    """Converts to values that JSON can represent: non-finite numbers become strings."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
