"""``python -m benchmarks.gpu.steps [--quick] WHICH``: the training step, and what its graph holds.

WHICH is who competes with fastgan, one step or ten a graph: ``pytorch`` (eager, and captured in a graph),
``compiled`` or ``jax``; ``kernels`` counts what a captured step launches.
"""

from __future__ import annotations

import argparse
import gc
from collections import Counter

import torch

from benchmarks.contest import Effort, contest, timed
from benchmarks.gpu.contests import BRIEF, SECONDS, TIMING, tell
from benchmarks.gpu.rows import DONE, LOST, attempt, done, put
from benchmarks.machine import DEVICE, finish_of
from benchmarks.step.agreement import check_agreement
from benchmarks.step.contenders import contenders
from benchmarks.step.in_fastgan import Fastgan
from benchmarks.step.in_pytorch import Eager
from benchmarks.step.problem import Contender, Problem

EFFORT = Effort(rounds=30, least=7, seconds=2.0)
SAMPLE_SECONDS = 0.02  # many steps between two waits for the device
OURS = ("fastgan", "fastgan, 10 steps a graph")
WANTED = {
    "pytorch": (*OURS, "eager", "eager in a CUDA graph"),
    "compiled": (*OURS, "torch.compile", "torch.compile, reduce-overhead"),
    "jax": (*OURS, "JAX jit", "JAX jit, scan of 10"),
}


def run(problem: Problem, which: str, effort: Effort) -> None:
    torch.compiler.reset()
    gc.collect()
    case = f"step, {problem}"
    made: dict[str, Contender] = {}
    missing = set(WANTED[which])
    for name, make in contenders(problem, DEVICE, modes=("reduce-overhead",)):
        if name in missing and name not in LOST:
            with attempt("contest", case, name, SECONDS):
                contender = make()
                check_agreement(problem, {"eager": Eager(problem, DEVICE), name: contender}, DEVICE)
                contender.run()  # captures
                finish_of(DEVICE)()
                made[name] = contender
        missing.discard(name)
        if not missing:
            break  # before JAX is imported to be asked
    for name in sorted(missing):
        put("contest", case, contender=name, status="left out", error=f"it does not run on {DEVICE}")
    done(case)
    with attempt("contest", case, "all of them, timed", TIMING):
        samples = {name: timed(each.run, each.finish) for name, each in made.items()}
        result = contest(samples, effort, SAMPLE_SECONDS if effort is EFFORT else 0.0)
        tell(case, result, {name: each.steps_a_run for name, each in made.items()})


def kernels(problem: Problem) -> None:
    """What one captured step launches, by the profiler, and how long the device is busy with it."""
    from torch.profiler import ProfilerActivity, profile

    is_gpu = DEVICE == "cuda"
    contender = Fastgan(problem, DEVICE)
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
        us[event.name[:80]] += event.device_time if is_gpu else event.cpu_time
    put("kernels", f"step, {problem}", count=len(found), busy_us=sum(us.values()), longest=us.most_common(20))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.steps", description=__doc__)
    parser.add_argument("which", choices=(*WANTED, "kernels"))
    parser.add_argument("--quick", action="store_true", help="sizes that say nothing")
    options = parser.parse_args()
    size = (8, 16) if options.quick else (128, 256)
    for simultaneous in (False, True):
        problem = Problem(*size, simultaneous)
        if options.which == "kernels":
            with attempt("kernels", f"step, {problem}", "fastgan", SECONDS):
                kernels(problem)
        elif f"step, {problem}" not in DONE:
            run(problem, options.which, BRIEF if options.quick else EFFORT)


if __name__ == "__main__":
    main()
