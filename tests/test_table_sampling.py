"""Rows from a trained generator of tables: a recording draws those of passes, to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fastgan import Spans, use_backend
from fastgan.models.ctgan import CTGANGenerator
from fastgan.training.config import Latent
from fastgan.training.recording.table_sampler import RecordedTableSampler
from fastgan.training.table_sampling import BLOCK, BLOCKS, PassSampler, TableSampler, sampler_of
from fastgan.training.table_source import ascending

SPANS = Spans((1, 4, 3, 1, 1, 5, 2), (2, 5, 6))


def generator_of(spans: Spans, hidden: tuple[int, ...] = (40, 24)) -> CTGANGenerator:
    """A generator in evaluation mode, whose batch norms have other numbers than at the beginning."""
    torch.manual_seed(0)
    generator = CTGANGenerator(9, spans, hidden)
    for block in generator.residual_blocks:
        for tensor in (block.norm.running_mean, block.norm.bias.data):
            assert tensor is not None
            nn.init.normal_(tensor)
        for tensor in (block.norm.running_var, block.norm.weight.data):
            assert tensor is not None
            nn.init.uniform_(tensor, 0.5, 2)
    return generator.eval()


def assert_equal(found: TableSampler, expected: TableSampler) -> None:
    for first, blocks in ((0, 3), (BLOCKS, BLOCKS), (0, 1)):
        codes, values = found.draw(first, blocks)
        of_expected = expected.draw(first, blocks)
        assert torch.equal(codes, of_expected[0].int())
        assert torch.equal(values, of_expected[1])
        assert len(codes) == len(values) == blocks * BLOCK


@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize(
    "spans",
    [SPANS, Spans((1, 4, 1)), Spans((2,), (0,)), Spans((1,)), Spans((1, 300, 1, 40), (1, 3))],
    ids=["conditions", "none", "one column", "one value", "wide"],
)
def test_the_rows_of_passes(spans: Spans, latent: Latent) -> None:
    count, cumulative = spans.num_conditions, None
    if count:
        cumulative = ascending(torch.rand(count, dtype=torch.float64))
    arguments = generator_of(spans), latent, cumulative, 7
    found = sampler_of(*arguments)
    assert isinstance(found, RecordedTableSampler)
    assert_equal(found, PassSampler(*arguments))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("hidden", [(300,), (24, 8, 16)])
def test_other_networks_on_any_number_of_threads(hidden: tuple[int, ...], threads: int) -> None:
    arguments = generator_of(SPANS, hidden), "normal", ascending(torch.ones(10, dtype=torch.float64)), 1
    expected, before = PassSampler(*arguments), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert_equal(sampler_of(*arguments), expected)
    finally:
        torch.set_num_threads(before)


def test_conditions_that_have_no_share_never_occur() -> None:
    shares = torch.zeros(10, dtype=torch.float64)
    shares[4] = 1  # the second category of the second column
    generator = generator_of(SPANS)
    with torch.no_grad():  # the condition alone decides about its column
        generator.last.weight[10:15].zero_()
        generator.last.weight[10:15, -7:-2] = 1e4 * torch.eye(5)
    codes, _ = sampler_of(generator, "normal", ascending(shares), 0).draw(0, 2)
    assert set(codes[:, 2].tolist()) == {1}


@pytest.mark.parametrize("change", ["no blocks", "a hook", "training mode", "another backend"])
def test_what_is_not_recorded(change: str) -> None:
    generator = generator_of(SPANS, () if change == "no blocks" else (40, 24))
    if change == "a hook":
        generator.last.register_forward_hook(lambda *_: None)
    elif change == "training mode":
        generator.train()
    with use_backend("reference" if change == "another backend" else "cpu"):
        assert isinstance(sampler_of(generator, "normal", None, 0), PassSampler)
