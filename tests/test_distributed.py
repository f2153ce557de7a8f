"""Several processes compute what one would have; one that is lost ends the run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Python
from safetensors.torch import load_file

from fastgan.training import ConfigError, TrainConfig
from fastgan.training.distributed import World
from fastgan.training.state import TrainingState
from tests.test_cli import run
from tests.test_resume import networks

SETTINGS = ["--steps", "20", "--checkpoint-interval", "10", "--batch-size", "32"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

# two processes as torchrun starts them, from one that has imported torch
PAIR = """
import os, sys
import fastgan.cli, fastgan.plots, fastgan.training, torch.distributed.nn  # once for both
child = os.fork()
rank = "0" if child else "1"
os.environ |= {{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}}
os.environ["MASTER_PORT"] = "{port}"
"""
# both have ended well
ENDED = """
assert child == 0 or os.waitpid(child, 0)[1] == 0
"""

# each process writes its gradients of one step; a single one those of the whole batch
GRADIENTS = """
import torch
from fastgan.training import TrainConfig
from fastgan.training.distributed import joined
from fastgan.training.source import Resident
from fastgan.training.state import TrainingState
from tests.test_resume import networks
from tests.test_training import data

def write_gradients():
    with joined(torch.device("cpu")) as world:
        results = []
        for objective in ("bce", "began"):
            generator, discriminator = networks(dropout=True, reconstructs=objective == "began")
            # the batch's statistics are each process's own
            discriminator[1] = generator[1] = torch.nn.Identity()
            settings = {"diversity_ratio": 1.0} if objective == "began" else {}
            config = TrainConfig(batch_size=16, latent_dim=3, objective=objective, **settings)
            state = TrainingState(generator.double(), discriminator.double(), config, world)
            real = Resident(data().double()).batch(state, 0)
            fake = generator(state.latents(1).double())
            grad, _ = state.objective.both_turns(discriminator, real, fake)
            fake.backward(grad)
            parameters = [*generator.parameters(), *discriminator.parameters()]
            for p in parameters:
                world.average(p.grad)
            results += [p.grad for p in parameters]
        results.append(state.objective.k)
        assert 0 < state.objective.k
        torch.save(results, f"{world.size}-{world.rank}.pt")

write_gradients()
"""


# each of two processes has half the batch; their averaged gradients are those of the whole one
WRAPPED = """
import copy, os, sys, torch, fastgan
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

child = os.fork()  # the imports take most of the time
rank = 0 if child else 1
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meet", rank=rank, world_size=2)

def chain():
    return fastgan.nn.MLP([6, 8, 8, 1])

def sequential():
    return fastgan.fuse(nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)))

def each_layer(module):
    for layer in [m for m in module.modules() if isinstance(m, nn.Linear)]:
        fully_shard(layer)
    return fully_shard(module)

def gradients(module, half):
    fastgan.generator_loss(module(half)).backward()
    return [p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad for p in module.parameters()]

batch = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
for build, wrap in [
    (chain, nn.parallel.DistributedDataParallel),
    (sequential, nn.parallel.DistributedDataParallel),
    (chain, fully_shard),
    (sequential, fully_shard),
    (chain, each_layer),
    (sequential, each_layer),
]:
    torch.manual_seed(0)
    module = build()
    whole = gradients(copy.deepcopy(module), batch)
    torch.testing.assert_close(gradients(wrap(module), batch.chunk(2)[rank]), whole)

dist.destroy_process_group()
failed = bool(child) and os.waitpid(child, 0)[1] != 0
sys.stdout.flush()
os._exit(failed)  # FSDP's mesh holds the group: its threads would outlive the interpreter, which may abort it
"""

# a thread of the group that lets go of a tensor while the interpreter ends aborts the process
THREADS = """
import runpy

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
sys.argv = [{example!r}, "3"]
names = runpy.run_path(sys.argv[0], run_name="__main__")  # whatever it leaves behind stays
os.write(1, b"%d threads left;" % (threads() - before))  # at once: both processes write to one pipe
"""


def torchrun(processes: int, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        f"--nproc-per-node={processes}",
        *arguments,
    ]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_half_batches_give_the_whole_batchs_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python
) -> None:
    monkeypatch.chdir(tmp_path)
    done = python(f"{GRADIENTS}{PAIR.format(port=free_port())}write_gradients()\n{ENDED}")
    assert done.returncode == 0, done.stderr
    expected = torch.load(tmp_path / "1-0.pt")
    for rank in (0, 1):
        for ours, theirs in zip(torch.load(tmp_path / f"2-{rank}.pt"), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


def test_ddp_and_fsdp(tmp_path: Path, python: Python) -> None:
    done = python(f"import sys; sys.argv[1:] = [{str(tmp_path)!r}]\n{WRAPPED}")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_example_leaves_no_thread_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python
) -> None:
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parent.parent / "examples" / "data_parallel.py"
    done = python(PAIR.format(port=free_port()) + THREADS.format(example=str(example)) + ENDED)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(-?\d+) threads left;", done.stdout) == ["0", "0"]


# each of two processes trains on a table twice, whatever PyTorch's generator has drawn
TABLE = """
import torch
from fastgan.models.ctgan import Dropout
from fastgan.training import Trainer
from fastgan.training.distributed import joined
from fastgan.training.table_source import TableSource
from tests.test_table_training import config, networks, table

