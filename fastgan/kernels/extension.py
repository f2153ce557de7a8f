"""The C++ kernels: the one file that hands a pointer to compiled code.

The extension knows nothing of torch. Outputs are allocated here, and every tensor is checked here
before its address is taken: a plain strided tensor on the device, of the dtype, contiguous. (Lazy
negation, zero tensors and the like never come here: fastgan/ops/routing.py.) An address keeps nothing
alive, so a contiguous copy is held in a variable until the kernel has run.
"""

from __future__ import annotations

import torch  # before _C: the extension then finds torch's OpenMP runtime instead of loading a second one
from torch import Tensor

from fastgan.kernels import products
from fastgan.kernels.products import Product

try:
    import fastgan._C as _C

    _missing: str | None = None
except ImportError as error:
    _missing = (
        f"the C++ extension is not built ({error}); install a C++17 compiler (Debian: apt install g++) "
        "and run `pip install --force-reinstall --no-deps fastgan`"
    )

_DTYPES = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3}  # csrc/cpu/types.h
_PLAIN = (Tensor, torch.nn.Parameter)
_CPU = torch.device("cpu")


def why_not(device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"there are no C++ kernels for {device.type} tensors in this version"
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
    ):
        raise TypeError(
            f"a kernel takes plain contiguous {dtype} CPU tensors, not {type(tensor).__name__} of "
            f"{tensor.dtype} on {tensor.device} with strides {tuple(tensor.stride())}"
        )
    return tensor.data_ptr()


