"""``python -m benchmarks.gpu.steps [--quick]``: times the training step, and lists a captured step's kernels.

Contenders are fastgan with one or ten steps per CUDA graph, and PyTorch, eager and captured in a graph.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import torch

from benchmarks.contest import Effort, contest, timed
from benchmarks.gpu.contests import BRIEF, SECONDS, TIMING, forget, tell
from benchmarks.gpu.rows import DONE, attempt, done, is_lost, put
from benchmarks.machine import DEVICE, finish_of
from benchmarks.step.agreement import check_agreement
from benchmarks.step.contenders import contenders
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager
from benchmarks.step.problem import Contender, Problem
from fastgan.training.capture import EagerSteps

EFFORT = Effort(rounds=30, least=7, seconds=2.0)
SAMPLE_SECONDS = 0.02  # enough for many steps between two synchronizations
OURS = ("fastgan", "fastgan, 10 steps a graph")
PYTORCH = ("eager", "eager in a CUDA graph")


def problems(quick: bool) -> list[Problem]:
    return [Problem(*((8, 16) if quick else (128, 256)), simultaneous) for simultaneous in (False, True)]


def name_of(problem: Problem) -> str:
    return f"step, {problem}"


def run(problem: Problem, others: Sequence[str], effort: Effort) -> None:
    forget()
    case = name_of(problem)
    made: dict[str, Contender] = {}
    missing = {*OURS, *others}
    for name, make in contenders(problem, DEVICE, modes=("reduce-overhead",)):
        if name in missing and not is_lost(case, name):
            with attempt("contest", case, name, SECONDS):
                contender = make()
                check_agreement(problem, {"eager": Eager(problem, DEVICE), name: contender}, DEVICE)
                contender.run()  # captures
                finish_of(DEVICE)()
                made[name] = contender
        missing.discard(name)
        if not missing:
            break  # before the generator imports JAX
    for name in sorted(missing):
        put("contest", case, contender=name, status="left out", error=f"it does not run on {DEVICE}")
    done(case)
    with attempt("contest", case, "all of them, timed", TIMING):
        samples = {name: timed(each.run, each.finish) for name, each in made.items()}
        result = contest(samples, effort, SAMPLE_SECONDS if effort is EFFORT else 0.0)
        tell(case, result, {name: each.steps_a_run for name, each in made.items()})


def kernels(problem: Problem) -> None:
    """Puts the kernels that one captured step launches, and their time, as the profiler reports them."""
    from torch.profiler import ProfilerActivity, profile

    is_gpu = DEVICE == "cuda"
    contender = Fastgan(problem, DEVICE)
    if not is_gpu:  # no profiler sees the calls of a recorded step
        contender.steps = EagerSteps(contender.state, contender.steps.source, contender.window)
    for _ in range(3):
        contender.run()
    finish_of(DEVICE)()
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiled:
        contender.run()
        finish_of(DEVICE)()
    wanted = torch.autograd.DeviceType.CUDA if is_gpu else torch.autograd.DeviceType.CPU
    found = [event for event in profiled.events() if event.device_type == wanted]
    assert found, "the profiler saw no kernel"
    us: Counter[str] = Counter()
    for event in found:
        us[event.name[:80]] += event.time_range.elapsed_us()
    put("kernels", name_of(problem), count=len(found), busy_us=sum(us.values()), longest=us.most_common(20))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.steps", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the check itself")
    quick = parser.parse_args().quick
    for problem in problems(quick):
        if name_of(problem) not in DONE:
            with attempt("contest", name_of(problem), "what all of them need", SECONDS):
                run(problem, PYTORCH, BRIEF if quick else EFFORT)
    for problem in problems(quick):
        if not is_lost(name_of(problem), "the profiler"):
            with attempt("kernels", name_of(problem), "the profiler", SECONDS):
                kernels(problem)


if __name__ == "__main__":
    main()
