"""Predictions: known answers by hand, the two bounds, and what a branch pays for."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config import DataConfig, RunConfig, TransformerConfig, Trunk
from scaling.counts import params, train_flops, training_memory
from scaling.counts.work import work
from scaling.hardware import HARDWARE, Hardware
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.traffic import expected
from scaling.roofline import ACTIVATION_PASSES, axis_bandwidth, predict, step_time

MODEL = TransformerConfig(vocab=512, dim=64, layers=4, heads=4)
RUN = RunConfig(model=MODEL, data=DataConfig(), tokens=16 * 128 * 50, batch=16)
DEVICE = Hardware(
    name="round",
    float32_flops=1e12,
    bfloat16_flops=4e12,
    int8_gain=2.0,
    float8_gain=1.0,
    memory_bandwidth=1e11,
    memory_bytes=1e9,
    link_bandwidth=1e10,
    devices_per_node=8,
    network_bandwidth=1e9,
    watts=500.0,
    dollars_per_hour=2.0,
    efficiency=0.5,
    fused_attention=False,
)


examples = settings(derandomize=True, deadline=None, max_examples=50)  # the same cases every time


@st.composite
def setups(draw: st.DrawFn) -> tuple[RunConfig, Hardware, dict[str, Layout]]:
    """A run, a device and a way to cut the batch that divides it."""
    devices, microbatches = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([1, 2]))
    batch = devices * microbatches * draw(st.integers(1, 3))
    model = replace(MODEL, dim=4 * 2 * draw(st.integers(1, 40)), layers=draw(st.integers(1, 8)))
    tokens = batch * model.context * draw(st.integers(1, 1000))
    precision = draw(st.sampled_from(["float32", "bfloat16"]))
    run = RunConfig(model=model, data=DataConfig(), tokens=tokens, batch=batch, precision=precision)
    hardware = draw(st.sampled_from(list(HARDWARE.values())))
    return run, hardware, {"layout": Layout(data=devices, microbatches=microbatches)}


def test_a_run_on_round_hardware_is_predicted_as_by_hand():
    found = predict(RUN, DEVICE)
    flops = train_flops(MODEL, 16 * 128).exact
    count = params(MODEL).total
    activations = training_memory(MODEL, sequences=16).activations
    math = flops / 0.5e12
    # A parameter: weights read twice (8), gradient written (4) and read (4), weight and two moments updated (24).
    moving = (40 * count + ACTIVATION_PASSES * activations) / 1e11
    assert found.math_seconds == pytest.approx(math)
    assert found.memory_seconds == pytest.approx(moving)
    assert found.communication_seconds == 0
    assert found.step_seconds_low == max(found.math_seconds, found.memory_seconds)
    assert found.step_seconds_high == pytest.approx(math + moving)
    assert (found.tokens, found.steps, found.flops) == (RUN.tokens, 50, 50 * flops)
    assert found.hours == pytest.approx(50 * (math + moving) / 3600)
    assert found.hours_low == pytest.approx(50 * max(math, moving) / 3600)
    assert found.energy_kwh == pytest.approx(0.5 * found.hours)
    assert found.dollars == pytest.approx(2 * found.hours)
    assert found.kg_co2 == pytest.approx(0.48 * found.energy_kwh)


@examples
@given(setups())
def test_a_step_takes_between_the_slowest_part_and_the_sum_of_all(setup):
    run, hardware, cut = setup
    found = predict(run, hardware, **cut)
    parts = (found.math_seconds, found.memory_seconds, found.communication_seconds)
    assert found.step_seconds_low == max(parts) > 0
    assert found.step_seconds_high == pytest.approx(sum(parts))
    assert found.hours_low <= found.hours <= 3 * found.hours_low * (1 + 1e-12)  # three parts; rounding


@examples
@given(setups())
def test_money_energy_and_co2_are_those_of_all_devices(setup):
    run, hardware, cut = setup
    found = predict(run, hardware, **cut)
    device_hours = found.hours * cut["layout"].devices
    assert found.dollars == pytest.approx(device_hours * hardware.dollars_per_hour)
    assert found.energy_kwh == pytest.approx(device_hours * hardware.watts / 1000)
    assert found.flops == train_flops(run.model, run.tokens).exact


@examples
@given(setups(), st.integers(1, 5))
def test_trunk_and_branch_together_cost_one_run(setup, trunk_steps):
    run, hardware, cut = setup
    run = replace(run, tokens=run.tokens + 5 * run.batch_tokens)
    trunk_tokens = trunk_steps * run.batch_tokens
    trunk = predict(replace(run, tokens=trunk_tokens), hardware, **cut)
    branch = predict(replace(run, trunk=Trunk(run_id="0" * 16, tokens=trunk_tokens)), hardware, **cut)
    whole = predict(run, hardware, **cut)
    assert trunk.steps + branch.steps == whole.steps
    assert trunk.tokens + branch.tokens == whole.tokens
    for quantity in ("flops", "hours", "energy_kwh", "dollars", "kg_co2"):
        assert getattr(trunk, quantity) + getattr(branch, quantity) == pytest.approx(getattr(whole, quantity))
    assert branch.step_seconds_high == whole.step_seconds_high


def test_a_branch_that_leaves_at_its_end_costs_nothing():
    found = predict(replace(RUN, trunk=Trunk(run_id="0" * 16, tokens=RUN.tokens)), DEVICE)
    assert found.steps == found.flops == found.dollars == 0


def test_gradients_are_summed_over_a_ring():
    one, two, eight = (predict(RUN, DEVICE, layout=Layout(data=devices)) for devices in (1, 2, 8))
    gradients = 4 * params(MODEL).total + 5 * 4  # and five single numbers: loss, norm and what is told beside them
    assert one.communication_seconds == 0
    assert two.communication_seconds == pytest.approx(gradients / 1e10)  # 2 (2 - 1) / 2 = 1
    assert eight.communication_seconds == pytest.approx(1.75 * gradients / 1e10)  # 2 (8 - 1) / 8
    assert eight.math_seconds == pytest.approx(one.math_seconds / 8)


def test_more_devices_or_microbatches_hold_fewer_activations_each():
    one, split = predict(RUN, DEVICE), predict(RUN, DEVICE, layout=Layout(data=2, microbatches=4))
    state = 16 * params(MODEL).total
    accumulator = 4 * params(MODEL).total
    assert (one.memory_bytes - state) == 8 * (split.memory_bytes - state - accumulator)


def test_a_model_fits_where_its_memory_does():
    needed = predict(RUN, DEVICE).memory_bytes
    assert predict(RUN, replace(DEVICE, memory_bytes=needed)).fits
    assert not predict(RUN, replace(DEVICE, memory_bytes=needed - 1)).fits
    # 16 to 18 bytes a parameter: 70 billion do not fit into 80 GB.
    large = TransformerConfig(vocab=32000, dim=8192, layers=80, heads=64, context=2048)
    run = RunConfig(model=large, data=DataConfig(vocab=32000), tokens=2048 * 8, batch=8)
    assert not predict(run, HARDWARE["h100-sxm"], layout=Layout(data=8)).fits


def test_arguments_override_the_defaults_of_price_power_grid_and_efficiency():
    base = predict(RUN, DEVICE)
    free = predict(RUN, DEVICE, dollars_per_hour=0.0, watts=1000.0, kg_co2_per_kwh=0.1)
    assert free.dollars == 0
    assert free.energy_kwh == pytest.approx(2 * base.energy_kwh)
    assert free.kg_co2 == pytest.approx(0.1 * free.energy_kwh)
    assert predict(RUN, DEVICE, efficiency=0.25).math_seconds == pytest.approx(2 * base.math_seconds)


def test_half_the_attention_and_lower_precision_take_less_arithmetic():
    base = predict(RUN, DEVICE)
    assert predict(RUN, DEVICE, causal="half").flops < base.flops
    quick = predict(replace(RUN, precision="bfloat16"), DEVICE)
    assert quick.math_seconds == pytest.approx(base.math_seconds / 4)


def test_eight_bits_quicken_two_of_the_three_products_of_linear_maps_where_a_device_has_them():
    wide, rounded, unknown = (
        predict(replace(RUN, precision=precision), DEVICE) for precision in ("bfloat16", "int8", "float8")
    )
    done = work(MODEL, RUN.objective, "full")
    linear = done.linear / (done.products + done.scores + done.logits)
    assert 0.5 < linear < 1
    assert rounded.math_seconds == pytest.approx(wide.math_seconds * (1 - 2 / 3 * linear / 2))
    assert unknown.math_seconds == wide.math_seconds
    assert rounded.memory_bytes == wide.memory_bytes  # activations and weights are kept in bfloat16


def test_fused_attention_moves_and_holds_less():
    base, fused = predict(RUN, DEVICE), predict(RUN, replace(DEVICE, fused_attention=True))
    assert fused.memory_bytes < base.memory_bytes
    assert fused.memory_seconds < base.memory_seconds
    assert fused.math_seconds == base.math_seconds


def test_gpt2_on_eight_h100_takes_minutes_for_a_billion_tokens():
    gpt2 = TransformerConfig(vocab=50257, dim=768, layers=12, heads=12, context=1024, activation="gelu")
    steps = 2000  # of half a million tokens
    run = RunConfig(
        model=gpt2, data=DataConfig(vocab=50257), tokens=steps * 512 * 1024, batch=512, precision="bfloat16"
    )
    found = predict(run, HARDWARE["h100-sxm"], layout=Layout(data=8, microbatches=2))
    assert found.fits
    # 9e17 FLOPs at half of 8 PFLOP/s take 4 minutes; nothing overlapping, less than twice that.
    assert 3 / 60 < found.hours_low < found.hours < 8 / 60


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(
        ValueError, match=r"16 sequences cannot be cut into 3 devices \* 2 microbatches = 6 equal parts"
    ):
        predict(RUN, DEVICE, layout=Layout(data=3, microbatches=2))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01])
def test_an_efficiency_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match=f"efficiency={share}; give a share"):
        predict(RUN, DEVICE, efficiency=share)


BIG = TransformerConfig(vocab=32000, dim=4096, layers=32, heads=32, context=2048)
BIG_RUN = RunConfig(model=BIG, data=DataConfig(vocab=32000), tokens=2048 * 512, batch=512, precision="bfloat16")
H100 = HARDWARE["h100-sxm"]


def test_one_device_sends_nothing_and_is_bound_by_math_or_memory():
    found = predict(RUN, DEVICE)
    assert found.axis_bytes == {} and found.communication_seconds == found.bubble == 0
    assert predict(RUN, replace(DEVICE, memory_bandwidth=1e15)).bound_by == "math"
    assert predict(RUN, replace(DEVICE, memory_bandwidth=1.0)).bound_by == "memory"


def test_a_bubble_lengthens_the_arithmetic_and_microbatches_shrink_it():
    few, many = (step_time(BIG_RUN, H100, Layout(pipe=4, microbatches=parts)) for parts in (4, 16))
    assert few.bubble == pytest.approx(3 / 7) and many.bubble == pytest.approx(3 / 19)
    assert few.math_seconds * (1 - few.bubble) == pytest.approx(many.math_seconds * (1 - many.bubble))


def test_what_is_computed_again_takes_up_to_a_third_more_arithmetic():
    plain, again = (step_time(BIG_RUN, H100, Layout(fsdp=8, remat=remat)) for remat in ("none", "block"))
    # One forward pass of three, of the layers alone: the head is 2% of this model.
    assert 1.31 < again.math_seconds / plain.math_seconds < 4 / 3
    assert again.flops == plain.flops
    assert again.memory_bytes < plain.memory_bytes


def test_the_axis_that_sends_longest_bounds_a_step_on_slow_links():
    slow = replace(H100, link_bandwidth=1e6)
    layout = Layout(data=2, tensor=4)
    found = step_time(BIG_RUN, slow, layout)
    sent = expected(BIG_RUN, layout).by_axis()
    assert found.bound_by == max(sent, key=sent.get) == "tensor"
    assert found.communication_seconds == pytest.approx(sum(sent.values()) / 1e6)
    assert found.low == found.communication_seconds
    assert found.high == pytest.approx(found.math_seconds + found.memory_seconds + found.communication_seconds)


@pytest.mark.parametrize(
    ("layout", "axis", "bandwidth"),
    [
        (Layout(tensor=8), "tensor", 450e9),
        (Layout(fsdp=8, tensor=8), "tensor", 450e9),
        (Layout(fsdp=8, tensor=8), "fsdp", 50e9),  # one of a node's devices in each ring
        (Layout(fsdp=8, tensor=2), "fsdp", 200e9),  # four of them
        (Layout(fsdp=64), "fsdp", 400e9),  # all eight, each with a network card of its own
        (Layout(pipe=8, tensor=4), "pipe", 50e9),  # what goes to a neighbour goes over one
    ],
)
def test_an_axis_that_leaves_a_node_has_the_network(layout, axis, bandwidth):
    assert axis_bandwidth(H100, layout, axis) == bandwidth


def test_a_seven_billion_model_fits_eight_gpus_only_divided():
    copies, divided = (
        predict(BIG_RUN, H100, layout=layout)
        for layout in (Layout(data=8, microbatches=64), Layout(fsdp=8, remat="block", microbatches=8))
    )
    assert not copies.fits
    assert divided.fits
    assert divided.memory_bytes < copies.memory_bytes / 2


def test_dividing_a_step_over_devices_keeps_its_flops_and_divides_its_arithmetic():
    alone = step_time(BIG_RUN, H100, ALONE)
    for layout in (Layout(data=8), Layout(fsdp=8), Layout(tensor=8), Layout(context=8)):
        found = step_time(BIG_RUN, H100, layout)
        assert found.flops == alone.flops
        assert found.math_seconds == pytest.approx(alone.math_seconds / 8)
