"""The C++ kernels (csrc/cpu/bindings.cpp). Nothing is checked: fastgan/kernels/cpu/ alone calls these.

Tensors are addresses, 0 where one may be left out; a dtype and a loss are numbers.
"""

from collections.abc import Sequence

SATURATED_LOGIT: float

def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> bool: ...
def instruction_set() -> str: ...
def loss(
    loss: int,
    dtype: int,
    logits: Sequence[int],
    sizes: Sequence[int],
    labels: Sequence[float],
    weights: Sequence[float],
    grads: Sequence[int],
    scale: int,
    scale_dtype: int,
    total: int,
    total_dtype: int,
    details: int,
    threads: int,
) -> None: ...
def loss_backward(
    loss: int,
    dtype: int,
    logits: Sequence[int],
    sizes: Sequence[int],
    labels: Sequence[float],
    weights: Sequence[float],
    grads: Sequence[int],
    scale: int,
    scale_dtype: int,
    threads: int,
) -> None: ...
def loss_terms(
    loss: int,
    dtype: int,
    logits: int,
    size: int,
    label: float,
    weight: float,
    incoming: int,
    result: int,
    threads: int,
) -> None: ...
def l1_loss(
    dtype: int,
    x: Sequence[int],
    y: Sequence[int],
    sizes: Sequence[int],
    weights: Sequence[float],
    dx: Sequence[int],
    dy: Sequence[int],
    scale: int,
    scale_dtype: int,
    loss: int,
    loss_dtype: int,
    threads: int,
) -> None: ...
def l1_backward(
    dtype: int,
    x: Sequence[int],
    y: Sequence[int],
    sizes: Sequence[int],
    weights: Sequence[float],
    dx: Sequence[int],
    dy: Sequence[int],
    scale: int,
    scale_dtype: int,
    threads: int,
) -> None: ...
def l1_terms(dtype: int, x: int, y: int, size: int, terms: int, threads: int) -> None: ...
def l1_terms_backward(
    dtype: int, x: int, y: int, size: int, incoming: int, dx: int, dy: int, threads: int
) -> None: ...
def head_loss(
    loss: int,
    dtype: int,
    features: Sequence[int],
    rows: Sequence[int],
    labels: Sequence[float],
    weights: Sequence[float],
    slopes: Sequence[int],
    grads: Sequence[int],
    width: int,
    weight: int,
    bias: int,
    scale: int,
    scale_dtype: int,
    total: int,
    total_dtype: int,
    details: int,
    sums: int,
    threads: int,
) -> None: ...
def head_grad(
    dtype: int,
    slopes: int,
    rows: int,
    width: int,
    weight: int,
    scale: int,
    scale_dtype: int,
    grad: int,
    threads: int,
) -> None: ...
def bias_leaky_relu_forward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    x: int,
    bias: int,
    y: int,
    threads: int,
) -> None: ...
def bias_leaky_relu_backward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    dy: int,
    y: int,
    dx: int,
    grad_bias: int,
    threads: int,
) -> None: ...
def spectral_norm(
    dtype: int,
    weights: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    u: Sequence[int],
    v: Sequence[int],
    new_u: Sequence[int],
    new_v: Sequence[int],
    scaled: Sequence[int],
    sigma: int,
    eps: float,
    iterations: int,
    columns_first: bool,
    threads: int,
) -> None: ...
def spectral_norm_backward(
    dtype: int,
    weights: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    u: Sequence[int],
    v: Sequence[int],
    grads: Sequence[int],
    dw: Sequence[int],
    sigma: int,
    threads: int,
) -> None: ...
def batch_norm_statistics(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    x: int,
    mean: int,
    var: int,
    running: Sequence[int],
    running_dtypes: Sequence[int],
    momentum: float,
    threads: int,
) -> None: ...
def batch_norm_leaky_relu(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    eps: float,
    numbers: Sequence[int],
    dtypes: Sequence[int],
    x: int,
    y: int,
    threads: int,
) -> None: ...
def batch_norm_leaky_relu_backward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    eps: float,
    numbers: Sequence[int],
    dtypes: Sequence[int],
    dy: int,
    x: int,
    training: bool,
    dx: int,
    grads: Sequence[int],
    grad_dtypes: Sequence[int],
    threads: int,
) -> None: ...
def product(
    rows: int,
    columns: int,
    depth: int,
    a: int,
    a_row: int,
    a_column: int,
    b: int,
    b_row: int,
    b_column: int,
    c: int,
    output: int,
    sums: int,
    negative_slope: float,
    threads: int,
) -> None: ...
def linear_forward(
    n: int, k: int, m: int, negative_slope: float, x: int, w: int, bias: int, y: int, threads: int
) -> None: ...
def linear_backward(
    n: int,
    k: int,
    m: int,
    negative_slope: float,
    x: int,
    w: int,
    dy: int,
    y: int,
    dx: int,
    dw: int,
    db: int,
    threads: int,
) -> None: ...
def mlp_forward(
    rows: int,
    features: Sequence[int],
    negative_slope: float,
    x: int,
    weights: Sequence[int],
    biases: Sequence[int],
    outputs: Sequence[int],
    threads: int,
) -> None: ...
def mlp_backward(
    rows: int,
    features: Sequence[int],
    negative_slope: float,
    weights: Sequence[int],
    grad: int,
    x: int,
    outputs: Sequence[int],
    scale: int,
    first_row: int,
    dx: int,
    dw: Sequence[int],
    db: Sequence[int],
    scratch: int,
    threads: int,
) -> None: ...
