"""The CUDA kernels (csrc/cuda/bindings.cpp). They check nothing: only fastgan/kernels/ calls them.

An int parameter with a shape in its comment is the address of a contiguous tensor; an optional one is 0 if
absent. Parameters of the same name have the same meaning in all functions:

- ``dtype`` and all ``..._dtype``: codes of ``fastgan.kernels.native.DTYPES``. ``dtype``: the inputs'.
- "compute" in a comment: float64 for float64 inputs, float32 for the others.
- ``loss``: code of ``fastgan.kernels.logit_losses.NUMBERS``, except where it is an address.
- ``scale``, ``scale_dtype``: [], optional factor of the gradients.
- ``partials``: workspace for partial sums. ``counter``: zeroed int32 counters (fastgan/kernels/counters.py).
- ``on``: device index and stream handle.
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
    logits: Sequence[int],  # [sizes[i]] each
    sizes: Sequence[int],
    labels: Sequence[float],  # one per tensor
    weights: Sequence[float],  # factor of each term, one per tensor
    grads: Sequence[int],  # like logits: output; empty if not wanted
    scale: int,
    scale_dtype: int,
    total: int,  # []: output
    total_dtype: int,
    details: int,  # [2 n + 1], compute: optional output; see Reference.loss
    partials: int,  # LOSS_WORKSPACE_BYTES; 0 if one block does all the work
    counter: int,  # [1]; 0 if one block does all the work
    on: tuple[int, int],
) -> None: ...
def loss_backward(
    loss: int,
    dtype: int,
    logits: Sequence[int],
    sizes: Sequence[int],
    labels: Sequence[float],
    weights: Sequence[float],
    grads: Sequence[int],  # like logits: output
    scale: int,
    scale_dtype: int,
    are_for_one: bool,  # grads already hold the gradients for a scale of 1
    on: tuple[int, int],
) -> None: ...
def loss_terms(
    loss: int,
    dtype: int,
    logits: int,  # [size]
    size: int,
    label: float,
    weight: float,  # factor of each term
    incoming: int,  # [size]: optional gradient of each term
    result: int,  # [size]: output; terms, or with incoming the gradient of logits
    on: tuple[int, int],
) -> None: ...

MOST_PAIRS: int
MOST_WEIGHTS: int

def l1_loss(
    dtype: int,
    x: Sequence[int],  # [sizes[i]] each
    y: Sequence[int],  # like x
    sizes: Sequence[int],
    weights: Sequence[float],  # factor of each |x - y|
    dx: Sequence[int],  # like x: output, or empty
    dy: Sequence[int],  # like x: output, or empty
    scale: int,
    scale_dtype: int,
    loss: int,  # []: output
    loss_dtype: int,
    partials: int,  # LOSS_WORKSPACE_BYTES
    counter: int,  # [1]
    on: tuple[int, int],
) -> None: ...
def l1_backward(
    dtype: int,
    x: Sequence[int],  # [sizes[i]] each
    y: Sequence[int],  # like x
    sizes: Sequence[int],
    weights: Sequence[float],  # factor of each |x - y|
    dx: Sequence[int],  # like x: output, or empty
    dy: Sequence[int],  # like x: output, or empty
    scale: int,
    scale_dtype: int,
    on: tuple[int, int],
) -> None: ...

# all [size]; terms: output, |x - y|
def l1_terms(dtype: int, x: int, y: int, size: int, terms: int, on: tuple[int, int]) -> None: ...
def l1_terms_backward(
    dtype: int,
    x: int,  # [size]
    y: int,  # [size]
    size: int,
    incoming: int,  # [size]: gradient of each term
    dx: int,  # [size]: optional output, gradient of x
    dy: int,  # [size]: optional output, gradient of y
    on: tuple[int, int],
) -> None: ...

# numbers of partial sums and of counters that head_loss needs
def head_workspace(dtype: int, rows: Sequence[int], width: int) -> tuple[int, int]: ...
def head_loss(
    loss: int,
    dtype: int,
    features: Sequence[int],  # [rows[i], width] each
    rows: Sequence[int],
    labels: Sequence[float],  # one per tensor
    weights: Sequence[float],  # factor of each term, one per tensor
    slopes: Sequence[int],  # [rows[i]] each, compute: output, d total / d logits; empty if not wanted
    grads: Sequence[int],  # like features: output, d total / d features; empty if not wanted
    width: int,
    weight: int,  # [width]
    bias: int,  # [1], optional
    scale: int,
    scale_dtype: int,
    total: int,  # []: output
    total_dtype: int,
    details: int,  # [2 n + 1], compute: optional output; see Reference.loss
    dw: int,  # [width]: optional output, d total / d weight
    db: int,  # [1]: optional output, d total / d bias
    grads_dtype: int,  # of dw and db
    partials: int,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def head_grad(
    dtype: int,
    slopes: int,  # [rows], compute
    rows: int,
    width: int,
    weight: int,  # [width]
    scale: int,
    scale_dtype: int,
    grad: int,  # [rows, width]: output, scale * slopes * weight
    on: tuple[int, int],
) -> None: ...

# numbers of partial sums and of counters that bias_act_backward needs; for batch norm, of each kind
def layer_workspace(dtype: int, outer: int, channels: int, inner: int) -> tuple[int, int]: ...
def bias_act(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    form: int,  # code of fastgan.kernels.acts.FORMS
    alpha: float,
    gain: float,
    clamp: float,  # inf: no bound
    x: int,  # [outer, channels, inner]
    bias: int,  # [channels], optional
    y: int,  # like x: output; may be x
    on: tuple[int, int],
) -> None: ...
def bias_act_backward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    form: int,
    alpha: float,
    gain: float,
    clamp: float,
    cotangent: int,  # like dy, optional: dx is cotangent times dy times the second derivative
    dy: int,  # [outer, channels, inner]
    saved: int,  # like dy: the forward's output; for swish its input
    bias: int,  # [channels], optional; only for swish
    dx: int,  # like dy: output; may be dy
    grad_bias: int,  # [channels]: optional output; without it partials and counter are 0
    partials: int,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def spectral_workspace(dtype: int, rows: Sequence[int], columns: Sequence[int]) -> int: ...
def spectral_norm(
    dtype: int,
    weights: Sequence[int],  # [rows[i], columns[i]] each, at most MOST_WEIGHTS
    rows: Sequence[int],
    columns: Sequence[int],
    u: Sequence[int],  # [rows[i]] each
    v: Sequence[int],  # [columns[i]] each
    new_u: Sequence[int],  # like u: output; empty without iterations
    new_v: Sequence[int],  # like v: output; empty without iterations
    scaled: Sequence[int],  # like weights: output
    sigma: int,  # [weights], compute: output
    eps: float,
    iterations: int,
    columns_first: bool,
    partials: int,  # [spectral_workspace(...)], compute
    counter: int,  # [weights]
    on: tuple[int, int],
) -> None: ...
def spectral_norm_backward(
    dtype: int,
    weights: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    u: Sequence[int],
    v: Sequence[int],
    grads: Sequence[int],  # like weights: the gradients of scaled
    dw: Sequence[int],  # like weights: output
    sigma: int,
    partials: int,
    on: tuple[int, int],
) -> None: ...
def batch_norm_statistics(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    x: int,  # [outer, channels, inner]
    mean: int,  # [channels], compute: output
    var: int,  # [channels], compute: output
    running: Sequence[int],  # running_mean and running_var, [channels] each, optional: updated
    dtypes: Sequence[int],  # theirs
    momentum: float,
    partials: int,  # three kinds
    counter: int,
    on: tuple[int, int],
) -> None: ...
def batch_norm_leaky_relu(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    eps: float,
    numbers: Sequence[int],  # mean, var, weight and bias, [channels] each; the last two are optional
    dtypes: Sequence[int],  # theirs
    x: int,  # [outer, channels, inner]
    y: int,  # like x: output
    y_stride: int,  # elements from each row of y to the next, if inner is 1
    on: tuple[int, int],
) -> None: ...
def batch_norm_leaky_relu_backward(
    dtype: int,
    outer: int,
    channels: int,
    inner: int,
    negative_slope: float,
    eps: float,
    numbers: Sequence[int],  # mean, var, weight and bias, [channels] each; the last two are optional
    dtypes: Sequence[int],  # theirs
    dy: int,  # [outer, channels, inner]
    dy_stride: int,  # elements from each row of dy to the next, if inner is 1
    x: int,  # like dy
    dx: int,  # like dy: optional output
    gradients: Sequence[int],  # of weight and bias, [channels] each: optional outputs
    gradient_dtypes: Sequence[int],
    averages: int,  # [2, channels], compute: memory for a dx through mean and var; 0 if they are constants
    partials: int,  # two kinds; 0 if there is only dx, with constants
    counter: int,
    on: tuple[int, int],
) -> None: ...

# numbers of partial sums that the backward passes need, in the compute type
def snake_partials(dtype: int, samples: int, channels: int, length: int, channels_last: bool) -> int: ...
def anti_aliased_snake_partials(
    dtype: int,
    samples: int,
    channels: int,
    length: int,
    channels_last: bool,
    up_taps: int,
    down_taps: int,
) -> int: ...
def snake(
    dtype: int,
    samples: int,
    channels: int,
    length: int,
    channels_last: bool,
    input: int,  # [samples, channels, length], or, if channels are last, [samples, length, channels]
    numbers: Sequence[int],  # alpha and beta, [channels] each; beta is optional
    dtypes: Sequence[int],  # theirs
    log_scale: bool,
    eps: float,
    output: int,  # like input: output
    on: tuple[int, int],
) -> None: ...
def snake_backward(
    dtype: int,
    samples: int,
    channels: int,
    length: int,
    channels_last: bool,
    input: int,
    numbers: Sequence[int],
    dtypes: Sequence[int],
    log_scale: bool,
    eps: float,
    dy: int,  # like input
    dx: int,  # like input: optional output
    grads: Sequence[int],  # of alpha and beta, [channels] each: optional outputs
    grad_dtypes: Sequence[int],
    partials: int,  # [snake_partials(...)], compute; 0 without grads
    on: tuple[int, int],
) -> None: ...
def anti_aliased_snake(
    dtype: int,
    samples: int,
    channels: int,
    length: int,
    channels_last: bool,
    input: int,
    numbers: Sequence[int],
    dtypes: Sequence[int],
    log_scale: bool,
    eps: float,
    filters: Sequence[int],  # before upsampling and before downsampling, [taps[i]] each
    filter_dtypes: Sequence[int],
    taps: Sequence[int],
    output: int,
    on: tuple[int, int],
) -> None: ...
def anti_aliased_snake_backward(
    dtype: int,
    samples: int,
    channels: int,
    length: int,
    channels_last: bool,
    input: int,
    numbers: Sequence[int],
    dtypes: Sequence[int],
    log_scale: bool,
    eps: float,
    filters: Sequence[int],
    filter_dtypes: Sequence[int],
    taps: Sequence[int],
    dy: int,
    dx: int,
    grads: Sequence[int],
    grad_dtypes: Sequence[int],
    partials: int,
    on: tuple[int, int],
) -> None: ...
def upfirdn2d(
    dtype: int,
    planes: int,
    in_height: int,
    in_width: int,
    out_height: int,
    out_width: int,
    inner: int,  # channels, if they are last; else 1
    input: int,  # [planes, in_height, in_width, inner]
    filter: int,  # [filter_height, filter_width], or [filter_width] if separable
    filter_dtype: int,
    filter_height: int,
    filter_width: int,
    separable: bool,
    flip: bool,
    up_x: int,
    up_y: int,
    down_x: int,
    down_y: int,
    left: int,
    top: int,
    gain: float,
    output: int,  # [planes, out_height, out_width, inner]: output, not empty
    on: tuple[int, int],
) -> None: ...

SPAN_PARTIALS: int

def span_activations(
    dtype: int,
    rows: int,
    width: int,
    spans: int,  # [spans_count, 3], int32; see fastgan/kernels/spans.py
    spans_count: int,
    targets: int,  # [targets_count, 3], int32
    targets_count: int,
    temperature: float,
    input: int,  # [rows, width]
    noise: int,  # [rows, width], float32, optional
    conditions: int,  # [rows], int64, optional
    output: int,  # [rows, width], rows output_stride elements apart: output
    output_stride: int,
    entropy: int,  # [], compute: output; 0 without conditions, as are the next two
    partials: int,  # SPAN_PARTIALS, compute
    counter: int,
    on: tuple[int, int],
) -> None: ...
def span_activations_backward(
    dtype: int,
    rows: int,
    width: int,
    spans: int,  # as above, to temperature
    spans_count: int,
    targets: int,
    targets_count: int,
    temperature: float,
    input: int,  # [rows, width]; 0 without a gradient of the cross-entropy
    conditions: int,  # [rows], int64; likewise
    output: int,  # [rows, width], rows output_stride elements apart
    output_stride: int,
    grad: int,  # [rows, width], rows grad_stride elements apart
    grad_stride: int,
    entropy: int,  # []: gradient of the cross-entropy
    entropy_dtype: int,
    dx: int,  # [rows, width]: output
    on: tuple[int, int],
) -> None: ...
def draw_conditions(
    uniform: int,  # [count], float32
    count: int,
    cumulative: int,  # [conditions], float64
    conditions: int,
    drawn: int,  # [count], int64: output
    on: tuple[int, int],
) -> None: ...
def table_batch(
    dtype: int,  # of the batch
    batch: int,
    width: int,
    rows: int,  # of the table
    spans: int,  # [spans_count, 3], int32; see fastgan/kernels/spans.py
    spans_count: int,
    targets: int,  # [targets_count, 3], int32
    targets_count: int,
    codes: int,  # [rows, num_codes], int32
    values: int,  # [rows, num_values], float32
    num_codes: int,
    num_values: int,
    order: int,  # [order_size], int32
    order_size: int,
    starts: int,  # [targets_count + 1], int64; 0 without conditions
    conditions: int,  # [batch], int64, optional
    uniform: int,  # [batch], float32
    into: int,  # [batch, width, and targets_count with conditions], rows into_stride elements apart: output
    into_stride: int,
    on: tuple[int, int],
) -> None: ...
def adam(
    dtype: int,
    size: int,
    values: int,  # [size]: updated, as are exp_avg and exp_avg_sq
    grads: int,  # [size]
    exp_avg: int,  # [size]
    exp_avg_sq: int,  # [size]
    average: int,  # [size], optional: moves towards values
    halves: int,  # [size], bfloat16, optional: output, a copy of values
    count: int,  # [], float32: number of the step
    is_first: bool,  # first call of a step: adds 1 to count
    learning_rate: int,  # [], float32
    average_weight: int,  # [], float32
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    counter: int,
    on: tuple[int, int],
) -> None: ...
def draw(
    integers: int,  # [sizes[0]], int64: output
    normal: int,  # [sizes[1]], float32: output
    uniform: int,  # [sizes[2]], float32: output
    sizes: tuple[int, int, int],
    begins: tuple[int, int, int],  # index of each vector's first number; see Reference.draw
    high: int,  # exclusive upper bound of integers
    seed: int,
    step: int,  # [1], int64
    on: tuple[int, int],
) -> None: ...
def record(
    scalars: Sequence[int],  # [] each, float32
    table: int,  # [rows, scalars], float32: row ``row`` is written
    row: int,  # [1], int64: incremented
    schedule: int,  # [rows + 1, settings_count], float32
    settings_count: int,
    settings: int,  # [settings_count], float32: output, the schedule's next row
    clock: int,  # [1], int64: incremented
    on: tuple[int, int],
) -> None: ...
