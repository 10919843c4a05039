"""What one run will cost before it is paid for: time, memory, energy, money and CO2.

A step does arithmetic, moves bytes to and from memory and, on several devices,
sends bytes over their links. If all three overlapped perfectly it would take
as long as the slowest, if nothing overlapped as long as their sum: the truth
lies between the two, given the share of the peak that products reach.
Launch overheads, latencies, input and evaluation are left out.
"""

from dataclasses import dataclass, replace
from functools import cache

from scaling.config import ModelConfig, ObjectiveConfig, RunConfig
from scaling.config.placement import AXES
from scaling.config.precision import eight_bits
from scaling.counts import TRAIN_PASSES, Causal, passing_bytes, state_bytes, train_flops, training_memory
from scaling.counts.divided import share
from scaling.counts.work import work
from scaling.hardware import Hardware
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.traffic import expected

GRID_KG_CO2_PER_KWH = 0.48  # world mean of 2023, Ember's Global Electricity Review 2024

# Of one kept activation: written and read going forward; read going backward,
# where its gradient is written, and read by two products.
ACTIVATION_PASSES = 6


# What goes over these axes can go over the links of all devices of a node at once.
_IN_RINGS = ("data", "fsdp", "tensor")


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """What one step takes on each device of a layout."""

    flops: float  # of all devices, exact convention
    math_seconds: float  # with what is computed again, and with the pipeline's bubble
    memory_seconds: float
    axis_bytes: dict[str, float]  # sent by a device over each mesh axis
    axis_seconds: dict[str, float]
    bubble: float  # share of a pipeline's schedule in which a stage is idle
    memory_bytes: int  # per device

    @property
    def communication_seconds(self) -> float:
        return sum(self.axis_seconds.values())

    @property
    def low(self) -> float:
        """Everything overlaps: the slowest of the three."""
        return max(self.math_seconds, self.memory_seconds, self.communication_seconds)

    @property
    def high(self) -> float:
        """Nothing overlaps: their sum."""
        return self.math_seconds + self.memory_seconds + self.communication_seconds

    @property
    def bound_by(self) -> str:
        """What takes longest: "math", "memory", or the mesh axis that takes most of the communication."""
        if self.communication_seconds > max(self.math_seconds, self.memory_seconds):
            return max(self.axis_seconds, key=self.axis_seconds.__getitem__)
        return "math" if self.math_seconds >= self.memory_seconds else "memory"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one run will take; a branch's figures leave out the trunk, which is paid for in its own run.

    hours, energy, money and CO2 are those of the slow bound: at most this,
    if the efficiency is right. The figures of a step are explained in `StepTime`.
    """

    tokens: int  # that this run trains on itself
    steps: int
    flops: float  # exact convention
    math_seconds: float  # a step
    memory_seconds: float
    communication_seconds: float
    axis_bytes: dict[str, float]
    axis_seconds: dict[str, float]
    bubble: float
    bound_by: str
    step_seconds_low: float
    step_seconds_high: float
    memory_bytes: int  # per device
    fits: bool  # memory_bytes within the device's
    hours_low: float  # on all devices together, from start to end
    hours: float
    energy_kwh: float
    dollars: float
    kg_co2: float


def predict(
    run: RunConfig,
    hardware: Hardware,
    *,
    layout: Layout = ALONE,
    step: StepTime | None = None,
    causal: Causal = "full",
    efficiency: float | None = None,
    watts: float | None = None,
    dollars_per_hour: float | None = None,
    kg_co2_per_kwh: float = GRID_KG_CO2_PER_KWH,
) -> Prediction:
    """Time, memory and price of one run on the devices of a layout.

    None takes the hardware's figure. step: what `step_time` says of these,
    where it is known already. Raises ValueError when the batch cannot be cut
    into equal parts.
    """
    given = {"efficiency": efficiency, "watts": watts, "dollars_per_hour": dollars_per_hour}
    changes = {name: value for name, value in given.items() if value is not None}
    hardware = replace(hardware, **changes) if changes else hardware
    step = step or step_time(run, hardware, layout, causal=causal)
    tokens = run.tokens - (run.trunk.tokens if run.trunk else 0)
    steps = tokens // run.batch_tokens
    device_hours = layout.devices * steps * step.high / 3600
    energy = device_hours * hardware.watts / 1000
    return Prediction(
        tokens=tokens,
        steps=steps,
        flops=steps * step.flops,
        math_seconds=step.math_seconds,
        memory_seconds=step.memory_seconds,
        communication_seconds=step.communication_seconds,
        axis_bytes=step.axis_bytes,
        axis_seconds=step.axis_seconds,
        bubble=step.bubble,
        bound_by=step.bound_by,
        step_seconds_low=step.low,
        step_seconds_high=step.high,
        memory_bytes=step.memory_bytes,
        fits=step.memory_bytes <= hardware.memory_bytes,
        hours_low=steps * step.low / 3600,
        hours=steps * step.high / 3600,
        energy_kwh=energy,
        dollars=device_hours * hardware.dollars_per_hour,
        kg_co2=energy * kg_co2_per_kwh,
    )


def step_time(run: RunConfig, hardware: Hardware, layout: Layout, *, causal: Causal = "full") -> StepTime:
    """One step on a layout's devices. Raises ValueError when the batch cannot be cut into equal parts."""
    sequences = _sequences(run, layout)
    memory = training_memory(
        run.model,
        run.objective,
        sequences=sequences,
        precision=run.precision,
        fused_attention=hardware.fused_attention,
        layout=layout,
    )
    flops = train_flops(run.model, run.batch_tokens, run.objective, causal=causal).exact
    again = (layout.forward_passes - 1) * _body_share(run.model, run.objective) / TRAIN_PASSES
    peak = layout.devices * hardware.efficiency * hardware.peak_flops(run.precision)
    sent = expected(run, layout).by_axis()
    return StepTime(
        flops=flops,
        math_seconds=flops * (1 + again) * _of_eight_bits(run, hardware) / peak / (1 - layout.bubble),
        memory_seconds=_moved_bytes(run, sequences, hardware.fused_attention, layout) / hardware.memory_bandwidth,
        axis_bytes=sent,
        axis_seconds={axis: size / axis_bandwidth(hardware, layout, axis) for axis, size in sent.items()},
        bubble=layout.bubble,
        memory_bytes=memory.total,
    )


