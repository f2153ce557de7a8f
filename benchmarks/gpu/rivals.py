"""``python -m benchmarks.gpu.rivals [--quick] RIVAL``: compares fastgan with torch.compile or JAX.

The most important cases come first: compiling is slow, and time may run out before the last one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from benchmarks.gpu import contests, steps
from benchmarks.gpu.rows import DONE, attempt

STEPS = {
    "torch.compile": ("torch.compile, reduce-overhead",),  # uses CUDA graphs, as fastgan's step does
    "JAX": ("JAX jit", "JAX jit, scan of 10"),
}
OPERATIONS = {"torch.compile": "torch.compile", "JAX": "JAX jit"}


def plan(rival: str, quick: bool) -> dict[str, Callable[[], None]]:
    """Functions by case: a loss, the alternating step, then the others."""
    sizes, effort = (contests.QUICK, contests.BRIEF) if quick else (contests.FULL, contests.EFFORT)
    of_steps = contests.BRIEF if quick else steps.EFFORT
    operations = {
        each.name: partial(contests.run, each, effort) for each in contests.rival(OPERATIONS[rival], sizes)
    }
    trained = {
        steps.name_of(problem): partial(steps.run, problem, STEPS[rival], of_steps)
        for problem in steps.problems(quick)
    }
    if quick:
        operations, trained = (dict(list(each.items())[:1]) for each in (operations, trained))
    first = list(operations)[:1] + list(trained)[:1]
    every = operations | trained
    return {name: every[name] for name in dict.fromkeys([*first, *operations, *trained])}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.rivals", description=__doc__)
    parser.add_argument("rival", choices=STEPS)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the check itself")
    options = parser.parse_args()
    for name, run in plan(options.rival, options.quick).items():
        if name not in DONE:
            with attempt("contest", name, "what all of them need", contests.SECONDS):
                run()


if __name__ == "__main__":
    main()
