"""What a run will cost before it is paid for: time, memory, energy, money and CO2.

A step does arithmetic, moves bytes to and from memory and, on several devices,
sums gradients over the links. If all three overlapped perfectly it would take
as long as the slowest, if nothing overlapped as long as their sum: the truth
lies between the two, given the share of the peak that products reach.
Launch overheads, input and evaluation are left out.
"""

from dataclasses import dataclass, replace

from scaling.config import RunConfig
from scaling.counts import Causal, Precision, params, state_bytes, train_flops, training_memory

GRID_KG_CO2_PER_KWH = 0.48  # world mean of 2023, Ember's Global Electricity Review 2024

# Of one kept activation: written and read going forward; read going backward,
# where its gradient is written, and read by two products.
ACTIVATION_PASSES = 6


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One device: what it can do, draws and costs."""

    name: str
    float32_flops: float  # peak FLOP/s of matrix products with float32 inputs, as jax multiplies them by default
    bfloat16_flops: float  # peak FLOP/s with bfloat16 inputs, dense
    memory_bandwidth: float  # bytes/s
    memory_bytes: float
    link_bandwidth: float  # bytes/s, to the other devices, in one direction
    watts: float  # of the device at work, without host and cooling
    dollars_per_hour: float
    efficiency: float  # share of the peak that a training step's products reach
    fused_attention: bool  # scores never reach memory

    def __post_init__(self) -> None:
        for name in ("float32_flops", "bfloat16_flops", "memory_bandwidth", "memory_bytes", "link_bandwidth"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Hardware {self.name!r}: {name}={getattr(self, name)}; give a positive number")
        for name in ("watts", "dollars_per_hour"):
            if getattr(self, name) < 0:
                raise ValueError(f"Hardware {self.name!r}: {name}={getattr(self, name)}; give zero or more")
        if not 0 < self.efficiency <= 1:
            raise ValueError(f"Hardware {self.name!r}: efficiency={self.efficiency}; give a share above 0, at most 1")

    def peak_flops(self, precision: Precision) -> float:
        return {"float32": self.float32_flops, "bfloat16": self.bfloat16_flops}[precision]


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


# Accelerators' rates, memory and watts are the makers' public figures, dense
# (without sparsity). Links are one direction: half of what is printed as
# bidirectional. NVIDIA's float32 is TF32 and the TPU's one bfloat16 pass, as
# jax multiplies float32 by default. Prices are typical list prices on demand
# in 2025-26, and efficiencies usual for large models: both are assumptions.
HARDWARE = {
    device.name: device
    for device in (
        # Measured on one core of a 2-core AMD EPYC virtual machine: 60-80 GFLOP/s for square products;
        # in a whole training step 12-20 at width 32-64, 26 at 128, 43-50 at 256-512. The efficiency is
        # that of the small widths. bfloat16 is taken to be no faster. The other figures are assumptions.
        Hardware(
            name="cpu-core",
            float32_flops=75e9,
            bfloat16_flops=75e9,
            memory_bandwidth=10e9,
            memory_bytes=4e9,
            link_bandwidth=5e9,
            watts=10.0,
            dollars_per_hour=0.05,
            efficiency=0.25,
            fused_attention=False,
        ),
        # NVIDIA A100 data sheet (SXM4, 80 GB): TF32 156, bfloat16 312 TFLOP/s; NVLink 600 GB/s.
        Hardware(
            name="a100-80gb",
            float32_flops=156e12,
            bfloat16_flops=312e12,
            memory_bandwidth=2.039e12,
            memory_bytes=80e9,
            link_bandwidth=300e9,
            watts=400.0,
            dollars_per_hour=2.0,
            efficiency=0.5,
            fused_attention=True,
        ),
        # NVIDIA H100 data sheet (SXM5): TF32 494.7, bfloat16 989.4 TFLOP/s; NVLink 900 GB/s.
        Hardware(
            name="h100-sxm",
            float32_flops=494.7e12,
            bfloat16_flops=989.4e12,
            memory_bandwidth=3.35e12,
            memory_bytes=80e9,
            link_bandwidth=450e9,
            watts=700.0,
            dollars_per_hour=3.0,
            efficiency=0.5,
            fused_attention=True,
        ),
        # NVIDIA H200 data sheet (SXM): an H100 with more and faster memory.
        Hardware(
            name="h200-sxm",
            float32_flops=494.7e12,
            bfloat16_flops=989.4e12,
            memory_bandwidth=4.8e12,
            memory_bytes=141e9,
            link_bandwidth=450e9,
            watts=700.0,
            dollars_per_hour=4.0,
            efficiency=0.5,
            fused_attention=True,
        ),
        # Google Cloud's page on TPU v4: mean 170 W; the link is its all-reduce rate, 1.1 PB/s for 4096 chips.
        Hardware(
            name="tpu-v4",
            float32_flops=275e12,
            bfloat16_flops=275e12,
            memory_bandwidth=1.2e12,
            memory_bytes=32 * 2**30,
            link_bandwidth=268e9,
            watts=170.0,
            dollars_per_hour=3.22,
            efficiency=0.5,
            fused_attention=False,
        ),
        # Google Cloud's page on TPU v5p: links 1200 GB/s bidirectional. Its watts are not published: assumed.
        Hardware(
            name="tpu-v5p",
            float32_flops=459e12,
            bfloat16_flops=459e12,
            memory_bandwidth=2.765e12,
            memory_bytes=95e9,
            link_bandwidth=600e9,
            watts=350.0,
            dollars_per_hour=4.20,
            efficiency=0.5,
            fused_attention=False,
        ),
    )
}


def hardware_of(device_kind: str) -> Hardware | None:
    """The named hardware that JAX's `device_kind` speaks of; None for one not in the table."""
    kinds = {
        "cpu": "cpu-core",
        "NVIDIA A100-SXM4-80GB": "a100-80gb",
        "NVIDIA H100 80GB HBM3": "h100-sxm",
        "NVIDIA H200": "h200-sxm",
        "TPU v4": "tpu-v4",
        "TPU v5p": "tpu-v5p",
        "TPU v5": "tpu-v5p",
    }
    return HARDWARE[kinds[device_kind]] if device_kind in kinds else None


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
