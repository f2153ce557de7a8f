"""Spectral norms that are computed together train a network as PyTorch's do."""

from __future__ import annotations

import copy
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from backends import Backend
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import fastgan
from fastgan.fusion import unfuse

Norm = Callable[..., nn.Module]
NORMS: dict[str, Norm] = {"parametrization": parametrizations.spectral_norm, "hook": nn.utils.spectral_norm}
norms = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


class Net(nn.Module):
    """Convolutions, a transposed one, a layer without a norm, and layers with other settings."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.conv = norm(nn.Conv2d(2, 4, 3, padding=1))
        self.up = norm(nn.ConvTranspose2d(4, 3, 2, 2))  # has its channels along dim 1
        self.plain = nn.Conv2d(3, 3, 1)
        self.more = norm(nn.Linear(3, 5), n_power_iterations=2)
        self.last = norm(nn.Linear(5, 1), eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(x), 0.2)
        x = self.plain(torch.tanh(self.up(x)))
        logits: Tensor = self.last(F.leaky_relu(self.more(x.mean((2, 3))), 0.2))
        return logits


def pair(make: Callable[[], nn.Module], device: str = "cpu") -> tuple[nn.Module, nn.Module]:
    """A network as PyTorch has it, and another of the same values whose norms are joined, in float64."""
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(make().to(device, torch.float64))
    return networks[0], fastgan.join_spectral_norms(networks[1])


def images(*, device: str = "cpu") -> Tensor:
    return torch.randn(2, 2, 4, 4, dtype=torch.float64, device=device)


def assert_alike(plain: nn.Module, joined: nn.Module) -> None:
    ours, theirs = joined.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    for mine, right in zip(joined.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, right.grad, rtol=1e-10, atol=1e-12)


Step = Callable[[nn.Module], Tensor]


def assert_same_steps(plain: nn.Module, joined: nn.Module, step: Step, count: int = 3) -> None:
    """Steps of training compute the same losses, gradients, parameters and vectors."""
    optimizers = [torch.optim.SGD(net.parameters(), 0.05) for net in (plain, joined)]
    for _ in range(count):
        losses = []
        for net, optimizer in zip((plain, joined), optimizers, strict=True):
            optimizer.zero_grad()
            torch.manual_seed(1)
            loss = step(net)
            loss.backward()
            losses.append(loss)
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-11, atol=1e-12)
        assert_alike(plain, joined)
        for optimizer in optimizers:
            optimizer.step()


def of_both(net: nn.Module, device: str = "cpu") -> Tensor:
    """D's loss takes two forward passes before the backward pass."""
    return F.softplus(-net(images(device=device))).mean() + F.softplus(net(images(device=device))).mean()


def with_r1(net: nn.Module, device: str = "cpu") -> Tensor:
    real = images(device=device).requires_grad_()
    logits = net(real)
    (grad,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return F.softplus(-logits).mean() + grad.square().sum()


@norms
@pytest.mark.parametrize("step", [of_both, with_r1])
def test_trains_as_pytorchs(backend: Backend, norm: Norm, step: Callable[..., Tensor]) -> None:
    plain, joined = pair(partial(Net, norm), backend.device)
    assert_same_steps(plain, joined, partial(step, device=backend.device))
    for net in (plain, joined):
        net.eval()
    x = images(device=backend.device)
    torch.testing.assert_close(joined(x), plain(x), rtol=1e-11, atol=1e-12)
    assert_alike(plain, joined)


class Calls(TorchDispatchMode):
    """Counts the operators that compute."""

    VIEWS = (
        "view",
        "split",
        "detach",
        "t",
        "transpose",
        "permute",
        "alias",
        "expand",
        "_unsafe_view",
        "unsqueeze",
    )

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name not in self.VIEWS:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


def test_number_of_calls() -> None:
    """Eight layers take two calls, and one each in the backward pass, where PyTorch takes over a hundred."""

    def eight() -> nn.Module:
        layers = [parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)) for _ in range(8)]
        return nn.Sequential(*layers)

    counts = []
    plain, joined = eight(), fastgan.join_spectral_norms(eight())
    for net in (plain, joined):
        with Calls() as calls:
            net(torch.randn(1, 4, 6, 6)).sum().backward()
        counts.append(calls.count)
    bare = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(8)))
    with Calls() as calls:
        bare(torch.randn(1, 4, 6, 6)).sum().backward()
    theirs, ours = counts[0] - calls.count, counts[1] - calls.count
    assert theirs.total() > 100
    assert ours == {"spectral_norm": 1, "_foreach_copy_": 1, "spectral_norm_backward": 8}


