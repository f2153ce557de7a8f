"""On a GPU: every operation in a CUDA graph, PyTorch's own graphs included, and none that waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan import kernels
from fastgan.kernels import counters

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
Operation = Callable[..., Tensor]

OPERATIONS: dict[str, tuple[Operation, list[tuple[int, ...]]]] = {
    "discriminator_loss, one block": (fastgan.discriminator_loss, [(100,), (70,)]),
    "discriminator_loss": (fastgan.discriminator_loss, [(300_000,), (200_001,)]),
    "generator_loss": (fastgan.generator_loss, [(300_000,)]),
    "reconstruction_loss, one block": (fastgan.reconstruction_loss, [(100,), (100,)]),
    "reconstruction_loss": (fastgan.reconstruction_loss, [(300_001,), (300_001,)]),
    "discriminator_head_loss": (fastgan.discriminator_head_loss, [(3000, 96), (2000, 96), (1, 96), (1,)]),
    "bias_leaky_relu, rows": (fastgan.bias_leaky_relu, [(3000, 96), (96,)]),
    "bias_leaky_relu, planes": (fastgan.bias_leaky_relu, [(30, 24, 16, 16), (24,)]),
    "linear_leaky_relu": (fastgan.linear_leaky_relu, [(3000, 96), (64, 96), (64,)]),
}
operations = pytest.mark.parametrize(("operation", "shapes"), OPERATIONS.values(), ids=OPERATIONS)


@pytest.fixture(params=["cuda", "triton"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    why_not = kernels.why_not(request.param, torch.device("cuda"))
    if why_not is not None:
        pytest.skip(why_not)
    with fastgan.use_backend(request.param):
        yield request.param


def forward_backward(operation: Operation, inputs: list[Tensor]) -> list[Tensor]:
    output = operation(*inputs)
    return [output, *torch.autograd.grad(output.sum(), inputs)]


def random(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    return [torch.randn(shape, device="cuda") for shape in shapes]


@operations
def test_capture_and_replay(backend: str, operation: Operation, shapes: list[tuple[int, ...]]) -> None:
    inputs = [t.requires_grad_() for t in random(shapes)]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            forward_backward(operation, inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = forward_backward(operation, inputs)
    for _ in range(3):  # counters of blocks must be zero again each time
        with torch.no_grad():
            for t, new in zip(inputs, random(shapes), strict=True):
                t.copy_(new)
        graph.replay()
        for ours, expected in zip(captured, forward_backward(operation, inputs), strict=True):
            assert torch.equal(ours, expected)


@operations
def test_two_graphs_at_once(backend: str, operation: Operation, shapes: list[tuple[int, ...]]) -> None:
    """Replayed on two streams: their counters must not mix."""
    inputs = [t.requires_grad_() for t in random(shapes)]
    expected = forward_backward(operation, inputs)
    graphs = [torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()]
    found = []
    for graph in graphs:
        with torch.cuda.graph(graph):
            found.append([forward_backward(operation, inputs) for _ in range(10)])
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    torch.cuda.synchronize()
    for _ in range(20):
        for graph, stream in zip(graphs, streams, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
    torch.cuda.synchronize()
    for results in [each for of_graph in found for each in of_graph]:
        for ours, exact in zip(results, expected, strict=True):
            assert torch.equal(ours, exact)


@operations
def test_nothing_waits_for_the_device(
    backend: str, operation: Operation, shapes: list[tuple[int, ...]]
) -> None:
    inputs = [t.requires_grad_() for t in random(shapes)]
    forward_backward(operation, inputs)  # compiles and tunes, which may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        forward_backward(operation, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@operations
def test_on_another_stream(backend: str, operation: Operation, shapes: list[tuple[int, ...]]) -> None:
    """Many launches on two streams at once: their counters must not mix."""
    inputs = [t.requires_grad_() for t in random(shapes)]
    expected = forward_backward(operation, inputs)
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    torch.cuda.synchronize()
    found = []
    for _ in range(20):
        for stream in streams:
            with torch.cuda.stream(stream):
                found.append(forward_backward(operation, inputs))
    torch.cuda.synchronize()
    for results in found:
        for ours, exact in zip(results, expected, strict=True):
            assert torch.equal(ours, exact)


@operations
def test_compiled_for_graphs(backend: str, operation: Operation, shapes: list[tuple[int, ...]]) -> None:
    """Inductor warms up, captures and replays in memory where it accepts no tensor that we keep."""
    torch._dynamo.reset()
    inputs = [t.requires_grad_() for t in random(shapes)]
    compiled = torch.compile(operation, mode="reduce-overhead")
    for _ in range(5):
        with torch.no_grad():
            for t, new in zip(inputs, random(shapes), strict=True):
                t.copy_(new)
        torch.compiler.cudagraph_mark_step_begin()
        found = [each.clone() for each in forward_backward(compiled, inputs)]
        for ours, expected in zip(found, forward_backward(operation, inputs), strict=True):
            torch.testing.assert_close(ours, expected)


def layers_and_loss(x: Tensor, real: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    hidden = fastgan.linear_leaky_relu(x, weight, bias)
    hidden = fastgan.bias_leaky_relu(hidden, bias)
    loss = fastgan.discriminator_head_loss(hidden, hidden * 2, weight[:1, : hidden.shape[1]], bias[:1])
    return loss + fastgan.discriminator_loss(real, hidden) + fastgan.generator_loss(hidden)


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_several_operations_compiled_for_graphs(backend: str, mode: str) -> None:
    """Losses, layers and head in one graph and its backward."""
    torch._dynamo.reset()
    compiled = torch.compile(layers_and_loss, mode=mode)
    for _ in range(5):
        inputs = [t.requires_grad_() for t in random([(3000, 96), (120_000,), (64, 96), (64,)])]
        torch.compiler.cudagraph_mark_step_begin()
        found = [each.clone() for each in forward_backward(compiled, inputs)]
        for ours, expected in zip(found, forward_backward(layers_and_loss, inputs), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_counters_of_graphs_come_back(backend: str) -> None:
    """Graphs that come and go use no more slots than live at once."""
    module = pytest.importorskip("fastgan._cuda", reason="the CUDA kernels are not built")
    if kernels.why_not("cuda", torch.device("cuda")) is not None:
        pytest.skip("the CUDA kernels cannot run, so graphs have no slots")
    inputs = [t.requires_grad_() for t in random([(300_000,)])]
    forward_backward(fastgan.generator_loss, inputs)
    seen = set()
    for _ in range(2 * module.COUNTER_SLOTS):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = forward_backward(fastgan.generator_loss, inputs)
        graph.replay()
        torch.cuda.synchronize()
        seen.add(counters.arrivals(inputs[0]).data_ptr())
        del graph, captured
    assert len(seen) == 1
    assert len([owner for owner in counters._slots if owner[2] != 0]) < module.COUNTER_SLOTS / 2


def test_the_backward_pass_captured_alone(backend: str) -> None:
    """Replayed twice after one forward pass, with different incoming gradients."""
    logits = torch.randn(300_000, device="cuda", requires_grad=True)
    graphed = torch.cuda.make_graphed_callables(fastgan.generator_loss, (logits,))
    loss = graphed(logits)
    (exact,) = torch.autograd.grad(fastgan.generator_loss(logits), logits)
    for factor in (3.0, 1.0):
        (ours,) = torch.autograd.grad(factor * loss, logits, retain_graph=True)
        torch.testing.assert_close(ours, factor * exact)
