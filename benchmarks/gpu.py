"""``python -m benchmarks.gpu OUT``: losses, head and layers on a GPU, each backend against PyTorch.

Forward + backward, and where memory is the limit the share of the measured copy bandwidth over the bytes
that must move. Writes gpu.json, gpu.md and gpu.png into OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from benchmarks.contest import Run, check_agreement, contest
from benchmarks.machine import about, copy_bandwidth, finish_of

Forward = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    name: str
    eager: Forward
    ours: Forward
    shapes: list[tuple[int, ...]]
    dtype: torch.dtype
    passes: int = 0  # over the first two inputs, that must be made; 0 where products are the limit

    def inputs(self, device: str) -> list[Tensor]:
        return [
            torch.randn(shape, device=device).div_(shape[-1] ** 0.5 if len(shape) > 1 else 1).to(self.dtype)
            for shape in self.shapes
        ]


def discriminator_bce(real: Tensor, fake: Tensor) -> Tensor:
    on_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return on_real + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def discriminator_head_bce(real: Tensor, fake: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return discriminator_bce(F.linear(real, weight, bias), F.linear(fake, weight, bias))


def eager_layer(input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(F.linear(input, weight, bias), 0.2)


def eager_bias(input: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(input + bias.view(-1, *[1] * (input.dim() - 2)), 0.2)


def cases(quick: bool) -> Iterator[Case]:
    for dtype in (torch.bfloat16, torch.float32):
        for power in (7, 12) if quick else (7, 12, 20, 26):
            size = 2**power
            yield Case(
                f"discriminator loss, 2 x 2^{power}",
                discriminator_bce,
                fastgan.discriminator_loss,
                [(size,), (size,)],
                dtype,
                3,  # logits twice, gradients once
            )
            yield Case(
                f"reconstruction loss, 2 x 2^{power}",
                F.l1_loss,
                fastgan.reconstruction_loss,
                [(size,), (size,)],
                dtype,
                3,  # inputs twice, gradients once
            )
        for rows, width in [(128, 256)] if quick else [(4096, 1024), (65536, 1024)]:
            shapes = [(rows, width), (rows, width), (1, width), (1,)]
            yield Case(
                f"discriminator head, 2 x {rows} x {width}",
                discriminator_head_bce,
                fastgan.discriminator_head_loss,
                shapes,
                dtype,
                2,  # features once, their gradients once
            )
        for shape in [(64, 32)] if quick else [(65536, 1024), (256, 256, 64, 64)]:
            yield Case(
                f"bias + leaky ReLU, {' x '.join(map(str, shape))}",
                eager_bias,
                fastgan.bias_leaky_relu,
                [shape, (shape[1],)],
                dtype,
                5,  # input, output; gradient, output, masked gradient
            )
    for n, k, m in [(64, 64, 64)] if quick else [(128, 256, 256), (512, 512, 512), (8192, 4096, 4096)]:
        yield Case(
            f"linear + leaky ReLU, {n} x {k} -> {m}",
            eager_layer,
            fastgan.linear_leaky_relu,
            [(n, k), (m, k), (m,)],
            torch.bfloat16,
        )


def forward_backward(forward: Forward, inputs: list[Tensor], grad: Tensor) -> Run:
    def run() -> None:
        torch.autograd.grad(forward(*inputs), inputs, grad)

    return run


def on(backend: str, forward: Forward) -> Forward:
    def served(*inputs: Tensor) -> Tensor:
        with fastgan.use_backend(backend):
            return forward(*inputs)

    return served


def measure(case: Case, device: str, rounds: int, bandwidth: float) -> dict[str, object]:
    inputs = [t.requires_grad_() for t in case.inputs(device)]
    forwards = {"eager": case.eager, "torch.compile": torch.compile(case.eager, dynamic=False)}
    backends = [name for name in fastgan.available_backends(device) if name != "reference"]
    forwards |= {name: on(name, case.ours) for name in backends}
    grad = torch.ones_like(case.eager(*inputs))
    results = {
        name: [t.float() for t in torch.autograd.grad(f(*inputs), inputs, grad)]
        for name, f in forwards.items()
    }
    double = [t.detach().double().requires_grad_() for t in inputs]
    exact = torch.autograd.grad(case.eager(*double), double, grad.double())
    check_agreement({"reference": [t.float() for t in exact], **results}, 0.03)
    del results, exact, double
    runs = {name: forward_backward(f, inputs, grad) for name, f in forwards.items()}
    result = contest(runs, rounds, finish_of(device))
    row: dict[str, object] = {"case": case.name, "dtype": str(case.dtype).removeprefix("torch.")}
    moved = case.passes * sum(t.numel() for t in inputs[:2]) * case.dtype.itemsize
    for name in runs:
        row[name] = {"seconds": result.median(name), "share": moved / result.median(name) / bandwidth}
        row[f"{name} rounds"] = result.seconds[name]
    return row


def write(out: Path, rows: list[dict[str, object]], about: dict[str, object]) -> str:
    (out / "gpu.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    names = [n for n in ("eager", "torch.compile", "cpp", "cuda", "triton") if any(n in row for row in rows)]
    lines = ["| forward + backward | dtype | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for row in rows:
        cells = []
        for name in names:
            found = row.get(name)
            assert isinstance(found, dict)
            share = f" ({found['share']:.0%})" if found["share"] else ""
            cells.append(f"{found['seconds'] * 1e6:.1f} us{share}")
        lines.append(f"| {row['case']} | {row['dtype']} | " + " | ".join(cells) + " |")
    told = "\n".join(f"- {key}: {value}" for key, value in about.items())
    (out / "gpu.md").write_text(
        f"{told}\n\nIn brackets: share of the copy bandwidth.\n\n" + "\n".join(lines) + "\n"
    )
    _plot(out / "gpu.png", rows, names)
    return "\n".join(lines)


def _plot(path: Path, rows: list[dict[str, object]], names: list[str]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(9, 0.4 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names[1:]):
        ratios = [row["eager"]["seconds"] / row[name]["seconds"] for row in rows]  # type: ignore[index]
        axes.barh([y + 0.25 * i for y in range(len(rows))], ratios, 0.25, label=name)
    axes.set_yticks(range(len(rows)), [f"{row['case']}, {row['dtype']}" for row in rows])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as fast as eager PyTorch, forward + backward")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="small sizes, on the CPU where there is no GPU")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick tries the benchmark itself on the CPU")
    bandwidth = copy_bandwidth(device)
    told = about(device) | {"copy bandwidth": f"{bandwidth / 1e9:.0f} GB/s"}
    rows = []
    for case in cases(options.quick):
        torch.compiler.reset()
        rows.append(measure(case, device, options.rounds, bandwidth))
    print(write(options.out, rows, told))


if __name__ == "__main__":
    main()