class Uses(nn.Module):
    """Uses its layers in different ways."""

    def __init__(self, norm: Norm, use: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList([norm(nn.Linear(3, 3)) for _ in range(3)])
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.layers
        if self.use == "one is unused":
            return b(a(x))
        if self.use == "one is used twice":
            return c(a(b(a(x))))
        if self.use == "a weight is read":
            return c(b(a(x))) * a.weight.square().sum()
        if self.use == "without gradients in between":
            with torch.no_grad():
                x = b(x)
            return c(a(x))
        if self.use == "one is in evaluation mode":
            b.eval()
            return c(b(a(x)))
        if self.use == "a part is checkpointed":
            return c(checkpoint(nn.Sequential(a, b), x, use_reentrant=False))
        if self.use == "all is called by itself":
            self.use = "one is unused"
            x = self(x)
            self.use = "all is called by itself"
            return c(a(x))
        raise ValueError(self.use)


@norms
@pytest.mark.parametrize(
    "use",
    [
        "one is unused",
        "one is used twice",
        "a weight is read",
        "without gradients in between",
        "one is in evaluation mode",
        "a part is checkpointed",
        "all is called by itself",
    ],
)
def test_uses(norm: Norm, use: str) -> None:
    plain, joined = pair(lambda: Uses(norm, use))
    assert_same_steps(plain, joined, lambda net: net(torch.randn(4, 3, dtype=torch.float64)).square().sum())


def chain(norm: Norm) -> nn.Sequential:
    return nn.Sequential(norm(nn.Linear(3, 4)), nn.LeakyReLU(0.2), norm(nn.Linear(4, 2)))


def rows(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(4, 3, dtype=dtype)


def loss_of(net: Callable[[Tensor], Tensor]) -> Tensor:
    return net(rows()).square().sum()


@norms
def test_a_weight_that_changes_meanwhile(norm: Norm) -> None:
    plain, joined = pair(lambda: chain(norm))
    name = "2.weight_orig" if norm is nn.utils.spectral_norm else "2.parametrizations.weight.original"
    for net in (plain, joined):
        last = net.get_parameter(name)

        def change(*_: object, weight: Tensor = last) -> None:
            weight.mul_(1.5).add_(0.1)

        net[1].register_forward_pre_hook(change)  # type: ignore[index]
    x = rows()
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(joined(x), plain(x), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(joined.state_dict(), plain.state_dict(), rtol=1e-11, atol=1e-12)


@contextmanager
def stopped(net: nn.Module, error: BaseException) -> Iterator[None]:
    """The first activation raises an error."""

    def stop(*_: object) -> None:
        raise error

    handle = net[1].register_forward_hook(stop)  # type: ignore[index]
    yield
    handle.remove()


@norms
@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_stopped_calls(norm: Norm, error: BaseException) -> None:
    """What ran before the stop has moved its vectors, and the next call is as ever."""
    plain, joined = pair(lambda: chain(norm))
    for net in (plain, joined):
        torch.manual_seed(1)
        with stopped(net, error), pytest.raises(type(error)):
            net(rows())
    assert_same_steps(plain, joined, loss_of)


def with_functional_call(net: nn.Module) -> Tensor:
    changed = {name: p * 1.5 for name, p in net.named_parameters()}
    return loss_of(lambda x: torch.func.functional_call(net, changed, (x,)))


def with_transforms(net: nn.Module) -> Tensor:
    x = rows()
    return loss_of(net) + torch.func.grad(lambda t: net(t).square().sum())(x).sum()


def with_cache(net: nn.Module) -> Tensor:
    with parametrize.cached():
        return loss_of(net) + loss_of(net)


def compiled(net: nn.Module) -> Tensor:
    torch.compiler.reset()
    return loss_of(torch.compile(net, backend="aot_eager", fullgraph=True))


def with_a_compiled_layer(net: nn.Module) -> Tensor:
    torch.compiler.reset()
    layer = torch.compile(net[2], backend="aot_eager")  # type: ignore[index]
    return layer(net[1](net[0](rows()))).square().sum() + loss_of(net)  # type: ignore[index, no-any-return]


def traced(net: nn.Module) -> Tensor:
    x = rows()
    with torch.no_grad():
        torch.jit.trace(net, (x,), check_trace=False)
    return loss_of(net)


def under_saved_tensor_hooks(net: nn.Module) -> Tensor:
    with torch.autograd.graph.save_on_cpu():
        return loss_of(net)


def checkpointed(net: nn.Module) -> Tensor:
    return checkpoint(net, rows(), use_reentrant=False).square().sum()  # type: ignore[no-any-return]


def in_parts(net: nn.Module) -> Tensor:
    x = rows()
    for layer in net.children():
        x = layer(x)
    return x.square().sum()


def after_inference(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        net(rows())
    return loss_of(net)


SURROUNDINGS = {
    f.__name__: f
    for f in (
        *(with_functional_call, with_transforms, with_cache, compiled, with_a_compiled_layer, traced),
        *(under_saved_tensor_hooks, checkpointed, in_parts, after_inference),
    )
}


@norms
@pytest.mark.parametrize("step", SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_surroundings(norm: Norm, step: Step) -> None:
    plain, joined = pair(lambda: chain(norm))
    assert_same_steps(plain, joined, step)


@norms
def test_in_distributed_data_parallel(norm: Norm, gloo: None) -> None:
    plain, joined = pair(lambda: chain(norm))
    fastgan.separate_spectral_norms(joined)
    theirs, ours = (DistributedDataParallel(net) for net in (plain, joined))
    assert fastgan.join_spectral_norms(ours) is ours
    with Calls() as calls:
        loss_of(ours)
    assert calls.count["spectral_norm"] == 1
    plain.load_state_dict(joined.state_dict())
    assert_same_steps(theirs, ours, loss_of)


@pytest.fixture
def gloo(tmp_path: Any) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@norms
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes(norm: Norm, dtype: torch.dtype) -> None:
    """As exact as PyTorch's, judged by float64."""
    exact, _ = pair(lambda: chain(norm))
    plain, joined = (
        copy.deepcopy(exact).to(dtype),
        fastgan.join_spectral_norms(copy.deepcopy(exact).to(dtype)),
    )
    x = rows(dtype)
    right, theirs, ours = exact(x.double()), plain(x), joined(x)
    assert ours.dtype is dtype
    tolerance = 8 * torch.finfo(dtype).eps * right.abs().max()
    assert (ours.double() - right).abs().max() <= 2 * (theirs.double() - right).abs().max() + tolerance


def test_memory_format() -> None:
    plain, joined = pair(lambda: Net(parametrizations.spectral_norm))
    for net in (plain, joined):
        net.to(memory_format=torch.channels_last)
    strides = []
    for net in (plain, joined):
        layer, kept = net.conv, []
        layer.register_forward_hook(lambda module, *_, kept=kept: kept.append(module.weight.stride()))
        net(images())
        strides.append(kept)
    assert strides[0] == strides[1]
    assert_same_steps(plain, joined, of_both)


@norms
@pytest.mark.parametrize("first", ["fuse", "join"])
def test_with_fuse(norm: Norm, first: str) -> None:
    plain, joined = pair(lambda: chain(norm))
    if first == "fuse":
        fastgan.separate_spectral_norms(joined)
    fastgan.fuse(joined)
    if first == "fuse":
        fastgan.join_spectral_norms(joined)
    assert isinstance(joined[0], fastgan.nn.LinearLeakyReLU)  # type: ignore[index]
    with Calls() as calls:
        copy.deepcopy(joined)(rows())
    assert calls.count["spectral_norm"] == 1
    assert_same_steps(plain, joined, loss_of)
    unfuse(joined)
    assert_same_steps(plain, joined, loss_of)


@norms
def test_frozen(norm: Norm) -> None:
    plain, joined = pair(lambda: chain(norm))
    grads = []
    for net in (plain, joined):
        torch.manual_seed(1)
        x = rows().requires_grad_()
        with fastgan.frozen(net):
            net(x).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
    assert_alike(plain, joined)


def pickled(net: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


@pytest.mark.parametrize(
    ("norm", "copied"),
    [
        (parametrizations.spectral_norm, copy.deepcopy),
        (nn.utils.spectral_norm, copy.deepcopy),
        (nn.utils.spectral_norm, pickled),  # PyTorch refuses to pickle parametrizations
    ],
)
def test_copies(norm: Norm, copied: Callable[[nn.Module], nn.Module]) -> None:
    """A copy is joined too, and shares nothing with the original."""
    plain, joined = pair(lambda: chain(norm))
    before = {name: t.clone() for name, t in joined.state_dict().items()}
    twin = copied(joined)
    with Calls() as calls:
        copied(twin)(rows())
    assert calls.count["spectral_norm"] == 1
    assert_same_steps(plain, twin, loss_of)
    torch.testing.assert_close(joined.state_dict(), before, rtol=0, atol=0)
    fastgan.separate_spectral_norms(twin)
    with Calls() as calls:
        joined(rows())
    assert calls.count["spectral_norm"] == 1


@norms
def test_several_threads(norm: Norm) -> None:
    """Each call has weights of its own."""
    _, joined = pair(lambda: chain(norm))
    joined.eval()
    x = rows()
    expected = joined(x)
    results: list[Tensor] = []
    threads = [threading.Thread(target=lambda: results.extend(joined(x) for _ in range(50))) for _ in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 150
    for result in results:
        torch.testing.assert_close(result, expected)


@norms
def test_separate(norm: Norm) -> None:
    plain, joined = pair(lambda: chain(norm))
    fastgan.join_spectral_norms(joined)  # a second time changes nothing
    fastgan.separate_spectral_norms(joined)
    assert not joined._forward_pre_hooks
    assert not joined._forward_hooks
    with Calls() as calls:
        joined(rows())
    assert calls.count["spectral_norm"] == 0
    plain(rows())
    joined.load_state_dict(plain.state_dict())
    assert_same_steps(plain, joined, loss_of)
    for ours, theirs in zip(joined.modules(), plain.modules(), strict=True):
        assert [type(hook) for hook in ours._forward_pre_hooks.values()] == [
            type(hook) for hook in theirs._forward_pre_hooks.values()
        ]


@norms
def test_a_norm_that_was_removed(norm: Norm) -> None:
    plain, joined = pair(lambda: chain(norm))
    for net in (plain, joined):
        layer = net.eval()[0]  # type: ignore[index]
        if norm is nn.utils.spectral_norm:
            nn.utils.remove_spectral_norm(layer)
        else:
            parametrize.remove_parametrizations(layer, "weight")
        net.train()
    assert_same_steps(plain, joined, loss_of)


def test_other_parametrizations() -> None:
    """A second parametrization gets the result of the first; one before spectral norm excludes a layer."""

    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    def make() -> nn.Module:
        net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(2)))
        parametrizations.spectral_norm(net[0])
        parametrize.register_parametrization(net[0], "weight", Doubled())
        parametrize.register_parametrization(net[1], "weight", Doubled())
        parametrizations.spectral_norm(net[1])
        return net

    assert_same_steps(*pair(make), loss_of)


class Branches(nn.Module):
    """Two heads, as of several discriminators in one module."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.a, self.b = norm(nn.Linear(3, 1)), norm(nn.Linear(3, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)


@norms
def test_branches_are_apart(norm: Norm) -> None:
    """One may be propagated and trained before the other; hooks of weights without gradients do not run."""
    networks = pair(lambda: Branches(norm))
    for net in networks:
        torch.manual_seed(1)
        for parameter in net.parameters():
            parameter.register_hook(lambda grad: grad.clamp(-0.5, 0.5))
        first, second = net(rows())
        first.sum().backward()
        with torch.no_grad():
            for parameter in net.a.parameters():  # type: ignore[union-attr]
                parameter.sub_(0.1)
        assert all(parameter.grad is None for parameter in net.b.parameters())  # type: ignore[union-attr]
        second.sum().backward()
    assert_alike(*networks)


@norms
def test_layers_frozen_in_part(norm: Norm) -> None:
    """What comes before the first trainable layer needs no gradient, as in FreezeD."""
    plain, joined = pair(lambda: chain(norm))
    for net in (plain, joined):
        net[0].requires_grad_(False)  # type: ignore[index]
    assert not joined[:2](rows()).requires_grad  # type: ignore[index]
    seen: list[Tensor] = []
    joined[1].register_forward_hook(lambda *args: seen.append(args[-1]))  # type: ignore[index]
    plain[:2](rows())  # type: ignore[index]
    assert_same_steps(plain, joined, loss_of)
    assert not any(t.requires_grad for t in seen)


def test_evaluation_before_training() -> None:
    """A backward pass keeps vectors of its own."""
    networks = pair(lambda: chain(parametrizations.spectral_norm))
    for net in networks:
        torch.manual_seed(1)
        loss = loss_of(net.eval())
        (loss + loss_of(net.train())).backward()
    assert_alike(*networks)


def test_a_checkpoint_after_a_stop() -> None:
    """Vectors of an interrupted call do not replace those that were loaded since."""
    _, joined = pair(lambda: chain(parametrizations.spectral_norm))
    saved = {name: t.clone() for name, t in joined.state_dict().items()}
    with stopped(joined, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        joined(rows())
    joined.load_state_dict(saved)
    joined.eval()(rows())
    torch.testing.assert_close(joined.state_dict(), saved, rtol=0, atol=0)


def test_a_sparse_gradient() -> None:
    networks = pair(
        lambda: nn.Sequential(
            parametrizations.spectral_norm(nn.Embedding(5, 4, sparse=True)), nn.Linear(4, 1)
        )
    )
    for net in networks:
        net(torch.tensor([0, 3, 3])).square().sum().backward()
        grad = net[0].parametrizations.weight.original.grad  # type: ignore[index]
        net[0].parametrizations.weight.original.grad = grad.to_dense()  # type: ignore[index]
    assert_alike(*networks)


@norms
def test_a_copy_of_one_layer(norm: Norm) -> None:
    """It brings nothing of the network with it, and may be joined elsewhere."""
    _, joined = pair(lambda: nn.Sequential(norm(nn.Linear(3, 4)), norm(nn.Linear(4, 1000))))
    memo: dict[int, Any] = {}
    layer = copy.deepcopy(joined[0], memo)  # type: ignore[index]
    assert sum(t.numel() for t in memo.values() if isinstance(t, Tensor)) < 100
    fastgan.join_spectral_norms(nn.Sequential(layer))(rows())


class Tripled(parametrizations._SpectralNorm):
    def forward(self, weight: Tensor) -> Tensor:
        return 3 * super().forward(weight)


def test_subclasses_are_left() -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Linear(3, 3), parametrizations.spectral_norm(nn.Linear(3, 2)))
        parametrize.register_parametrization(net[0], "weight", Tripled(net[0].weight))
        return net

    plain, joined = pair(make)
    assert_same_steps(plain, joined, loss_of)
    fastgan.separate_spectral_norms(joined)
    assert type(joined[0].parametrizations.weight[0]) is Tripled  # type: ignore[index]


@norms
def test_joined_parts(norm: Norm) -> None:
    """A network of joined parts, and a part of a joined network."""
    plain, joined = pair(lambda: nn.Sequential(chain(norm), nn.Tanh(), norm(nn.Linear(2, 1))))
    fastgan.join_spectral_norms(joined[0])  # type: ignore[index]
    assert_same_steps(plain, joined, loss_of)
    fastgan.join_spectral_norms(joined)
    with Calls() as calls:
        joined(rows())
    plain(rows())
    joined.load_state_dict(plain.state_dict())
    assert calls.count["spectral_norm"] == 1
    fastgan.separate_spectral_norms(joined[2])  # type: ignore[index]
    assert_same_steps(plain, joined, loss_of)


def test_layers_that_were_replaced() -> None:
    _, joined = pair(lambda: chain(parametrizations.spectral_norm))
    joined[2] = parametrizations.spectral_norm(nn.Linear(4, 1)).double()  # type: ignore[operator]
    fastgan.join_spectral_norms(joined)
    assert len(joined._forward_pre_hooks) == len(joined._forward_hooks) == 1
    x = rows()
    with Calls() as calls:
        joined(x)
    assert calls.count == Counter(addmm=2, leaky_relu=1, spectral_norm=1, _foreach_copy_=1)


def test_hooks_see_the_new_vectors() -> None:
    """Those of the network, when its call has ended."""
    plain, joined = pair(lambda: chain(parametrizations.spectral_norm))
    fastgan.separate_spectral_norms(joined)
    seen: list[list[Tensor]] = []
    for net in (plain, joined):
        net.register_forward_hook(lambda net, *_: seen.append([t.clone() for t in net.buffers()]))
    fastgan.join_spectral_norms(joined)
    x = rows()
    plain(x)
    joined(x)
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-11, atol=1e-12)


def test_nothing_to_join() -> None:
    with pytest.raises(ValueError, match="Sequential has no layer with a spectral norm"):
        fastgan.join_spectral_norms(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="model must be a module, but is list"):
        fastgan.join_spectral_norms([nn.Linear(2, 2)])  # type: ignore[type-var]
    layer = nn.Linear(2, 2)
    assert fastgan.separate_spectral_norms(layer) is layer
