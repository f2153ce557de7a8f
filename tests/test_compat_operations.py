"""fastgan.compat's operations of StyleGAN code bases: in place of the originals, with the same results."""

from __future__ import annotations

import importlib
import math
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_upfirdn2d import FOUR, usual
from torch import Tensor

from fastgan.compat import basicsr, mmcv, stylegan, stylegan3

# A layer as in the networks of StyleGAN 2 and 3, which import the operations by their place in a code base.
LAYER = """
from torch_utils.ops import bias_act, upfirdn2d
from torch_utils.ops.upfirdn2d import _get_filter_size, _parse_padding

def layer(x, b, f):
    assert _get_filter_size(f) == (4, 4) and _parse_padding([1, 2]) == (1, 1, 2, 2)
    x = upfirdn2d.upsample2d(x, f, impl="cuda")
    gain = bias_act.activation_funcs["lrelu"].def_gain
    return bias_act.bias_act(x, b, act="lrelu", gain=gain, clamp=256)
"""


def usual_leaky_relu(x: Tensor, b: Tensor | None, slope: float = 0.2, scale: float = math.sqrt(2)) -> Tensor:
    return scale * F.leaky_relu(x if b is None else x + b.view(-1, *[1] * (x.dim() - 2)), slope)


def sample() -> tuple[Tensor, Tensor]:
    return (
        torch.randn(2, 3, 8, 6, dtype=torch.float64, requires_grad=True),
        torch.randn(3, dtype=torch.float64, requires_grad=True),
    )


