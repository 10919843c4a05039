"""Bytes sent a step over each axis: known answers by hand, and what must not change them."""

from dataclasses import replace
from functools import partial

import pytest

from scaling.config import DataConfig, Experts, Prefix, RecurrentConfig, RunConfig, TransformerConfig, lengths
from scaling.counts import params
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.traffic import expected

MODEL = TransformerConfig(vocab=512, dim=64, layers=4, heads=4, context=32)
RUN = RunConfig(model=MODEL, data=DataConfig(vocab=512), tokens=16 * 32 * 4, batch=16)
TOKENS = 16 * 32
PARAMS, VECTORS = params(MODEL).total, 9 * 64  # two norms a layer and the last

# By hand only what is large: beside it are the loss and the norm, and over an axis some numbers a token, of 64 wide.
about = partial(pytest.approx, rel=0.015)


def sent(layout: Layout, run: RunConfig = RUN) -> dict[str, float]:
    return expected(run, layout).by_axis()


def test_one_device_sends_nothing():
    assert sent(ALONE) == {}


def test_copies_sum_their_gradients_in_float32():
    assert sent(Layout(data=4)) == {"data": about(2 * 3 / 4 * 4 * PARAMS)}
    other = replace(RUN, model=RecurrentConfig(vocab=512, dim=16, layers=1, context=32))
    assert sent(Layout(data=4), other) == {"data": about(2 * 3 / 4 * 4 * params(other.model).total)}


TABLE = 512 * 64


@pytest.mark.parametrize(
    ("layout", "gathered", "scattered"),
    [
        (Layout(fsdp=4), 2, 1),  # layers forward and backward, the embedding once
        (Layout(fsdp=4, microbatches=2), 4, 2),
        (Layout(fsdp=4, zero=2, microbatches=2), 1, 2),
        (Layout(fsdp=4, zero=1, microbatches=2), 1, 1),
    ],
)
def test_fsdp_gathers_weights_and_scatters_gradients(layout, gathered, scattered):
    of_layers, of_table = gathered + scattered, (gathered if layout.zero < 3 else gathered / 2) + scattered
    expected = 3 / 4 * 4 * (of_layers * (PARAMS - VECTORS - TABLE) + of_table * TABLE) + 2 * 3 / 4 * 4 * VECTORS
    assert sent(layout)["fsdp"] == about(expected)


def test_weights_are_gathered_in_the_precision_of_the_compute():
    wide, narrow = (sent(Layout(fsdp=4), replace(RUN, precision=kind))["fsdp"] for kind in ("float32", "bfloat16"))
    assert wide - narrow == about(3 / 4 * 2 * (2 * (PARAMS - VECTORS) - TABLE))


def test_tensor_gathers_and_scatters_the_tokens_of_every_branch_and_of_the_ends():
    # A gather and a scatter for each of two branches, and around the stack; the same backward; sums of vectors.
    expected = 3 / 4 * TOKENS * 64 * 4 * (2 * 2 * (2 * 4) + 4) + 2 * 3 / 4 * 4 * VECTORS
    assert sent(Layout(tensor=4)) == {"tensor": about(expected)}


def test_context_sends_keys_and_values_round_twice_and_their_gradients_once():
    keys = 2 * TOKENS // 4 * 64
    expected = 4 * 3 * keys * (2 * 4 + 4) + 2 * 3 / 4 * 4 * PARAMS
    assert sent(Layout(context=4)) == {"context": about(expected)}
    grouped = sent(Layout(context=4), replace(RUN, model=replace(MODEL, kv_heads=1)))
    assert grouped["context"] < sent(Layout(context=4))["context"]


def test_a_pipeline_hands_on_a_microbatch_at_every_tick_and_back():
    layout = Layout(pipe=2, microbatches=4)
    row = TOKENS // 4 * 64 * 4
    ends = 4 * 2 * 1 / 2 * TOKENS * 64 * 4
    assert sent(layout)["pipe"] == about(2 * 5 * row + ends)
    circular = sent(replace(layout, repeats=2))["pipe"]
    assert circular - sent(layout)["pipe"] == about(2 * 4 * row)


def test_experts_elsewhere_are_sent_every_row_that_could_be_needed():
    run = replace(RUN, model=replace(MODEL, moe=Experts(experts=8, active=2)))
    tokens = TOKENS // 4
    to_and_fro = 4 * 3 / 4 * (4 * 2 * tokens) * 64 * 4  # both ways, forward and backward
    vectors = 2 * 3 / 4 * 4 * (params(run.model).total - 4 * 8 * 3 * 64 * run.model.expert_dim)
    assert sent(Layout(expert=4), run)["expert"] == about(4 * to_and_fro + vectors)
    within = replace(run, model=replace(run.model, moe=Experts(experts=8, active=2, capacity=1.0)))
    assert sent(Layout(expert=4), within)["expert"] < sent(Layout(expert=4), run)["expert"]


def test_a_sum_over_two_axes_is_booked_on_the_slower():
    found = sent(Layout(data=2, context=2))
    assert found["data"] == about(2 * 3 / 4 * 4 * PARAMS)
    assert found["context"] == about(4 * 1 * 2 * TOKENS // 4 * 64 * 12)


def test_a_decoder_with_a_source_sends_more():
    model = replace(MODEL, architecture="encoder_decoder")
    found = lengths(model, Prefix())
    data = DataConfig(vocab=512 - found.specials, specials=found.specials)
    run = RunConfig(model=model, data=data, objective=Prefix(), tokens=16 * found.text, batch=16)
    both = sent(Layout(tensor=2), run)["tensor"]
    rows = 16 * (found.source + found.positions) * 64 * 4
    # Two branches of the encoder, three of the decoder: at least what two of both would send.
    assert both > 1 / 2 * rows * 4 * 2 * 4


def test_a_forward_pass_is_repeated_for_ticks_and_blocks():
    assert [Layout(**options).forward_passes for options in ({}, {"pipe": 2}, {"remat": "block"})] == [1, 2, 2]
    assert Layout(pipe=2, remat="block").forward_passes == 3
