"""Layouts: sizes that multiply to the devices, and refusals that name the nearest valid choice."""

from dataclasses import replace

import pytest

from scaling.config import DataConfig, Experts, Placement, RecurrentConfig, RunConfig, TransformerConfig
from scaling.parallel.layout import Layout, layout_of

MODEL = TransformerConfig(vocab=512, dim=32, layers=4, heads=4, context=32)
RUN = RunConfig(model=MODEL, data=DataConfig(vocab=512), tokens=16 * 32 * 4, batch=16)


def with_model(**options: object) -> RunConfig:
    return replace(RUN, model=replace(MODEL, **options))


def test_data_takes_the_devices_that_the_other_axes_leave():
    assert layout_of(RUN, Placement(), 8) == Layout(data=8)
    assert layout_of(RUN, Placement(fsdp=2, tensor=2), 8) == Layout(data=2, fsdp=2, tensor=2)
    assert layout_of(RUN, Placement(), 1) == Layout()


def test_axes_are_those_that_divide_anything_in_mesh_order():
    assert Layout(tensor=2, data=4).axes == ("data", "tensor")
    assert Layout(tensor=2, data=4).devices == 8


@pytest.mark.parametrize(
    ("run", "placement", "devices", "message"),
    [
        (RUN, Placement(data=3), 8, r"data=3 = 3, but there are 8 devices; with data=8"),
        (RUN, Placement(tensor=3), 8, r"tensor=3 = 6, but there are 8 devices; tensor=(2|4) would divide"),
        (
            replace(RUN, batch=4, tokens=4 * 32),
            Placement(),
            8,
            r"batch=4 cannot be cut into 8 equal parts.*nearest batch is 8",
        ),
        (RUN, Placement(microbatches=3, data=1), 1, r"batch=16 cannot be cut into 3.*nearest microbatches .* is 2"),
        (RUN, Placement(tensor=8), 8, r"tensor=8 does not divide model.heads=4; the nearest that does is tensor=4"),
        (with_model(kv_heads=2), Placement(tensor=4), 8, r"does not divide model.kv_heads=2; .* tensor=2"),
        (with_model(mlp_dim=30), Placement(tensor=4), 8, r"does not divide model.mlp_dim=30"),
        (
            RUN,
            Placement(pipe=8, microbatches=8),
            8,
            r"pipe=8 \* repeats=1: 4 layers of the decoder .* pipe=4, or 8 layers",
        ),
        (
            with_model(window=8, global_every=2, layers=6),
            Placement(pipe=2),
            8,
            r"6 layers of 2 kinds in turn .* pipe=(1|3), or 4 or 8 layers",
        ),
        (RUN, Placement(pipe=2, repeats=2), 8, r"microbatches=1 with pipe=2, repeats=2: .* set microbatches=2"),
        (with_model(moe=Experts(experts=6)), Placement(expert=4), 8, r"expert=4 does not divide model.moe.experts=6"),
        (RUN, Placement(expert=2), 8, r"expert=2, but the model has no experts .* data=8"),
        (
            replace(RUN, model=replace(MODEL, context=36), tokens=16 * 36),
            Placement(context=8),
            8,
            r"sequence of 36 positions is no multiple of 2 \* context = 16; the nearest are 32 and 48",
        ),
        (
            replace(RUN, model=RecurrentConfig(vocab=512, dim=32, layers=1, context=32)),
            Placement(tensor=2),
            8,
            r"tensor=2: model kind 'recurrent' is trained with the data axis only; set tensor=1",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_nearest_that_can(run, placement, devices, message):
    with pytest.raises(ValueError, match=message):
        layout_of(run, placement, devices)


def test_a_vocabulary_that_cannot_be_shared_names_the_nearest():
    run = replace(RUN, model=replace(MODEL, vocab=511), data=DataConfig(vocab=511))
    with pytest.raises(ValueError, match=r"does not divide model.vocab=511; the nearest vocabulary is 512"):
        layout_of(run, Placement(tensor=4), 8)


@pytest.mark.parametrize("axis", ["fsdp", "expert", "pipe", "context", "tensor", "microbatches"])
def test_sizes_must_be_positive(axis):
    with pytest.raises(ValueError, match=f"Placement.{axis}=0: must be positive"):
        Placement(**{axis: 0})


def test_repeats_need_stages():
    with pytest.raises(ValueError, match="repeats=2 with pipe=1"):
        Placement(repeats=2)
