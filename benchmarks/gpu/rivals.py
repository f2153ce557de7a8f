"""``python -m benchmarks.gpu.rivals [--quick] RIVAL``: fastgan against torch.compile, or against JAX.

The headline comes first, as compiling takes long and the time may be over before the last case.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from benchmarks.gpu import contests, steps
from benchmarks.gpu.rows import DONE, attempt

STEPS = {
    "torch.compile": ("torch.compile, reduce-overhead",),  # with CUDA graphs, as fastgan's step is one
    "JAX": ("JAX jit", "JAX jit, scan of 10"),
}
OPERATIONS = {"torch.compile": "torch.compile", "JAX": "JAX jit"}


def plan(rival: str, quick: bool) -> dict[str, Callable[[], None]]:
    """A loss, the alternating step, and then the rest."""
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
    parser.add_argument("--quick", action="store_true", help="sizes that say nothing")
    options = parser.parse_args()
    for name, run in plan(options.rival, options.quick).items():
        if name not in DONE:
            with attempt("contest", name, "what all of them need", contests.SECONDS):
                run()


if __name__ == "__main__":
    main()