def _same_size(tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.numel() != like.numel():
        raise ValueError(f"a gradient has {tensor.numel()} elements where {like.numel()} belong")
    return tensor


def _scalar(scalar: Tensor) -> tuple[int, int]:
    """Address and dtype code of one element."""
    if scalar.numel() != 1:
        raise ValueError(f"a gradient's scale must be a scalar tensor, but has shape {tuple(scalar.shape)}")
    return _address(scalar, scalar.dtype), _DTYPES[scalar.dtype]


_NO_TENSOR = (0, 0, 0.0)  # address, size, label of an absent second tensor; then its gradient
_NO_TENSOR_GRAD = (0, 0, 0.0, 0)
_SCALE_ONE = (0, 1)


def loss(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    loss_dtype: torch.dtype,
    with_stats: bool,
) -> tuple[Tensor, Tensor | None]:
    count = len(logits)
    first = logits[0].contiguous()
    second = logits[1].contiguous() if count == 2 else None
    dtype = first.dtype
    value = first.new_empty(()) if dtype is loss_dtype else first.new_empty((), dtype=loss_dtype)
    stats = torch.empty(count + 1, dtype=torch.float32, device=_CPU) if with_stats else None
    _C.loss(
        _DTYPES[dtype],
        _address(first, dtype),
        first.numel(),
        labels[0],
        *(_NO_TENSOR if second is None else (_address(second, dtype), second.numel(), labels[1])),
        count,
        sign,
        mean,
        value.data_ptr(),
        _DTYPES[loss_dtype],
        0 if stats is None else stats.data_ptr(),
        torch.get_num_threads(),
    )
    return value, stats


def loss_backward(
    grad: Tensor, logits: tuple[Tensor, ...], labels: tuple[float, ...], sign: float, mean: bool
) -> tuple[Tensor, ...]:
    grad, first = grad.contiguous(), logits[0].contiguous()
    dtype = first.dtype
    grads: tuple[Tensor, ...] = (torch.empty_like(first),)
    other: tuple[float, ...] = _NO_TENSOR_GRAD
    if len(logits) == 2:
        second = logits[1].contiguous()
        grads = (grads[0], torch.empty_like(second))
        other = (_address(second, dtype), second.numel(), labels[1], grads[1].data_ptr())
    _C.loss_backward(
        _DTYPES[dtype],
        _address(first, dtype),
        first.numel(),
        labels[0],
        grads[0].data_ptr(),
        *other,
        sign,
        mean,
        *_scalar(grad),
        torch.get_num_threads(),
    )
    return grads


def loss_and_grad(
    logits: tuple[Tensor, ...],
    labels: tuple[float, ...],
    sign: float,
    mean: bool,
    scale: Tensor | None,
    loss_dtype: torch.dtype,
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    count = len(logits)
    dense = [t.contiguous() for t in logits]
    grads = tuple(map(torch.empty_like, dense))
    dtype = dense[0].dtype
    value = torch.empty((), dtype=loss_dtype, device=_CPU)
    stats = torch.empty(count + 1, dtype=torch.float32, device=_CPU)
    scale = None if scale is None else scale.contiguous()

    def part(i: int) -> tuple[float, ...]:
        return _address(dense[i], dtype), dense[i].numel(), labels[i], grads[i].data_ptr()

    _C.loss_and_grad(
        _DTYPES[dtype],
        *part(0),
        *(part(1) if count == 2 else _NO_TENSOR_GRAD),
        count,
        sign,
        mean,
        *(_SCALE_ONE if scale is None else _scalar(scale)),
        value.data_ptr(),
        _DTYPES[loss_dtype],
        stats.data_ptr(),
        torch.get_num_threads(),
    )
    return value, grads, stats


def loss_terms(logits: Tensor, label: float, sign: float) -> Tensor:
    dense = logits.contiguous()
    terms = torch.empty_like(dense)
    dtype = dense.dtype
    _C.loss_terms(
        _DTYPES[dtype],
        _address(dense, dtype),
        dense.numel(),
        label,
        sign,
        terms.data_ptr(),
        torch.get_num_threads(),
    )
    return terms


def loss_terms_backward(grad: Tensor, logits: Tensor, label: float, sign: float) -> Tensor:
    dense, grad = logits.contiguous(), grad.contiguous()
    result = torch.empty_like(dense)
    dtype = dense.dtype
    _C.loss_terms_backward(
        _DTYPES[dtype],
        _address(dense, dtype),
        dense.numel(),
        label,
        sign,
        _address(_same_size(grad, dense), dtype),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result


def _dense(tensor: Tensor, dim: int) -> tuple[Tensor, tuple[int, int, int], bool]:
    """The tensor in an order the kernel knows, its [outer, channels, inner], and whether channels are last.

    Channels innermost in memory (channels_last after a convolution) is kept, as [rows, channels, 1].
    """
    shape = tensor.shape
    channels = shape[dim]
    if not tensor.is_contiguous():
        if tensor.movedim(dim, -1).is_contiguous():
            return tensor, (tensor.numel() // max(channels, 1), channels, 1), True
        tensor = tensor.contiguous()
    return tensor, (shape[:dim].numel(), channels, shape[dim + 1 :].numel()), False


def bias_leaky_relu(input: Tensor, bias: Tensor | None, negative_slope: float, dim: int) -> Tensor:
    dense, layout, channels_last = _dense(input, dim)
    output = torch.empty_like(dense)  # in the same order, and no view: users may change it in place
    if channels_last:
        _bias_leaky_relu_into(output.movedim(dim, -1), dense.movedim(dim, -1), layout, bias, negative_slope)
    else:
        _bias_leaky_relu_into(output, dense, layout, bias, negative_slope)
    return output


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
    dense, layout, channels_last = _dense(output, dim)
    masked = torch.empty_like(dense)
    if channels_last:
        rows = (masked.movedim(dim, -1), grad.movedim(dim, -1).contiguous(), dense.movedim(dim, -1))
    else:
        rows = (masked, grad.contiguous(), dense)
    return masked, _mask_into(*rows, layout, negative_slope, with_bias)


def _mask_into(
    masked: Tensor,
    grad: Tensor,
    output: Tensor,
    layout: tuple[int, int, int],
    negative_slope: float,
    with_bias: bool,
) -> Tensor | None:
    dtype = output.dtype
    summed = torch.empty(layout[1], dtype=dtype, device=_CPU) if with_bias else None
    _C.bias_leaky_relu_backward(
        _DTYPES[dtype],
        *layout,
        negative_slope,
        _address(_same_size(grad, output), dtype),
        _address(output, dtype),
        _address(masked, dtype),
        0 if summed is None else summed.data_ptr(),
        torch.get_num_threads(),
    )
    return summed


def linear_leaky_relu(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    (n, k), m = input.shape, weight.shape[0]
    product = products.choose("forward", input.dtype, n, k, m)
    if product is Product.OWN:
        return _small_forward(input, weight, bias, negative_slope)
    if product is Product.ONEDNN:
        return products.onednn(input, weight, bias, negative_slope)
    output = torch.mm(input, weight.t())
    _bias_leaky_relu_into(output, output, (n, m, 1), bias, negative_slope)
    return output


def linear_leaky_relu_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    (n, k), m = input.shape, weight.shape[0]
    if products.choose("forward", input.dtype, n, k, m) is Product.OWN:
        return _small_backward(grad, input, weight, output, negative_slope, needs)
    dz, db = bias_leaky_relu_backward(grad, output, negative_slope, 1, needs[2])
    return dgrad(dz, weight) if needs[0] else None, wgrad(dz, input) if needs[1] else None, db


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    (n, k), m = input.shape, weight.shape[0]
    product = products.choose("forward", input.dtype, n, k, m)
    if product is Product.OWN:
        return _small_forward(input, weight, bias, 1.0)
    if product is Product.ONEDNN:
        return products.onednn(input, weight, bias)
    return torch.mm(input, weight.t()) if bias is None else torch.addmm(bias, input, weight.t())


def dgrad(grad: Tensor, weight: Tensor) -> Tensor:
    (n, m), k = grad.shape, weight.shape[1]
    product = products.choose("dgrad", grad.dtype, n, k, m)
    if product is Product.OWN:
        return _small_product(n, k, m, grad.contiguous(), (m, 1), weight.contiguous())
    if product is Product.ONEDNN:
        return products.onednn(grad, weight.t())
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
    product = products.choose("wgrad", grad.dtype, n, k, m)
    if product is Product.OWN:
        return _small_product(m, k, n, grad.contiguous(), (1, m), input.contiguous())
    if product is Product.ONEDNN:
        return products.onednn(grad.t(), input.t())
    return torch.mm(grad.t(), input)


def _small_forward(input: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float) -> Tensor:
    x, w = input.contiguous(), weight.contiguous()
    b = None if bias is None else bias.contiguous()
    (n, k), m = x.shape, w.shape[0]
    y = torch.empty(n, m, dtype=torch.float32, device=_CPU)
    _C.small_linear_forward(
        n,
        k,
        m,
        negative_slope,
        _address(x, torch.float32),
        _address(w, torch.float32),
        0 if b is None else _address(b, torch.float32),
        y.data_ptr(),
        torch.get_num_threads(),
    )
    return y


def _small_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    output: Tensor,
    negative_slope: float,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dy, x, w, y = grad.contiguous(), input.contiguous(), weight.contiguous(), output.contiguous()
    dx = torch.empty_like(x) if needs[0] else None
    dw = torch.empty_like(w) if needs[1] else None
    db = torch.empty(w.shape[0], dtype=torch.float32, device=_CPU) if needs[2] else None
    _C.small_linear_backward(
        x.shape[0],
        x.shape[1],
        w.shape[0],
        negative_slope,
        _address(x, torch.float32),
        _address(w, torch.float32),
        _address(_same_size(dy, y), torch.float32),
        _address(y, torch.float32),
        0 if dx is None else dx.data_ptr(),
        0 if dw is None else dw.data_ptr(),
        0 if db is None else db.data_ptr(),
        torch.get_num_threads(),
    )
    return dx, dw, db


def _small_product(
    rows: int, columns: int, depth: int, a: Tensor, a_strides: tuple[int, int], b: Tensor
) -> Tensor:
    """``a @ b``, a seen through the strides given, b [depth, columns] contiguous."""
    result = torch.empty(rows, columns, dtype=torch.float32, device=_CPU)
    _C.small_product(
        rows,
        columns,
        depth,
        _address(a, torch.float32),
        *a_strides,
        _address(b, torch.float32),
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result
