"""Known answers; that compiled programs agree is tested in test_check.py and by `scaling check-parallel`."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.config import DataConfig, Experts, RunConfig, SpanCorruption, TransformerConfig
from scaling.counts import params
from scaling.parallel.layout import Layout
from scaling.parallel.traffic import Line, Traffic, expected

DIM, LAYERS, POSITIONS, BATCH, VOCAB = 16, 4, 8, 16, 272
MODEL = TransformerConfig(vocab=VOCAB, dim=DIM, layers=LAYERS, heads=4, kv_heads=2, context=POSITIONS, mlp_dim=32)
DATA = DataConfig(vocab=VOCAB)
RUN = RunConfig(model=MODEL, data=DATA, tokens=BATCH * POSITIONS, batch=BATCH)
MIXTURE = replace(RUN, model=replace(MODEL, moe=Experts(experts=4, active=2)))
SOURCE = SpanCorruption(text=16)
VECTORS = (2 * LAYERS + 1) * DIM  # elements of norms
MATRICES = params(MODEL).total - VECTORS
ROWS = BATCH * POSITIONS * DIM  # elements of the whole batch's activations


def of(traffic, what):
    """{(kind, axes): bytes} of the lines of one name."""
    found = [line for line in traffic.lines if line.what == what]
    keys = dict.fromkeys((line.kind, line.axes) for line in found)
    return {key: sum(line.bytes for line in found if (line.kind, line.axes) == key) for key in keys}


def test_one_device_sends_nothing():
    assert expected(RUN, Layout(microbatches=4)).lines == ()


def test_copies_sum_their_gradients_once_whatever_the_microbatches():
    for microbatches in (1, 4):
        traffic = expected(RUN, Layout(data=4, microbatches=microbatches))
        assert of(traffic, "gradients") == {("all-reduce", ("data",)): 4 * params(MODEL).total}
        # Loss and norm at least; the sums of constants XLA knows.
        assert traffic.between("all-reduce", ("data",)) == (4 * params(MODEL).total + 8, 4 * params(MODEL).total + 20)


@pytest.mark.parametrize(
    ("layout", "gathers", "scatters"),
    [
        (Layout(fsdp=2, zero=1, microbatches=4), (1, 1), 1),
        (Layout(fsdp=2, zero=2, microbatches=4), (1, 1), 4),
        (Layout(fsdp=2, zero=3, microbatches=4), (8, 4), 4),  # layers forward and backward, the embedding once
        (Layout(fsdp=2, zero=3, pipe=2, microbatches=4), (0.5, 0.5), 0.5),
    ],
)
def test_weights_are_gathered_and_gradients_scattered_as_the_zero_stage_says(layout, gathers, scatters):
    traffic, (of_layers, of_table), table = expected(RUN, layout), gathers, VOCAB * DIM
    gathered = 4 * (of_layers * (MATRICES - table) + of_table * table)
    assert of(traffic, "weights") == {("all-gather", ("fsdp",)): gathered}
    assert of(traffic, "gradients of weights") == {("reduce-scatter", ("fsdp",)): scatters * 4 * MATRICES}
    summed = of(traffic, "gradients")
    assert summed[("all-reduce", ("fsdp",) if layout.pipe == 1 else ("fsdp", "pipe"))] > 0


@pytest.mark.parametrize("remat", ["none", "block"])
def test_layers_are_gathered_again_for_the_backward_pass_and_what_lies_beside_them_is_not(remat):
    once, again = (expected(RUN, Layout(fsdp=2, remat=remat, zero=zero)) for zero in (2, 3))
    table = VOCAB * DIM
    key = ("all-gather", ("fsdp",))
    assert of(again, "weights")[key] == 2 * of(once, "weights")[key] - 4 * table


def test_tensor_parallelism_gathers_and_scatters_rows_around_every_branch():
    traffic = expected(RUN, Layout(tensor=2))
    branches = 2 * LAYERS
    for kind in ("all-gather", "reduce-scatter"):
        assert of(traffic, "rows of branches")[(kind, ("tensor",))] == 2 * branches * 4 * ROWS  # forward, backward
        assert of(traffic, "rows of the embedding")[(kind, ("tensor",))] == 4 * ROWS
        assert of(traffic, "states")[(kind, ("tensor",))] == 4 * ROWS
    assert of(traffic, "softmax") == {("all-reduce", ("tensor",)): 4 * 4 * BATCH * POSITIONS}


def test_lower_precision_halves_activations_and_gathered_weights_but_no_gradients():
    layout = Layout(fsdp=2, tensor=2)
    wide, narrow = expected(RUN, layout), expected(replace(RUN, precision="bfloat16"), layout)
    halved = {"weights", "rows of branches", "rows of the embedding", "states"}
    for what in {line.what for line in wide.lines}:
        for key, size in of(wide, what).items():
            assert of(narrow, what)[key] == (size // 2 if what in halved else size), what


@pytest.mark.parametrize(("repeats", "ticks"), [(1, 5), (2, 9)])
def test_a_pipeline_passes_a_microbatch_on_at_every_tick_forward_and_back(repeats, ticks):
    traffic = expected(RUN, Layout(pipe=2, repeats=repeats, microbatches=4))
    (line,) = [line for line in traffic.lines if line.kind == "collective-permute"]
    assert (line.axes, line.payload_bytes, line.times) == (("pipe",), 4 * ROWS // 4, 2 * ticks)


def test_keys_and_values_visit_all_other_shards_and_gradients_come_back_in_float32():
    layout = Layout(context=4)
    elements = BATCH * POSITIONS // 4 * 2 * 4  # of a shard's keys: two heads of four
    keys, gradients = (
        of(expected(replace(RUN, precision="bfloat16"), layout), what)[("collective-permute", ("context",))]
        for what in ("keys and values", "gradients of keys and values")
    )
    assert keys == LAYERS * 2 * 2 * 3 * 2 * elements  # forward and back, two bytes each
    assert gradients == LAYERS * 2 * 3 * 4 * elements


def test_rows_travel_to_experts_and_back_in_buffers_that_hold_all_visits():
    traffic = expected(MIXTURE, Layout(expert=2))
    slots = 2 * (BATCH // 2 * POSITIONS) * 2  # for each of two devices every token's two visits
    key = ("all-to-all", ("expert",))
    assert of(traffic, "rows of experts") == {key: LAYERS * 4 * slots * DIM * 4}
    assert of(traffic, "numbers of experts") == {key: LAYERS * slots * 4}
    limited = replace(MIXTURE, model=replace(MODEL, moe=Experts(experts=4, active=2, capacity=1.0)))
    # Capacity 1: as many slots as visits, of which half are of experts elsewhere if the load is even.
    assert of(expected(limited, Layout(expert=2)), "rows of experts")[key] == LAYERS * 4 * slots // 2 * DIM * 4


def test_a_decoder_with_a_source_gathers_the_source_once():
    model = replace(MODEL, architecture="encoder_decoder", context=32, encoder_layers=2)
    specials = 12
    run = replace(
        RUN, model=replace(model, vocab=260 + specials), objective=SOURCE, tokens=16 * BATCH,
        data=DataConfig(vocab=260, specials=specials),
    )  # fmt: skip
    found = run.lengths
    each = 4 * BATCH * DIM
    states = of(expected(run, Layout(tensor=2)), "states")
    assert states[("all-gather", ("tensor",))] == each * (found.source + found.positions)
    rows = of(expected(run, Layout(tensor=2)), "rows of branches")[("all-gather", ("tensor",))]
    assert rows == 2 * each * (2 * 2 * found.source + 3 * LAYERS * found.positions)


def test_what_is_sent_adds_up_by_axis():
    traffic = Traffic(
        layout=Layout(data=4, tensor=2),
        lines=(
            Line(what="a", kind="all-reduce", axes=("data",), payload_bytes=100, times=2),
            Line(what="b", kind="all-gather", axes=("tensor",), payload_bytes=100),
            Line(what="c", kind="reduce-scatter", axes=("data", "tensor"), payload_bytes=800),
            Line(what="d", kind="collective-permute", axes=("tensor",), payload_bytes=10, times=3),
        ),
    )
    assert traffic.sent_bytes("data") == 2 * 100 * 2 * 3 / 4
    assert traffic.sent_bytes("tensor") == 100 / 2 + 30
    assert traffic.sent_bytes("data", "tensor") == 800 * 7 / 8
    assert traffic.sent_bytes() == 300 + 80 + 700
    assert traffic.by_axis() == {"data": 300 + 700, "tensor": 80}


def test_planning_it_needs_no_jax():
    code = "import sys, scaling.parallel.traffic, scaling.parallel.tiny; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
