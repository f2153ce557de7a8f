"""Code in processes of its own, each forked from one that has imported torch: the import takes seconds.

A program: it reads a line of JSON for each process, {"code": ..., "environment": ..., "folder": ...}, and
answers with {"returncode": ..., "stdout": ..., "stderr": ...}. Nothing but torch is imported before the code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

NOTE = """
import os
from pathlib import Path
Path({!r}).write_text(str(os.getpid()))
"""
# python -m NAME ARGUMENT...
MODULE = """
import runpy, sys
sys.argv = {arguments!r}
runpy.run_module({name!r}, run_name="__main__", alter_sys=True)
"""


class Forks:
    """Starts that program with the first call; ``environment`` is what torch is imported in."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._program: subprocess.Popen[str] | None = None

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        if self._program is None:
            self._program = subprocess.Popen(
                [sys.executable, __file__],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        print(
            json.dumps({"code": code, "environment": environment, "folder": str(Path.cwd())}),
            file=self._program.stdin,
            flush=True,
        )
        answer = json.loads(self._program.stdout.readline())
        return subprocess.CompletedProcess(["-c", code], **answer)

    def close(self) -> None:
        if self._program is not None:
            self._program.communicate()


class Started:
    """Code that runs meanwhile. Until it has ended, ``forks`` runs nothing else."""

    def __init__(self, forks: Forks, code: str, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._pid = Path(self._folder.name) / "pid"
        self._thread = ThreadPoolExecutor(1)
        self._end = self._thread.submit(forks.run, NOTE.format(str(self._pid)) + code, **environment)

    @property
    def has_ended(self) -> bool:
        return self._end.done()

    def send_signal(self, number: int) -> None:
        """To a process that has done something already, and is known by then."""
        os.kill(int(self._pid.read_text()), number)

    def wait(self, seconds: float) -> subprocess.CompletedProcess[str]:
        done = self._end.result(seconds)
        self._thread.shutdown()
        self._folder.cleanup()
        return done


def main() -> None:
    import torch  # noqa: F401

    sys.path.pop(0)  # this file's folder, where Python found it
    sys.argv = ["-c"]
    gc.freeze()  # a collection in a child would copy the memory of all these objects
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if child == 0:
                for to, file in enumerate(
                    (os.open(os.devnull, os.O_RDONLY), stdout.fileno(), stderr.fileno())
                ):
                    os.dup2(file, to)
                run_and_end(request)
            _, status = os.waitpid(child, 0)
            answer: dict[str, Any] = {"returncode": os.waitstatus_to_exitcode(status)}
            for name, file in (("stdout", stdout), ("stderr", stderr)):
                file.seek(0)
                answer[name] = file.read().decode()
        print(json.dumps(answer), flush=True)


def run_and_end(request: dict[str, Any]) -> NoReturn:
    """Runs the code as ``python -c`` does, but does not take the interpreter apart, which takes a second."""
    signal.alarm(600)  # some code compiles dozens of kernels next to other tests
    code: object = 0
    try:
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        compiled = compile(request["code"], "<string>", "exec")
        exec(compiled, {"__name__": "__main__", "__builtins__": __builtins__})
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
