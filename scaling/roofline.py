"""What a run will cost before it is paid for: time, memory, energy, money and CO2.

A step does arithmetic, moves bytes to and from memory and, on several devices,
sums gradients over the links. If all three overlapped perfectly it would take
as long as the slowest, if nothing overlapped as long as their sum: the truth
lies between the two, given the share of the peak that products reach.
Launch overheads, input and evaluation are left out.
"""

from dataclasses import dataclass, replace

from scaling.config import RunConfig
from scaling.counts import Causal, params, state_bytes, train_flops, training_memory
from scaling.hardware import Hardware

GRID_KG_CO2_PER_KWH = 0.48  # world mean of 2023, Ember's Global Electricity Review 2024

# Of one kept activation: written and read going forward; read going backward,
# where its gradient is written, and read by two products.
ACTIVATION_PASSES = 6


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one run will take; a branch's figures leave out the trunk, which is paid for in its own run.

    hours, energy, money and CO2 are those of the slow bound: at most this,
    if the efficiency is right.
    """

    tokens: int  # that this run trains on itself
    steps: int
    flops: float  # exact convention
    math_seconds: float  # a step
    memory_seconds: float
    communication_seconds: float
    step_seconds_low: float  # everything overlaps: the slowest of the three
    step_seconds_high: float  # nothing overlaps: their sum
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
    devices: int = 1,
    microbatches: int = 1,
    causal: Causal = "full",
    efficiency: float | None = None,
    watts: float | None = None,
    dollars_per_hour: float | None = None,
    kg_co2_per_kwh: float = GRID_KG_CO2_PER_KWH,
) -> Prediction:
    """Time, memory and price of one run on `devices` devices that share its batch.

    Parameters are held whole on every device and gradients summed over a
    ring. None takes the hardware's figure. Raises ValueError when the batch
    cannot be cut into devices * microbatches equal parts.
    """
    given = {"efficiency": efficiency, "watts": watts, "dollars_per_hour": dollars_per_hour}
    hardware = replace(hardware, **{name: value for name, value in given.items() if value is not None})
    memory = training_memory(
        run.model,
        run.objective,
        sequences=_sequences(run, devices, microbatches),
        precision=run.precision,
        microbatches=microbatches,
        fused_attention=hardware.fused_attention,
    )
    flops_step = train_flops(run.model, run.batch_tokens, run.objective, causal=causal).exact
    math = flops_step / (devices * hardware.efficiency * hardware.peak_flops(run.precision))
    traffic = _state_traffic(run, microbatches) + ACTIVATION_PASSES * memory.activations * microbatches
    moving = traffic / hardware.memory_bandwidth
    summing = (
        _ring_bytes(4 * params(run.model, run.objective).total, devices) / hardware.link_bandwidth
    )  # gradients are float32
    low, high = max(math, moving, summing), math + moving + summing
    tokens = run.tokens - (run.trunk.tokens if run.trunk else 0)
    steps = tokens // run.batch_tokens
    device_hours = devices * steps * high / 3600
    energy = device_hours * hardware.watts / 1000
    return Prediction(
        tokens=tokens,
        steps=steps,
        flops=steps * flops_step,
        math_seconds=math,
        memory_seconds=moving,
        communication_seconds=summing,
        step_seconds_low=low,
        step_seconds_high=high,
        memory_bytes=memory.total,
        fits=memory.total <= hardware.memory_bytes,
        hours_low=steps * low / 3600,
        hours=steps * high / 3600,
        energy_kwh=energy,
        dollars=device_hours * hardware.dollars_per_hour,
        kg_co2=energy * kg_co2_per_kwh,
    )


def _sequences(run: RunConfig, devices: int, microbatches: int) -> int:
    """Sequences that one device holds at a time."""
    for name, value in (("devices", devices), ("microbatches", microbatches)):
        if value < 1:
            raise ValueError(f"predict: {name}={value}; at least one is needed")
    parts = devices * microbatches
    if run.batch % parts:
        raise ValueError(
            f"predict: a batch of {run.batch} sequences cannot be cut into {devices} devices * {microbatches} "
            f"microbatches = {parts} equal parts; choose a batch that is a multiple of {parts}"
        )
    return run.batch // parts


def _ring_bytes(size: float, devices: int) -> float:
    """Bytes each device sends to sum `size` bytes over a ring: 2 (n - 1) / n of them.

    n - 1 steps scatter the sums, n - 1 gather them, each of size / n
    (Patarasuk & Yuan 2009).
    """
    return 2 * (devices - 1) / devices * size


def _state_traffic(run: RunConfig, microbatches: int) -> float:
    """Bytes of weights, gradients and moments that one step reads and writes on a device."""
    state = state_bytes(run.precision, microbatches=microbatches)
    compute = state.copy or state.params
    each_microbatch = 2 * compute + state.gradients + 2 * state.accumulator  # weights forward and backward
    update = state.gradients + 2 * (state.params + state.optimizer) + state.copy
    return params(run.model, run.objective).total * float(microbatches * each_microbatch + update)
