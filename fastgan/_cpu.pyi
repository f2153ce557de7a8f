"""The C++ kernels (csrc/cpu/bindings.cpp). Nothing is checked: fastgan/kernels/cpu/ alone calls these.

Tensors are addresses, 0 where one may be left out; a dtype and a loss are numbers.
"""

from collections.abc import Callable, Sequence

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
    threads: int,
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
    grad_bias: int,  # [channels]: optional output
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
    stride: int,  # elements of y from one outer index to the next
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
    stride: int,  # elements of dy from one outer index to the next
    x: int,
    training: bool,
    dx: int,
    grads: Sequence[int],
    grad_dtypes: Sequence[int],
    threads: int,
) -> None: ...
def snake(
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
    output: int,
    threads: int,
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
    dy: int,
    dx: int,
    grads: Sequence[int],
    grad_dtypes: Sequence[int],
    threads: int,
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
    filters: Sequence[int],
    filter_dtypes: Sequence[int],
    taps: Sequence[int],
    output: int,
    threads: int,
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
    threads: int,
) -> None: ...
def span_activations(
    dtype: int,
    rows: int,
    width: int,
    spans: int,  # [count, 3], int32, and targets: fastgan.kernels.spans.Spans.tables
    count: int,
    targets: int,  # [num_conditions, 3], int32
    num_conditions: int,
    temperature: float,
    input: int,  # [rows, width]
    noise: int,  # [rows, width], float32, optional
    conditions: int,  # [rows], int64, optional
    output: int,  # [rows, width], rows `stride` elements apart
    stride: int,
    entropy: int,  # [1]: output, only with conditions
    entropy_dtype: int,
    threads: int,
) -> None: ...
def span_activations_backward(
    dtype: int,
    rows: int,
    width: int,
    spans: int,
    count: int,
    targets: int,
    num_conditions: int,
    temperature: float,
    input: int,  # [rows, width], optional: only with a gradient of the cross-entropy
    conditions: int,  # [rows], int64; read only with input
    output: int,  # [rows, width], rows `stride` elements apart
    stride: int,
    grad: int,  # [rows, width], rows `grad_stride` elements apart
    grad_stride: int,
    of_entropy: int,  # [1], optional
    of_entropy_dtype: int,
    dx: int,  # [rows, width]: output
    threads: int,
) -> None: ...
def table_batch(
    dtype: int,
    batch: int,
    width: int,
    rows: int,
    spans: int,
    count: int,
    targets: int,
    num_conditions: int,  # 0 without conditions
    codes: int,  # [rows, num_codes], int32
    num_codes: int,
    values: int,  # [rows, num_values], float32
    num_values: int,
    order: int,  # [order_size], int32
    order_size: int,
    starts: int,  # [num_conditions + 1], int64
    conditions: int,  # [batch], int64, optional
    uniform: int,  # [batch], float32
    into: int,  # [batch, width + num_conditions], rows `stride` elements apart: output
    stride: int,
    threads: int,
) -> None: ...
def draw_conditions(
    uniform: int,  # [count], float32
    count: int,
    cumulative: int,  # [conditions], float64
    conditions: int,
    drawn: int,  # [count], int64: output
    threads: int,
) -> None: ...
def upfirdn2d(
    dtype: int,
    sizes: tuple[int, int, int, int, int, int],  # planes, height and width of input and output, inner
    input: int,
    filter: int,
    filter_dtype: int,
    taps: tuple[int, int],  # height and width of the filter
    separable: bool,
    flip: bool,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int],  # left and top
    gain: float,
    output: int,
    threads: int,
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
    threads: int,
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
    weight_decay: float,
    threads: int,
) -> None: ...
def sgd(
    dtype: int,
    size: int,
    values: int,
    grads: int,
    velocity: int,
    average: int,
    halves: int,
    learning_rate: int,
    momentum: int,
    average_weight: int,
    threads: int,
) -> None: ...
def vector_norm(
    dtype: int, x: int, size: int, order: int, norm: int, norm_dtype: int, threads: int
) -> None: ...
def clip(
    x: Sequence[int], sizes: Sequence[int], dtypes: Sequence[int], max_norm: float, threads: int
) -> None: ...
def record(
    scalars: Sequence[int],
    table: int,
    rows: int,
    row: int,
    schedule: int,
    settings_count: int,
    settings: int,
    clock: int,
) -> None: ...
def gather(
    is_bytes: bool, data: int, count: int, indices: int, rows: int, width: int, to: int, threads: int
) -> None: ...
def add_noise(samples: int, noise: int, std: int, to: int, size: int, threads: int) -> None: ...
def between(real: int, fake: int, share: int, to: int, rows: int, width: int, threads: int) -> None: ...
def around(real: int, share: int, noise: int, to: int, rows: int, width: int, threads: int) -> None: ...
def lipschitz(slope: int, grad: int, rows: int, width: int, weight: float, threads: int) -> None: ...
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
    bias: int,
    c: int,
    c_row: int,
    output: int,
    sums: int,
    negative_slope: float,
    threads: int,
) -> None: ...
def linear_forward(
    n: int,
    k: int,
    m: int,
    alpha: float,
    gain: float,
    clamp: float,
    x: int,
    w: int,
    bias: int,
    y: int,
    threads: int,
) -> None: ...
def linear_backward(
    n: int,
    k: int,
    m: int,
    alpha: float,
    gain: float,
    clamp: float,
    x: int,
    w: int,
    dy: int,
    y: int,
    dx: int,
    dw: int,
    db: int,
    threads: int,
) -> None: ...
def activate(
    kind: int, negative_slope: float, pieces: int, rows: int, width: int, z: int, y: int, threads: int
) -> None: ...
def activation_backward(
    kind: int,
    negative_slope: float,
    pieces: int,
    rows: int,
    width: int,
    dy: int,
    z: int,
    y: int,
    dz: int,
    threads: int,
) -> None: ...
def maxout_tangent(
    pieces: int, rows: int, width: int, change: int, z: int, y: int, change_of_y: int, threads: int
) -> None: ...
def row_sums(rows: int, columns: int, matrix: int, sums: int, threads: int) -> None: ...
def mlp_forward(
    rows: int,
    features: Sequence[int],
    kinds: Sequence[int],
    slopes: Sequence[float],
    pieces: Sequence[int],
    x: int,
    weights: Sequence[int],
    biases: Sequence[int],
    products: Sequence[int],
    outputs: Sequence[int],
    threads: int,
) -> None: ...
def mlp_backward(
    rows: int,
    features: Sequence[int],
    kinds: Sequence[int],
    slopes: Sequence[float],
    pieces: Sequence[int],
    weights: Sequence[int],
    grad: int,
    x: int,
    products: Sequence[int],
    outputs: Sequence[int],
    scale: int,
    first_row: int,
    dx: int,
    dw: Sequence[int],
    db: Sequence[int],
    dz: Sequence[int],
    scratch: int,
    threads: int,
) -> None: ...
def mlp_slope_backward(
    rows: int,
    features: Sequence[int],
    kinds: Sequence[int],
    slopes: Sequence[float],
    pieces: Sequence[int],
    weights: Sequence[int],
    grad: int,
    dz: Sequence[int],
    products: Sequence[int],
    outputs: Sequence[int],
    dw: Sequence[int],
    scratch: int,
    threads: int,
) -> None: ...