kept, drawn = Dropout.kept, []
Dropout.kept = lambda *arguments: drawn.append(kept(*arguments)) or drawn[-1]

def train(world, seed):
    settings = config(steps=4, discriminator_steps=2)
    pair = networks(settings)
    torch.manual_seed(seed)
    parameters = [p.detach() for network in pair for p in network.parameters()]
    return parameters, Trainer(*pair, settings, world=world)

with joined(torch.device("cpu")) as world:
    runs = []
    for again in range(2):
        parameters, trainer = train(world, 2 * again + world.rank)
        trainer.fit(TableSource(table()))
        runs.append((parameters, list(drawn)))
        drawn.clear()
    torch.save(runs, f"{world.rank}.pt")
"""


def test_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python) -> None:
    """Processes have the same weights, by dropout of their own, and draw nothing from PyTorch's generator."""
    monkeypatch.chdir(tmp_path)
    done = python(PAIR.format(port=free_port()) + TABLE + ENDED)
    assert done.returncode == 0, done.stderr
    (first, first_again), (second, second_again) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for one, other in ((first, first_again), (second, second_again)):
        for ours, theirs in zip(one[0] + one[1], other[0] + other[1], strict=True):
            assert torch.equal(ours, theirs)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first[0], second[0], strict=True))
    assert all(parameter.isfinite().all() for parameter in first[0])
    assert not any(torch.equal(ours, theirs) for ours, theirs in zip(first[1], second[1], strict=True))


RESUME = """
from fastgan.cli import main
sys.argv = ["fastgan", "train", "--resume", "two", "--steps", "30"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""


def test_two_processes_train_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python, undrawn: None
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train = ["train", "ring", *SETTINGS, "--out"]
    assert run(monkeypatch, *train, one) == 0
    command = [*torchrun(2, "-m", "fastgan"), *train, str(two)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained at step 20") == 1
    assert {path.name for path in two.iterdir()} >= {"dashboard.png", "summary.json", "config.yaml"}
    name = "checkpoint-00000020.safetensors"
    found, expected = load_file(two / name), load_file(one / name)
    for key, theirs in expected.items():
        if not key.startswith("random."):
            torch.testing.assert_close(found[key], theirs, rtol=1e-3, atol=1e-4)
    monkeypatch.chdir(tmp_path)
    done = python(PAIR.format(port=free_port()) + RESUME + ENDED)
    assert done.returncode == 0, done.stderr
    assert json.loads((two / "summary.json").read_text())["steps"] == 30


# rank 1 is gone as soon as there is a row
LOSES_ONE = """
import signal, threading, time
from fastgan.cli import main

def lost():
    while not os.path.exists("run/metrics.jsonl"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

if rank == "1":
    threading.Thread(target=lost).start()
settings = "--steps 1000000 --batch-size 32 --checkpoint-interval 100 --out run"
sys.argv = ["fastgan", "train", "ring", *settings.split()]
main()
"""


def test_a_lost_process_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Python) -> None:
    monkeypatch.chdir(tmp_path)
    done = python(PAIR.format(port=free_port()) + LOSES_ONE)
    assert done.returncode not in (0, -signal.SIGALRM)
    assert "fastgan: rank 0 of 2 lost another one" in done.stderr
    assert "resume from the last checkpoint" in done.stderr


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    config = replace(TrainConfig(), batch_size=10, latent_dim=3)
    with pytest.raises(ConfigError, match="batch_size is 10, expected a multiple of the 4 processes"):
        TrainingState(*networks(dropout=True), config, World(0, 4))