def compare(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    cotangent = torch.randn_like(theirs)
    found = [ours, *torch.autograd.grad(ours, inputs, cotangent, retain_graph=True)]
    expected = [theirs, *torch.autograd.grad(theirs, inputs, cotangent, retain_graph=True)]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_stylegan_code_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("torch_utils", "torch_utils/ops"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "networks.py").write_text(LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torch_utils.ops.bias_act", stylegan3.bias_act)
    monkeypatch.setitem(sys.modules, "torch_utils.ops.upfirdn2d", stylegan3.upfirdn2d)
    networks: types.ModuleType = importlib.import_module("networks")
    x, b = sample()
    up = usual(x, FOUR.double(), up=2, padding=(2, 1, 2, 1), gain=4)
    compare(networks.layer(x, b, FOUR), usual_leaky_relu(up, b).clamp(-256, 256), [x, b])
    for name in ("networks", "torch_utils", "torch_utils.ops"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("impl", ["cuda", "ref"])
def test_stylegan3(impl: str) -> None:
    x, b = sample()
    ours = stylegan3.bias_act.bias_act(x, b, act="swish", impl=impl)
    compare(ours, math.sqrt(2) * F.silu(x + b.view(3, 1, 1)), [x, b])
    f = stylegan3.upfirdn2d.setup_filter([1, 3, 3, 1])
    ours = stylegan3.upfirdn2d.downsample2d(x, f, padding=1, flip_filter=True, gain=2, impl=impl)
    compare(ours, usual(x, f.double(), down=2, padding=(2, 2, 2, 2), flip_filter=True, gain=2), [x])
    ours = stylegan3.upfirdn2d.filter2d(x, f, impl=impl)
    compare(ours, usual(x, f.double(), padding=(2, 1, 2, 1)), [x])
    ours = stylegan3.upfirdn2d.upfirdn2d(x, f, [2, 1], [1, 2], 3, impl=impl)
    compare(ours, usual(x, f.double(), up=(2, 1), down=(1, 2), padding=(3, 3, 3, 3)), [x])


def test_stylegan3_activations() -> None:
    """The table that networks read has the originals' numbers."""
    table = stylegan3.bias_act.activation_funcs
    assert {name: row.def_gain for name, row in table.items()} == {
        **dict.fromkeys(("linear", "tanh", "sigmoid", "elu", "selu", "softplus"), 1.0),
        **dict.fromkeys(("relu", "lrelu", "swish"), math.sqrt(2)),
    }
    assert {name: row.def_alpha for name, row in table.items() if row.def_alpha} == {"lrelu": 0.2}


@pytest.mark.parametrize("name", ["basicsr", "mmcv"])
def test_fused_leaky_relu(name: str) -> None:
    if name == "basicsr":
        function, module = basicsr.fused_leaky_relu, basicsr.FusedLeakyReLU(3)
    else:
        function, module = mmcv.fused_bias_leakyrelu, mmcv.FusedBiasLeakyReLU(3)
    x, b = sample()
    compare(function(x, b), usual_leaky_relu(x, b), [x, b])
    compare(function(x, b, 0.1, 3.0), usual_leaky_relu(x, b, 0.1, 3.0), [x, b])
    assert [key for key, _ in module.named_parameters()] == ["bias"]
    assert not module.bias.any()
    module.double().load_state_dict({"bias": b})
    compare(module(x), usual_leaky_relu(x, module.bias), [x, module.bias])
    half = x.half().requires_grad_()
    assert function(half, b.float()).dtype is torch.float16


def test_fused_leaky_relu_of_rosinality() -> None:
    x, _ = sample()
    module = stylegan.FusedLeakyReLU(3, bias=False)
    assert not list(module.parameters())
    compare(module(x), usual_leaky_relu(x, None), [x])
    assert [key for key, _ in stylegan.FusedLeakyReLU(3).named_parameters()] == ["bias"]


def test_arguments_have_the_originals_names() -> None:
    assert mmcv.FusedBiasLeakyReLU(num_channels=3, scale=2.0).scale == 2
    assert basicsr.FusedLeakyReLU(channel=3, negative_slope=0.1).negative_slope == 0.1


def test_padding_of_basicsr() -> None:
    x, _ = sample()
    kernel = torch.ones(2, 3, dtype=torch.float64)
    compare(basicsr.upfirdn2d(x, kernel, pad=(2, 1, 0, 3)), usual(x, kernel, padding=(2, 1, 0, 3)), [x])
    with pytest.raises(ValueError, match=r"pad must be \(before, after\) or .* but is \(1, 2, 3\)"):
        basicsr.upfirdn2d(x, kernel, pad=(1, 2, 3))


def test_upfirdn2d_of_basicsr() -> None:
    x, _ = sample()
    kernel = torch.arange(16.0, dtype=torch.float64).view(4, 4)
    compare(basicsr.upfirdn2d(x, kernel, up=2, pad=(2, 1)), usual(x, kernel, up=2, padding=(2, 1, 2, 1)), [x])
    compare(
        basicsr.upfirdn2d(x, kernel, down=2, pad=(1, 2)), usual(x, kernel, down=2, padding=(1, 2, 1, 2)), [x]
    )


@pytest.mark.parametrize("use_custom_op", [True, False])
def test_mmcv(use_custom_op: bool) -> None:
    x, b = sample()
    f, how = FOUR.double(), {"use_custom_op": use_custom_op}
    compare(
        mmcv.upfirdn2d(x, f, up=2, padding=[2, 1, 2, 1], **how), usual(x, f, up=2, padding=(2, 1, 2, 1)), [x]
    )
    compare(mmcv.upsample2d(x, f, **how), usual(x, f, up=2, padding=(2, 1, 2, 1), gain=4), [x])
    compare(mmcv.filter2d(x, f, **how), usual(x, f, padding=(2, 1, 2, 1)), [x])
    compare(mmcv.bias_act(x, b, act="tanh", gain=2, **how), 2 * torch.tanh(x + b.view(3, 1, 1)), [x, b])


def test_unknown_implementation() -> None:
    with pytest.raises(ValueError, match="impl must be 'cuda' or 'ref', but is 'cpu'"):
        stylegan3.bias_act.bias_act(torch.ones(1, 1), impl="cpu")
