"""``python -m benchmarks.gpu.program WHAT COMMAND ...``: runs a program and puts a row with its result."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from benchmarks.gpu.rows import put


def main() -> None:
    what, *command = sys.argv[1:]
    if shutil.which(command[0]) is None:  # allowed for a tool, but not for a program that is built
        status = "failed" if "/" in command[0] else "left out"
        put("program", what, status=status, error=f"there is no {command[0]}")
        return
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout)
    said = done.stdout.strip().splitlines()
    seconds = round(time.monotonic() - start, 1)
    status = "ok" if done.returncode == 0 and said else "failed"
    put("program", what, status=status, seconds=seconds, said=said[-3:] if status == "ok" else said[-20:])


if __name__ == "__main__":
    main()