class Tape:
    """A list of calls (csrc/cpu/tape.h). ``per_row``: elements, or rows, for each row of the unit."""

    def __init__(self) -> None: ...
    def stage(self) -> None: ...
    def unit(self, rows: int, step: int) -> None: ...
    def forward(
        self,
        per_row: int,
        width: int,
        features: int,
        x: int,
        x_row: int,
        hot: int,
        hot_columns: int,
        w: int,
        packed: int,
        bias: int,
        negative_slope: float,
        y: int,
        y_row: int,
    ) -> None: ...
    def dgrad(
        self,
        per_row: int,
        width: int,
        features: int,
        dz: int,
        w: int,
        packed: int,
        output: int,
        negative_slope: float,
        dx: int,
        columns: int,
    ) -> None: ...
    def climb(
        self,
        per_row: int,
        width: int,
        features: int,
        x: int,
        w: int,
        packed: int,
        output: int,
        negative_slope: float,
        y: int,
    ) -> None: ...
    def wgrad(
        self,
        rows: int,
        width: int,
        features: int,
        dz: int,
        scale: int,
        x: int,
        x_row: int,
        dw: int,
        dw_row: int,
    ) -> None: ...
    def hot_wgrad(
        self, rows: int, columns: int, features: int, dz: int, hot: int, dw: int, dw_row: int
    ) -> None: ...
    def bias_gradient(self, rows: int, features: int, dz: int, scale: int, db: int) -> None: ...
    def pack(self, features: int, width: int, weight: int, forward: int, dgrad: int) -> None: ...
    def draw(self, per_row: int, kind: int, to: int, begin: int, high: int, seed: int, step: int) -> None: ...
    def gather(self, per_row: int, is_bytes: bool, data: int, rows: int, to: int, width: int) -> None: ...
    def add_noise(self, per_row: int, samples: int, noise: int, std: int, to: int) -> None: ...
    def scale(self, per_row: int, source: int, factor: float, to: int) -> None: ...
    def scale_shift(self, per_row: int, x: int, factor: float, shift: float) -> None: ...
    def fill(self, per_row: int, to: int, value: float) -> None: ...
    def copy(self, per_row: int, source: int, to: int) -> None: ...
    def multiply_rows(self, per_row: int, x: int, factors: int, to: int, width: int) -> None: ...
    def between(self, per_row: int, real: int, fake: int, share: int, to: int, width: int) -> None: ...
    def half_deviation(self, real: int, size: int, to: int) -> None: ...
    def around(
        self, per_row: int, real: int, share: int, noise: int, half: int, to: int, width: int
    ) -> None: ...
    def lipschitz(self, per_row: int, slope: int, grad: int, width: int, weight: float) -> None: ...
    def activate(self, per_row: int, z: int, kind: int) -> None: ...
    def activation_grad(
        self, per_row: int, dy: int, y: int, dz: int, kind: int, negative_slope: float
    ) -> None: ...
    def maxout(self, per_row: int, z: int, y: int, width: int, pieces: int) -> None: ...
    def maxout_grad(
        self, per_row: int, dy: int, z: int, y: int, dz: int, width: int, pieces: int
    ) -> None: ...
    def maxout_tangent(
        self, per_row: int, change: int, z: int, y: int, to: int, width: int, pieces: int
    ) -> None: ...
    def loss(
        self,
        loss: int,
        logits: Sequence[int],
        sizes: Sequence[int],
        labels: Sequence[float],
        weights: Sequence[float],
        grads: Sequence[int],
        total: int,
        details: int,
    ) -> None: ...
    def subtract(self, size: int, a: int, b: int, is_scalar: bool, divisor: float, to: int) -> None: ...
    def norm(self, x: int, size: int, order: int, to: int) -> None: ...
    def add(self, per_row: int, source: int, to: int) -> None: ...
    def clip_factor(self, grads: int, size: int, max_norm: float, to: int) -> None: ...
    def scale_by(self, per_row: int, x: int, factor: int) -> None: ...
    def count(self, count: int) -> None: ...
    def adam(
        self,
        per_row: int,
        values: int,
        grads: int,
        exp_avg: int,
        exp_avg_sq: int,
        average: int,
        count: int,
        learning_rate: int,
        average_weight: int,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
    ) -> None: ...
    def sgd(
        self,
        per_row: int,
        values: int,
        grads: int,
        velocity: int,
        average: int,
        learning_rate: int,
        momentum: int,
        average_weight: int,
    ) -> None: ...
    def record(
        self,
        scalars: Sequence[int],
        table: int,
        row: int,
        schedule: int,
        settings_count: int,
        settings: int,
        clock: int,
    ) -> None: ...
    def draw_conditions(
        self, per_row: int, uniform: int, cumulative: int, conditions: int, drawn: int
    ) -> None: ...
    def table_rows(
        self,
        per_row: int,
        width: int,
        rows: int,
        spans: int,
        count: int,
        targets: int,
        num_conditions: int,
        codes: int,
        num_codes: int,
        values: int,
        num_values: int,
        order: int,
        order_size: int,
        starts: int,
        conditions: int,
        uniform: int,
        into: int,
        stride: int,
    ) -> None: ...
    def one_hot(self, per_row: int, conditions: int, count: int, to: int, stride: int) -> None: ...
    def copy_columns(
        self, per_row: int, width: int, source: int, source_row: int, to: int, to_row: int
    ) -> None: ...
    def add_columns(
        self, per_row: int, width: int, source: int, source_row: int, to: int, to_row: int
    ) -> None: ...
    def batch_norm(
        self,
        rows: int,
        channels: int,
        eps: float,
        momentum: float,
        x: int,
        mean: int,
        var: int,
        weight: int,
        bias: int,
        running_mean: int,
        running_var: int,
        y: int,
        y_row: int,
    ) -> None: ...
    def normalize(
        self,
        channels: int,
        eps: float,
        x: int,
        mean: int,
        var: int,
        weight: int,
        bias: int,
        y: int,
        y_row: int,
    ) -> None: ...
    def batch_norm_backward(
        self,
        rows: int,
        channels: int,
        eps: float,
        x: int,
        mean: int,
        var: int,
        weight: int,
        bias: int,
        dy: int,
        dy_row: int,
        dx: int,
        dweight: int,
        dbias: int,
    ) -> None: ...
    def dropout(
        self,
        per_row: int,
        y: int,
        derivative: int,
        begin: int,
        seed: int,
        step: int,
        share: float,
        factor: float,
        negative_slope: float,
    ) -> None: ...
    def multiply(self, per_row: int, x: int, factors: int) -> None: ...
    def span_activations(
        self,
        rows: int,
        width: int,
        spans: int,
        count: int,
        targets: int,
        num_conditions: int,
        temperature: float,
        input: int,
        noise: int,
        conditions: int,
        output: int,
        stride: int,
        entropies: int,
    ) -> None: ...
    def encode(
        self,
        block: int,
        spans: int,
        count: int,
        rows: int,
        stride: int,
        place: int,
        places: int,
        codes: int,
        num_codes: int,
        values: int,
        num_values: int,
    ) -> None: ...
    def mean_entropy(self, rows: int, width: int, entropies: int, to: int) -> None: ...
    def span_gradients(
        self,
        per_row: int,
        rows: int,
        width: int,
        spans: int,
        count: int,
        targets: int,
        num_conditions: int,
        temperature: float,
        input: int,
        conditions: int,
        output: int,
        stride: int,
        grad: int,
        grad_row: int,
        to: int,
    ) -> None: ...
    def count_integer(self, count: int, more: int) -> None: ...
    def copy_bytes(self, bytes: int, source: int, to: int) -> None: ...

def rows_of_entropy(width: int) -> int: ...
def replay(
    tapes: Sequence[Tape],
    order: Sequence[int],
    least: int,
    threads: int,
    seconds: float,
    is_stopping: Callable[[], bool],
) -> int: ...
