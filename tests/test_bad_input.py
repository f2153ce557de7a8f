"""Every mistake gets a message that names the argument, what it was and what it should be."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import fastgan
from fastgan.ops import (
    discriminator_loss_value_and_grad,
    generator_loss_value_and_grad,
    labelled_loss,
    reconstruction_loss_value_and_grad,
)
from fastgan.training.objectives.passes import through

ONES = torch.ones(3, 3)
INT, DOUBLE, META = ONES.long(), ONES.double(), ONES.to("meta")
BIAS = torch.ones(3)

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "integer logits": (
        lambda: fastgan.discriminator_loss(INT, ONES),
        TypeError,
        r"real_logits must be float32.*int64.*\.float\(\)",
    ),
    "integer second": (lambda: fastgan.discriminator_loss(ONES, INT), TypeError, r"fake_logits .*int64"),
    "complex logits": (lambda: fastgan.generator_loss(ONES + 0j), TypeError, r"fake_logits .*complex64"),
    "list": (
        lambda: fastgan.generator_loss([0.0]),
        TypeError,
        r"fake_logits must be a torch.Tensor, but is float",
    ),
    "None": (lambda: fastgan.discriminator_loss(ONES, None), TypeError, r"fake_logits .*NoneType"),
    "sparse": (
        lambda: fastgan.generator_loss(ONES.to_sparse()),
        TypeError,
        r"fake_logits .*sparse.*to_dense",
    ),
    "reduction": (
        lambda: fastgan.generator_loss(ONES, reduction="average"),
        ValueError,
        r"reduction must be 'mean', 'sum' or 'none', but is 'average'",
    ),
    "reduction None": (lambda: fastgan.generator_loss(ONES, reduction=None), ValueError, r"reduction .*None"),
    "label over 1": (
        lambda: fastgan.discriminator_loss(ONES, ONES, real_label=1.5),
        ValueError,
        r"real_label must lie in \[0, 1\] for the bce loss, but is 1.5",
    ),
    "label nan": (
        lambda: fastgan.discriminator_loss(ONES, ONES, real_label=math.nan),
        ValueError,
        r"real_label .*nan",
    ),
    "infinite label": (
        lambda: labelled_loss(ONES, math.inf, loss="least-squares"),
        ValueError,
        r"label must be finite, but is inf",
    ),
    "infinite label of an operator": (
        lambda: torch.ops.fastgan.logit_loss_terms(ONES, "bce", math.inf, 1.0),
        ValueError,
        r"label must be finite, but is inf",
    ),
    "nan among the labels of an operator": (
        lambda: torch.ops.fastgan.logit_loss([ONES], "bce", [math.nan], [1.0], True, torch.float32, False),
        ValueError,
        r"labels\[0\] must be finite, but is nan",
    ),
    "unknown loss": (
        lambda: fastgan.discriminator_loss(ONES, ONES, loss="lsgan"),
        ValueError,
        r"loss must be one of 'bce', 'hinge', .*, but is 'lsgan'",
    ),
    "fake label of hinge": (
        lambda: fastgan.discriminator_loss(ONES, ONES, loss="hinge", fake_label=1.0),
        ValueError,
        r"fake_label must be 0 for the hinge loss, but is 1.0",
    ),
    "fake label below 0": (
        lambda: fastgan.discriminator_loss(ONES, ONES, fake_label=-0.5),
        ValueError,
        r"fake_label must lie in \[0, 1\] for the bce loss, but is -0.5",
    ),
    "fraction of a hinge": (
        lambda: labelled_loss([ONES, ONES], 0.5, loss="hinge-margin"),
        ValueError,
        r"label must be 0 or 1 for the hinge-margin loss, but is 0.5",
    ),
    "terms of terms": (
        lambda: labelled_loss(ONES, 1.0, reduction="none", return_terms=True),
        ValueError,
        r"return_terms must be False for reduction='none'",
    ),
    "means that are not there": (
        lambda: fastgan.relativistic_loss(ONES, ONES, detach_means=True),
        ValueError,
        r"detach_means must be False without average",
    ),
    "a label that the loss has not": (
        lambda: fastgan.discriminator_loss(ONES, ONES, loss="hinge", real_label=0.9),
        ValueError,
        r"real_label must be 1 for the hinge loss, but is 0.9",
    ),
    "a saturating loss that is not": (
        lambda: fastgan.generator_loss(ONES, loss="wasserstein", saturating=True),
        ValueError,
        r"saturating must be False for the wasserstein loss",
    ),
    "logits without a pair": (
        lambda: fastgan.relativistic_loss(ONES, ONES[:1]),
        ValueError,
        r"other_logits must have the shape of logits",
    ),
    "logits dtypes": (
        lambda: fastgan.discriminator_loss(ONES, DOUBLE),
        TypeError,
        r"fake_logits is torch.float64 but real_logits torch.float32",
    ),
    "logits devices": (
        lambda: fastgan.discriminator_loss(ONES, META),
        ValueError,
        r"fake_logits is on meta but real_logits on cpu",
    ),
    "none with gradients": (
        lambda: discriminator_loss_value_and_grad(ONES, ONES, reduction="none"),
        ValueError,
        r"reduction must be 'mean' or 'sum'.*'none'",
    ),
    "scale shape": (
        lambda: generator_loss_value_and_grad(ONES, scale=BIAS),
        ValueError,
        r"scale must be a scalar tensor, but has shape \(3,\)",
    ),
    "scale number": (lambda: generator_loss_value_and_grad(ONES, scale=2.0), TypeError, r"scale .*float"),
    "scale integer": (
        lambda: generator_loss_value_and_grad(ONES, scale=torch.tensor(2)),
        TypeError,
        r"scale .*int64",
    ),
    "scale device": (
        lambda: generator_loss_value_and_grad(ONES, scale=torch.ones((), device="meta")),
        ValueError,
        r"scale is on meta",
    ),
    "reconstruction shape": (
        lambda: fastgan.reconstruction_loss(ONES, BIAS),
        ValueError,
        r"reconstruction has shape \(3,\) but input \(3, 3\); they must be the same",
    ),
    "reconstruction dtype": (
        lambda: fastgan.reconstruction_loss(ONES, DOUBLE),
        TypeError,
        r"reconstruction is torch.float64 but input torch.float32",
    ),
    "reconstruction device": (
        lambda: fastgan.reconstruction_loss(ONES, META),
        ValueError,
        r"reconstruction is on meta but input on cpu",
    ),
    "reconstruction None": (
        lambda: fastgan.reconstruction_loss(ONES, None),
        TypeError,
        r"reconstruction .*NoneType",
    ),
    "reconstructed integers": (lambda: fastgan.reconstruction_loss(INT, INT), TypeError, r"input .*int64"),
    "reconstruction reduction": (
        lambda: fastgan.reconstruction_loss(ONES, ONES, reduction="max"),
        ValueError,
        r"reduction must be 'mean', 'sum' or 'none', but is 'max'",
    ),
    "reconstruction none with gradients": (
        lambda: reconstruction_loss_value_and_grad(ONES, ONES, reduction="none"),
        ValueError,
        r"reduction must be 'mean' or 'sum'.*'none'",
    ),
    "reconstruction scale": (
        lambda: reconstruction_loss_value_and_grad(ONES, ONES, scale=BIAS),
        ValueError,
        r"scale must be a scalar tensor, but has shape \(3,\)",
    ),
    "slope negative": (
        lambda: fastgan.bias_leaky_relu(ONES, negative_slope=-0.1),
        ValueError,
        r"negative_slope must be finite and not negative, but is -0.1",
    ),
    "act": (lambda: fastgan.bias_act(ONES, act="gelu"), ValueError, r"one of 'linear', .*but is 'gelu'"),
    "alpha negative": (
        lambda: fastgan.bias_act(ONES, act="lrelu", alpha=-0.1),
        ValueError,
        r"alpha must be finite and not negative, but is -0.1",
    ),
    "alpha inf": (lambda: fastgan.bias_act(ONES, alpha=math.inf), ValueError, r"alpha .*inf"),
    "gain": (lambda: fastgan.bias_act(ONES, gain=math.inf), ValueError, r"gain must be finite, but is inf"),
    "gain of a layer": (
        lambda: fastgan.linear_leaky_relu(ONES, ONES, gain=math.nan),
        ValueError,
        r"gain .*nan",
    ),
    "clamp negative": (
        lambda: fastgan.bias_act(ONES, clamp=-1.0),
        ValueError,
        r"clamp must not be negative, but is -1.0; None means no bound",
    ),
    "clamp nan": (lambda: fastgan.bias_leaky_relu(ONES, clamp=math.nan), ValueError, r"clamp .*nan"),
    "b": (lambda: fastgan.bias_act(ONES, torch.ones(4)), ValueError, r"b must have shape \(3,\)"),
    "b dtype": (lambda: fastgan.bias_act(ONES, BIAS.double()), TypeError, r"b is torch.float64 but x "),
    "x": (lambda: fastgan.bias_act([0.0]), TypeError, r"x must be a torch.Tensor, but is list"),
    "dim of x": (lambda: fastgan.bias_act(ONES, dim=2), IndexError, r"dim 2 is out of range for an x"),
    "an operator's form": (
        lambda: torch.ops.fastgan.bias_act(ONES, BIAS, "lrelu", 0.2, 1.0, math.inf, 1),
        ValueError,
        r"form must be one of 'leaky', .*but is 'lrelu'",
    ),
    "slope nan": (
        lambda: fastgan.linear_leaky_relu(ONES, ONES, None, math.nan),
        ValueError,
        r"negative_slope .*nan",
    ),
    "slope inf": (lambda: fastgan.mlp(ONES, [ONES], [None], math.inf), ValueError, r"negative_slope .*inf"),
    "bias length": (
        lambda: fastgan.bias_leaky_relu(ONES, torch.ones(4)),
        ValueError,
        r"bias must have shape \(3,\), but has \(4,\)",
    ),
    "bias shape": (lambda: fastgan.bias_leaky_relu(ONES, ONES), ValueError, r"bias .*\(3, 3\)"),
    "bias list": (
        lambda: fastgan.bias_leaky_relu(ONES, [0.0]),
        TypeError,
        r"bias must be a torch.Tensor, but is list",
    ),
    "bias dtype": (lambda: fastgan.bias_leaky_relu(ONES, BIAS.double()), TypeError, r"bias is torch.float64"),
    "bias device": (lambda: fastgan.bias_leaky_relu(ONES, BIAS.to("meta")), ValueError, r"bias is on meta"),
    "dim": (lambda: fastgan.bias_leaky_relu(ONES, BIAS, dim=2), IndexError, r"dim 2 .*2 dimensions"),
    "dim negative": (lambda: fastgan.bias_leaky_relu(ONES, BIAS, dim=-3), IndexError, r"dim -3"),
    "no dimension": (lambda: fastgan.bias_leaky_relu(torch.ones(())), IndexError, r"dim 1 .*0 dimensions"),
    "input list": (lambda: fastgan.linear_leaky_relu([[1.0]], ONES), TypeError, r"input .*list"),
    "weight list": (lambda: fastgan.linear_leaky_relu(ONES, [[1.0]]), TypeError, r"weight .*list"),
    "weight shape": (
        lambda: fastgan.linear_leaky_relu(ONES, torch.ones(3, 4)),
        ValueError,
        r"weight of shape \(3, 4\) takes \[\.\.\., 4\], but gets an input of shape \(3, 3\)",
    ),
    "weight vector": (
        lambda: fastgan.linear_leaky_relu(ONES, BIAS),
        ValueError,
        r"weight must be \[out_features",
    ),
    "weight dtype": (lambda: fastgan.linear_leaky_relu(ONES, DOUBLE), TypeError, r"weight is torch.float64"),
    "weight device": (lambda: fastgan.linear_leaky_relu(ONES, META), ValueError, r"weight is on meta"),
    "linear bias": (
        lambda: fastgan.linear_leaky_relu(ONES, ONES, torch.ones(2)),
        ValueError,
        r"bias .*\(2,\)",
    ),
    "scalar input": (
        lambda: fastgan.linear_leaky_relu(torch.ones(()), ONES),
        ValueError,
        r"input of shape \(\)",
    ),
    "mlp lengths": (lambda: fastgan.mlp(ONES, [ONES, ONES], [None]), ValueError, r"2 weights and 1 biases"),
    "mlp empty": (lambda: fastgan.mlp(ONES, [], []), ValueError, r"at least one.*0 weights"),
    "mlp layer": (
        lambda: fastgan.mlp(ONES, [ONES, torch.ones(1, 4)], [None, None]),
        ValueError,
        r"weight 1 of shape \(1, 4\)",
    ),
    "a pass of another width": (
        lambda: through(torch.nn.Linear(4, 1), ONES),
        ValueError,
        r"weight 0 of shape \(1, 4\) takes \[\.\.\., 4\], but gets an input of shape \(3, 3\)",
    ),
    "an operator's weight": (
        lambda: torch.ops.fastgan.linear_leaky_relu(ONES, torch.ones(3, 4), None, 0.2, 1.0, math.inf),
        ValueError,
        r"weight of shape \(3, 4\) takes \[\.\.\., 4\]",
    ),
    "an operator's dim": (
        lambda: torch.ops.fastgan.bias_act(ONES, BIAS, "leaky", 0.2, 1.0, math.inf, -1),
        IndexError,
        r"dim must be one of the 2 dimensions, from 0 on, but is -1",
    ),
    "an operator's gradient": (
        lambda: torch.ops.fastgan.logit_loss_terms_backward(BIAS, ONES, "bce", 1.0, 1.0),
        ValueError,
        r"grad must have the shape of logits, \(3, 3\), but has \(3,\)",
    ),
    "mlp bias": (
        lambda: fastgan.mlp(ONES, [ONES], [torch.ones(2)]),
        ValueError,
        r"bias 0 must have shape \(3,\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(call: Callable[[], object], error: type[Exception], message: str) -> None:
    for backend in fastgan.available_backends():
        with fastgan.use_backend(backend), pytest.raises(error, match=message):
            call()


def test_mistakes_under_autocast_read_the_same() -> None:
    for name in ("input list", "weight list", "bias list"):
        call, error, message = MISTAKES[name]
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(error, match=message):
            call()
