"""The CUDA kernels (csrc/cuda/bindings.cpp). Nothing is checked: fastgan/kernels/ alone calls these.

Tensors are addresses, 0 where one may be left out; a dtype and a loss are numbers; ``on`` is a device's
number and the handle of a stream there.
"""

from collections.abc import Sequence

DEVICE_TYPE: str
MOST_TENSORS: int
LOSS_WORKSPACE_BYTES: int
LOSS_TILE_BYTES: int
COUNTER_SLOTS: int
COUNTERS_OF_SLOT: int

def device_error() -> str | None: ...
def counter_bank() -> int: ...
def capture_id(stream: int) -> int: ...
def take_slot(device: int, stream: int) -> int: ...
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
    partials: int,
    counter: int,
    on: tuple[int, int],
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
    are_for_one: bool,
    on: tuple[int, int],
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
    on: tuple[int, int],
) -> None: ...
def reconstruction_loss(
    dtype: int,
    x: int,
    y: int,
    size: int,
    dx: int,
    dy: int,
    mean: bool,
    scale: int,
    scale_dtype: int,
    loss: int,
    loss_dtype: int,
    partials: int,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def reconstruction_terms(dtype: int, x: int, y: int, size: int, terms: int, on: tuple[int, int]) -> None: ...
def reconstruction_backward(
    dtype: int,
    x: int,
    y: int,
    size: int,
    dx: int,
    dy: int,
    mean: bool,
    incoming: int,
    scale: int,
    scale_dtype: int,
    on: tuple[int, int],
) -> None: ...
def head_workspace(dtype: int, rows: Sequence[int], width: int) -> tuple[int, int]: ...
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
    dw: int,
    db: int,
    grads_dtype: int,
    partials: int,
    counter: int,
    on: tuple[int, int],
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
    on: tuple[int, int],
) -> None: ...
def layer_workspace(dtype: int, outer: int, channels: int, inner: int) -> tuple[int, int]: ...
def bias_leaky_relu_forward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    x: int,
    bias: int,
    y: int,
    on: tuple[int, int],
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
    partials: int,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def adam(
    dtype: int,
    size: int,
    values: int,
    grads: int,
    exp_avg: int,
    exp_avg_sq: int,
    average: int,
    halves: int,
    count: int,
    is_first: bool,
    learning_rate: int,
    average_weight: int,
    beta1: float,
    beta2: float,
    eps: float,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def draw(
    integers: int,
    normal: int,
    uniform: int,
    sizes: tuple[int, int, int],
    begins: tuple[int, int, int],
    high: int,
    seed: int,
    step: int,
    on: tuple[int, int],
) -> None: ...
def record(
    scalars: Sequence[int],
    table: int,
    row: int,
    schedule: int,
    settings_count: int,
    settings: int,
    clock: int,
    on: tuple[int, int],
) -> None: ...
