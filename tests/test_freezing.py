"""Networks whose parameters need no gradient for a while."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import run_together
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import fastgan


def discriminator() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(4 * 6, 1))


def normed(norm: Callable[..., nn.Module]) -> nn.Sequential:
    model = discriminator()
    model[0], model[3] = norm(model[0]), norm(model[3])
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": discriminator,
    "fused": lambda: fastgan.fuse(discriminator()),
    "spectral norm": lambda: normed(parametrizations.spectral_norm),
    "spectral norm with hooks": lambda: normed(nn.utils.spectral_norm),
    "weight norm": lambda: normed(parametrizations.weight_norm),
    "weight norm with hooks": lambda: normed(nn.utils.weight_norm),
}


def slope_of(net: nn.Module, fake: Tensor) -> Tensor:
    leaf = fake.clone().requires_grad_()
    fastgan.generator_loss(net(leaf)).backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_samples_get_the_same_gradient_and_parameters_none(make: Callable[[], nn.Module]) -> None:
    net, fake = make().eval(), torch.randn(3, 1, 8)
    usual = slope_of(net, fake)
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    with fastgan.frozen(net):
        ours = slope_of(net, fake)
    assert torch.equal(ours, usual)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    slope_of(net, fake)
    assert all(p.grad is not None for p in net.parameters())


def test_only_the_forward_pass_has_to_be_inside() -> None:
    net, fake = discriminator(), torch.randn(3, 1, 8, requires_grad=True)
    with fastgan.frozen(net):
        real_logits, loss = net(torch.randn(3, 1, 8)), fastgan.generator_loss(net(fake))
    loss.backward()
    assert not real_logits.requires_grad  # no activations are kept for it
    assert fake.grad is not None
    assert all(p.grad is None for p in net.parameters())


def test_only_what_was_trainable_is_restored_on_any_exit() -> None:
    net, other = discriminator(), discriminator()
    net[0].weight.requires_grad_(False)
    before = [p.requires_grad for p in net.parameters()]

    def fail() -> None:
        with fastgan.frozen(net, other), fastgan.frozen(net):
            assert not any(p.requires_grad for module in (net, other) for p in module.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [p.requires_grad for p in net.parameters()] == before
    assert all(p.requires_grad for p in other.parameters())

    def generate() -> object:
        with fastgan.frozen(net):
            yield

    abandoned = generate()
    next(abandoned)
    assert not any(p.requires_grad for p in net.parameters())
    del abandoned
    assert [p.requires_grad for p in net.parameters()] == before


def test_nested_contexts_end_with_the_outer_one() -> None:
    net = discriminator()
    with fastgan.frozen(net):
        with fastgan.frozen(net):
            pass
        assert not any(p.requires_grad for p in net.parameters())
    assert all(p.requires_grad for p in net.parameters())


def test_compiled_discriminator() -> None:
    net, fake = discriminator(), torch.randn(3, 1, 8)
    compiled = torch.compile(net, backend="aot_eager")
    usual = slope_of(compiled, fake)
    net.zero_grad()
    with fastgan.frozen(compiled):
        torch.testing.assert_close(slope_of(compiled, fake), usual)
    assert all(p.grad is None for p in net.parameters())
    slope_of(compiled, fake)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), ValueError, "frozen\\(\\) got no modules"),
        (([nn.Linear(1, 1)],), TypeError, "argument 0 of frozen\\(\\) must be a module, but is list"),
        ((nn.Linear(1, 1), nn.ReLU()), ValueError, "argument 1 of frozen\\(\\) is a ReLU without parameters"),
    ],
)
def test_errors(arguments: tuple[nn.Module, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), fastgan.frozen(*arguments):
        pass


PROCESSES = """
    import sys
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch import nn
    import fastgan
    from fastgan import penalties

    kind, folder, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    whole = [p.detach().clone() for p in plain.parameters()]
    if kind == "fsdp":
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.device_mesh import init_device_mesh
        D = fully_shard(plain, mesh=init_device_mesh("cpu", (2,)))
    else:
        D = nn.parallel.DistributedDataParallel(plain)

    def gradients():
        found = [p.grad.full_tensor() if kind == "fsdp" else p.grad for p in D.parameters()]
        D.zero_grad()
        return found

    def loss_of(weight, bias, last, last_bias, real, fake, alone=False):
        def logits(x):
            return F.linear(F.leaky_relu(F.linear(x, weight, bias), 0.2), last, last_bias)
        x = real.clone().requires_grad_()
        slope = torch.autograd.grad(logits(x).sum(), x, create_graph=True)[0]
        penalty = 5 * slope.square().sum(1).mean()
        loss = fastgan.discriminator_loss(logits(real), logits(fake))
        return penalty + 0 * logits(x).sum() if alone else loss + penalized * penalty

    for step in range(3):
        batches = torch.randn(2, 2, 4, 3)  # of each process: real and fake samples
        real, fake = batches[rank]
        penalized = kind == "ddp" and step != 1
        loss = fastgan.discriminator_loss(D(real), D(fake))
        if penalized:
            loss = loss + penalties.r1(D, real, 10.0)
        loss.backward()
        leaves = [p.clone().requires_grad_() for p in whole]
        expected = torch.autograd.grad(
            sum(loss_of(*leaves, *batches[i]) for i in range(2)) / 2, leaves
        )
        torch.testing.assert_close(gradients(), list(expected))
        if penalized:
            penalties.r1(D, real, 10.0).backward()  # with a backward pass of its own, as a lazy one
            losses = [loss_of(*leaves, *batches[i], alone=True) for i in range(2)]
            expected = torch.autograd.grad(sum(losses) / 2, leaves)
            torch.testing.assert_close(gradients(), list(expected))
        leaf = fake.clone().requires_grad_()
        with fastgan.frozen(D):
            of_generator = fastgan.generator_loss(D(leaf))
        of_generator.backward()
        assert leaf.grad.abs().sum() > 0
        assert all(p.grad is None and p.requires_grad for p in D.parameters())
    dist.destroy_process_group()
    print("done")
"""


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes(tmp_path: Path, kind: str) -> None:
    """Steps of net with a penalty, then of G with net frozen: gradients are those of the whole batch."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROCESSES))
    run_together([[str(script), kind, str(tmp_path), str(rank)] for rank in (0, 1)])