def axis_bandwidth(hardware: Hardware, layout: Layout, axis: str) -> float:
    """Bytes/s that a device sends over a mesh axis, the last axes lying closest together.

    An axis within a node has its links. One that leaves it has the network:
    k devices of the axis in a node send k parts of a gathered or summed array
    out of it at once, so each is as fast as k of them, up to the links. Whole
    pieces for a neighbour or for everybody have one device's.
    """
    within = layout.ways(*AXES[AXES.index(axis) + 1 :])
    if within * layout.ways(axis) <= hardware.devices_per_node:
        return hardware.link_bandwidth
    together = max(1, hardware.devices_per_node // within) if axis in _IN_RINGS else 1
    return min(hardware.link_bandwidth, together * hardware.network_bandwidth)


@cache
def _body_share(model: ModelConfig, objective: ObjectiveConfig) -> float:
    """Share of the layers in the forward work: what is computed again where anything is."""
    done = work(model, objective, "full")
    body = done.products + done.scores
    return body / (body + done.logits) if body else 0.0


def _of_eight_bits(run: RunConfig, hardware: Hardware) -> float:
    """Time of a step's arithmetic where some of it is in 8 bits, over what it takes in bfloat16.

    Of the three products of a linear map the weights' gradient stays wide (`models.eight_bits`).
    """
    bits = eight_bits(run.precision)
    if bits is None:
        return 1.0
    done = work(run.model, run.objective, "full")
    share = 2 / TRAIN_PASSES * done.linear / (done.products + done.scores + done.logits)
    return 1 - share + share / hardware.eight_bit_gain(bits)


def _sequences(run: RunConfig, layout: Layout) -> int:
    """Sequences that one device holds at a time."""
    parts = layout.batch_ways * layout.microbatches
    if run.batch % parts:
        raise ValueError(
            f"predict: a batch of {run.batch} sequences cannot be cut into {layout.batch_ways} devices * "
            f"{layout.microbatches} microbatches = {parts} equal parts; choose a batch that is a multiple of {parts}"
        )
    return run.batch // parts


def _moved_bytes(run: RunConfig, sequences: int, fused: bool, layout: Layout) -> float:
    """Bytes that one step reads and writes on a device: weights, gradients and moments, and activations."""
    own, accumulates = share(run.model, run.objective, layout), layout.microbatches > 1 and layout.pipe == 1
    state = state_bytes(run.precision, microbatches=layout.microbatches if accumulates else 1)
    passes = layout.ticks / layout.repeats if layout.pipe > 1 else layout.microbatches
    each_pass = own.whole * (2 * (state.copy or state.params) + state.gradients)  # weights forward and backward
    summed = own.held * 2 * state.accumulator
    update = own.held * (state.gradients + 2 * (state.params + state.optimizer) + state.copy)
    passing = passing_bytes(
        run.model,
        run.objective,
        sequences=sequences,
        precision=run.precision,
        fused_attention=fused,
        layout=layout,
    )
    written_again = 2 * (layout.forward_passes - 1)  # and read
    activations = (ACTIVATION_PASSES + written_again) * passing * layout.microbatches
    return passes * (each_pass + summed) + update + activations
