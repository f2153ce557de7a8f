"""The C++ kernels: the one file that hands a pointer to compiled code.

The extension knows nothing of torch. Outputs are allocated here, and every tensor is checked here
before its address is taken: a plain strided tensor on the device, of the dtype, contiguous.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch  # before _C: the extension then finds torch's OpenMP runtime instead of loading a second one
from torch import Tensor

try:
    from fastgan import _C

    _missing: str | None = None
except ImportError as error:
    _missing = (
        f"the C++ extension is not built ({error}); install a C++17 compiler (Debian: apt install g++) "
        "and run `pip install --force-reinstall --no-deps fastgan`"
    )

_DTYPES = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3}  # csrc/cpu/types.h
_PLAIN = (Tensor, torch.nn.Parameter)


def why_not(device_type: str) -> str | None:
    if device_type != "cpu":
        return f"there are no kernels for {device_type} tensors in this version"
    return _missing


def instruction_set() -> str:
    """The instruction set that serves CPU tensors: "baseline", "avx2" or "avx512"."""
    return _C.instruction_set()


def _address(tensor: Tensor, dtype: torch.dtype) -> int:
    if (
        type(tensor) not in _PLAIN
        or not tensor.is_cpu
        or tensor.dtype is not dtype
        or not tensor.is_contiguous()
        or tensor.is_neg()
    ):
        raise TypeError(
            f"a kernel takes plain contiguous {dtype} CPU tensors, not {type(tensor).__name__} of {tensor.dtype} "
            f"on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def _same_size(tensor: Tensor, like: Tensor, what: str) -> Tensor:
    if tensor.numel() != like.numel():
        raise ValueError(f"{what} has {tensor.numel()} elements where {like.numel()} belong")
    return tensor


def loss_forward(
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
    loss_dtype: torch.dtype,
    with_stats: bool,
) -> tuple[list[Tensor], Tensor | None]:
    logits = [t.contiguous() for t in logits]
    stats = torch.empty(len(logits) + 1, dtype=torch.float32, device="cpu") if with_stats else None
    if reduction == "none":
        if stats is not None:
            _reduced_loss(logits, labels, sign, "mean", loss_dtype, stats)
        return [_terms(t, label, sign) for t, label in zip(logits, labels, strict=True)], stats
    return [_reduced_loss(logits, labels, sign, reduction, loss_dtype, stats)], stats


def _reduced_loss(
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
    loss_dtype: torch.dtype,
    stats: Tensor | None,
) -> Tensor:
    dtype = logits[0].dtype
    first, second = logits[0], logits[-1]
    two = len(logits) == 2
    loss = torch.empty((), dtype=loss_dtype, device="cpu")
    _C.loss_forward(
        _DTYPES[dtype],
        _address(first, dtype),
        first.numel(),
        labels[0],
        _address(second, dtype) if two else 0,
        second.numel() if two else 0,
        labels[-1],
        len(logits),
        sign,
        reduction == "mean",
        loss.data_ptr(),
        _DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        torch.get_num_threads(),
    )
    return loss


def _terms(logits: Tensor, label: float, sign: float) -> Tensor:
    terms = torch.empty_like(logits)
    dtype = logits.dtype
    _C.loss_terms(
        _DTYPES[dtype],
        _address(logits, dtype),
        logits.numel(),
        label,
        sign,
        _address(terms, dtype),
        torch.get_num_threads(),
    )
    return terms


def loss_backward(
    grads: Sequence[Tensor],
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
) -> list[Tensor]:
    # Contiguous copies stay referenced until the kernel has read them.
    logits = [t.contiguous() for t in logits]
    grads = [g.contiguous() for g in grads]
    results = [torch.empty_like(t) for t in logits]
    dtype = logits[0].dtype
    each = bool(grads) and len(grads) == len(logits) and grads[0].shape == logits[0].shape and reduction == "none"
    scalar = grads[0] if grads and not each else None
    parts: list[float] = []
    for i, (t, result) in enumerate(zip(logits, results, strict=True)):
        incoming = _address(_same_size(grads[i], t, "a gradient"), dtype) if each else 0
        parts += (_address(t, dtype), t.numel(), labels[i], incoming, result.data_ptr())
    _C.loss_backward(
        _DTYPES[dtype],
        *parts,
        *(() if len(logits) == 2 else _NO_TENSOR_BACKWARD),
        sign,
        reduction == "mean",
        *_scalar(scalar),
        torch.get_num_threads(),
    )
    return results


_NO_TENSOR_BACKWARD = (0, 0, 0.0, 0, 0)


def _scalar(scalar: Tensor | None) -> tuple[int, int]:
    """Address and dtype code of one element; a null address means 1."""
    if scalar is None:
        return 0, 1
    if scalar.numel() != 1:
        raise ValueError(f"the gradient's scale must be a scalar tensor, not one of shape {tuple(scalar.shape)}")
    return _address(scalar, scalar.dtype), _DTYPES[scalar.dtype]


def loss_forward_backward(
    logits: Sequence[Tensor],
    labels: Sequence[float],
    sign: float,
    reduction: str,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
) -> tuple[Tensor, list[Tensor], Tensor]:
    logits = [t.contiguous() for t in logits]
    results = [torch.empty_like(t) for t in logits]
    dtype = logits[0].dtype
    loss = torch.empty((), dtype=loss_dtype, device="cpu")
    stats = torch.empty(len(logits) + 1, dtype=torch.float32, device="cpu")
    parts: list[float] = []
    for t, label, result in zip(logits, labels, results, strict=True):
        parts += (_address(t, dtype), t.numel(), label, result.data_ptr())
    _C.loss_forward_backward(
        _DTYPES[dtype],
        *parts,
        *(() if len(logits) == 2 else (0, 0, 0.0, 0)),
        len(logits),
        sign,
        reduction == "mean",
        *_scalar(scale),
        loss.data_ptr(),
        _DTYPES[loss_dtype],
        stats.data_ptr(),
        torch.get_num_threads(),
    )
    return loss, results, stats


def _dense(tensor: Tensor, dim: int) -> tuple[Tensor, tuple[int, int, int], bool]:
    """The tensor in an order the kernel knows, its [outer, channels, inner], and whether channels moved last.

    Channels innermost in memory (channels_last after a convolution) is kept, as [rows, channels, 1].
    """
    shape = tensor.shape
    channels = shape[dim]
    if not tensor.is_contiguous():
        rows = tensor.movedim(dim, -1)
        if rows.is_contiguous():
            return rows, (rows.shape[:-1].numel(), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, (shape[:dim].numel(), channels, shape[dim + 1 :].numel()), False


def bias_leaky_relu(
    input: Tensor, bias: Tensor | None, negative_slope: float, dim: int
) -> Tensor:
    dense, layout, moved = _dense(input, dim)
    output = torch.empty_like(dense)
    _bias_leaky_relu_into(output, dense, layout, bias, negative_slope)
    return output.movedim(-1, dim) if moved else output


def _bias_leaky_relu_into(
    output: Tensor,
    input: Tensor,
    layout: tuple[int, int, int],
    bias: Tensor | None,
    negative_slope: float,
) -> None:
    dtype = input.dtype
    if bias is not None:
        bias = bias.contiguous()
        if bias.numel() != layout[1]:
            raise ValueError(f"bias has {bias.numel()} elements, but the input has {layout[1]} channels")
    _C.bias_leaky_relu_forward(
        _DTYPES[dtype],
        *layout,
        negative_slope,
        _address(input, dtype),
        0 if bias is None else _address(bias, dtype),
        _address(output, dtype),
        torch.get_num_threads(),
    )


def bias_leaky_relu_backward(
    grad: Tensor, output: Tensor, negative_slope: float, dim: int, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    dense, layout, moved = _dense(output, dim)
    grad = (grad.movedim(dim, -1) if moved else grad).contiguous()
    masked = torch.empty_like(dense)
    summed = _mask_into(masked, grad, dense, layout, negative_slope, with_bias)
    return masked.movedim(-1, dim) if moved else masked, summed


def _mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: tuple[int, int, int],
    negative_slope: float,
    with_bias: bool,
) -> Tensor | None:
    dtype = output.dtype
    summed = torch.empty(layout[1], dtype=dtype, device="cpu") if with_bias else None
    _C.bias_leaky_relu_backward(
        _DTYPES[dtype],
        *layout,
        negative_slope,
        _address(_same_size(grad, output, "a gradient"), dtype),
        _address(output, dtype),
        _address(masked, dtype),
        0 if summed is None else summed.data_ptr(),
        torch.get_num_threads(),
    )
    return summed


# Products. MKL, behind torch.mm, keeps to AVX2 on AMD machines; oneDNN does not, takes transposed views
# without a copy, and applies bias and leaky ReLU on the way out, but costs 12 us a call. From how many
# multiply-adds (N * K * M) it wins, measured on two Zen 5 cores with benchmarks/bench_layers.py; wgrad,
# whose operands are both transposed, gains least. bf16 products are oneDNN's either way: there only the
# fused epilogue is worth a choice.
_NEVER = 1 << 62
_ONEDNN_FROM = {
    "forward": {torch.float32: 1 << 21, torch.bfloat16: 1},
    "dgrad": {torch.float32: 1 << 21, torch.bfloat16: _NEVER},
    "wgrad": {torch.float32: 1 << 23, torch.bfloat16: _NEVER},
}
_HAS_ONEDNN = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
_NARROW = 16  # a product with so few columns is a matrix-vector product, and torch.mm's


def _onednn_wins(product: str, dtype: torch.dtype, n: int, k: int, m: int) -> bool:
    return (
        _HAS_ONEDNN
        and m >= _NARROW
        and n * k * m >= _ONEDNN_FROM[product].get(dtype, _NEVER)
        and torch.backends.mkldnn.enabled
    )


def _onednn_product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a @ b.T + bias``; views are taken as they are."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return result


def linear_leaky_relu(
    input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float
) -> Tensor:
    (n, k), m = input.shape, weight.shape[0]
    if _onednn_wins("forward", input.dtype, n, k, m):
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            input, weight, bias, "leaky_relu", [negative_slope], ""
        )
        return fused
    output = torch.mm(input, weight.t())
    _bias_leaky_relu_into(output, output, (n, m, 1), bias, negative_slope)
    return output


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if _onednn_wins("forward", input.dtype, *input.shape, weight.shape[0]):
        return _onednn_product(input, weight, bias)
    return torch.mm(input, weight.t()) if bias is None else torch.addmm(bias, input, weight.t())


def dgrad(grad: Tensor, weight: Tensor) -> Tensor:
    if _onednn_wins("dgrad", grad.dtype, *grad.shape, weight.shape[1]):
        return _onednn_product(grad, weight.t())
    return torch.mm(grad, weight)


def dgrad_leaky_relu(
    grad: Tensor, weight: Tensor, output: Tensor, negative_slope: float, with_bias: bool
) -> tuple[Tensor, Tensor | None]:
    masked = dgrad(grad, weight)
    output = output.contiguous()
    summed = _mask_into(masked, masked, output, (*output.shape, 1), negative_slope, with_bias)
    return masked, summed


def wgrad(grad: Tensor, input: Tensor) -> Tensor:
    (n, m), k = grad.shape, input.shape[1]
    if _onednn_wins("wgrad", grad.dtype, m, n, k) and m >= _NARROW:
        return _onednn_product(grad.t(), input.t())
    return torch.mm(grad.t(), input)
