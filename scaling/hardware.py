"""What devices can do, draw and cost: the table that plans are priced by."""

from dataclasses import dataclass

from scaling.config import Precision
from scaling.config.precision import EightBits, type_of

_POSITIVE = (
    "float32_flops",
    "bfloat16_flops",
    "int8_gain",
    "float8_gain",
    "memory_bandwidth",
    "memory_bytes",
    "link_bandwidth",
    "devices_per_node",
    "network_bandwidth",
)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """One device: what it can do, draws and costs."""

    name: str
    float32_flops: float  # peak FLOP/s of matrix products with float32 inputs, as jax multiplies them by default
    bfloat16_flops: float  # peak FLOP/s with bfloat16 inputs, dense
    int8_gain: float  # how many times faster products of int8 are; 1 where the device has none
    float8_gain: float  # and of float8
    memory_bandwidth: float  # bytes/s
    memory_bytes: float
    link_bandwidth: float  # bytes/s in one direction, to the devices of the same node
    devices_per_node: int  # that these links join: GPUs of a machine, chips of a TPU pod
    network_bandwidth: float  # bytes/s in one direction, of each device, between nodes
    watts: float  # of the device at work, without host and cooling
    dollars_per_hour: float
    efficiency: float  # share of the peak that a training step's products reach
    fused_attention: bool  # scores never reach memory

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"Hardware {self.name!r}: {name}={getattr(self, name)}; give a positive number")
        for name in ("watts", "dollars_per_hour"):
            if getattr(self, name) < 0:
                raise ValueError(f"Hardware {self.name!r}: {name}={getattr(self, name)}; give zero or more")
        if not 0 < self.efficiency <= 1:
            raise ValueError(f"Hardware {self.name!r}: efficiency={self.efficiency}; give a share above 0, at most 1")

    def peak_flops(self, precision: Precision) -> float:
        """Of the products that are computed in the precision's wide type."""
        return {"float32": self.float32_flops, "bfloat16": self.bfloat16_flops}[type_of(precision)]

    def eight_bit_gain(self, bits: EightBits) -> float:
        """How many times faster than in bfloat16 products of 8 bits are."""
        return {"int8": self.int8_gain, "float8": self.float8_gain}[bits]


# Accelerators' rates, memory and watts are the makers' public figures, dense
# (without sparsity). Links are one direction: half of what is printed as
# bidirectional. A node's network is shared by its devices. NVIDIA's float32 is TF32 and the TPU's one bfloat16 pass, as
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
            int8_gain=1.0,
            float8_gain=1.0,
            memory_bandwidth=10e9,
            memory_bytes=4e9,
            link_bandwidth=5e9,
            devices_per_node=64,
            network_bandwidth=1e9,
            watts=10.0,
            dollars_per_hour=0.05,
            efficiency=0.25,
            fused_attention=False,
        ),
        # NVIDIA A100 data sheet (SXM4, 80 GB): TF32 156, bfloat16 312 TFLOP/s; NVLink 600 GB/s.
        # DGX A100 data sheet: 8 GPUs, 200 Gb/s of InfiniBand for each.
        Hardware(
            name="a100-80gb",
            float32_flops=156e12,
            bfloat16_flops=312e12,
            int8_gain=2.0,
            float8_gain=1.0,
            memory_bandwidth=2.039e12,
            memory_bytes=80e9,
            link_bandwidth=300e9,
            devices_per_node=8,
            network_bandwidth=25e9,
            watts=400.0,
            dollars_per_hour=2.0,
            efficiency=0.5,
            fused_attention=True,
        ),
        # NVIDIA H100 data sheet (SXM5): TF32 494.7, bfloat16 989.4 TFLOP/s; NVLink 900 GB/s.
        # DGX H100 data sheet: 8 GPUs, 400 Gb/s of InfiniBand for each.
        Hardware(
            name="h100-sxm",
            float32_flops=494.7e12,
            bfloat16_flops=989.4e12,
            int8_gain=2.0,
            float8_gain=2.0,
            memory_bandwidth=3.35e12,
            memory_bytes=80e9,
            link_bandwidth=450e9,
            devices_per_node=8,
            network_bandwidth=50e9,
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
            int8_gain=2.0,
            float8_gain=2.0,
            memory_bandwidth=4.8e12,
            memory_bytes=141e9,
            link_bandwidth=450e9,
            devices_per_node=8,
            network_bandwidth=50e9,
            watts=700.0,
            dollars_per_hour=4.0,
            efficiency=0.5,
            fused_attention=True,
        ),
        # Google Cloud's page on TPU v4: mean 170 W; the link is its all-reduce rate, 1.1 PB/s for 4096 chips.
        # Its network between pods is taken to be the v5p's.
        Hardware(
            name="tpu-v4",
            float32_flops=275e12,
            bfloat16_flops=275e12,
            int8_gain=1.0,
            float8_gain=1.0,
            memory_bandwidth=1.2e12,
            memory_bytes=32 * 2**30,
            link_bandwidth=268e9,
            devices_per_node=4096,
            network_bandwidth=6.25e9,
            watts=170.0,
            dollars_per_hour=3.22,
            efficiency=0.5,
            fused_attention=False,
        ),
        # Google Cloud's page on TPU v5e: links 400 GB/s bidirectional, pods of 256, 6.4 Tb/s of network a pod.
        # Its watts are not published: assumed.
        Hardware(
            name="tpu-v5e",
            float32_flops=197e12,
            bfloat16_flops=197e12,
            int8_gain=2.0,
            float8_gain=1.0,
            memory_bandwidth=819e9,
            memory_bytes=16e9,
            link_bandwidth=200e9,
            devices_per_node=256,
            network_bandwidth=3.125e9,
            watts=200.0,
            dollars_per_hour=1.20,
            efficiency=0.5,
            fused_attention=False,
        ),
        # Google Cloud's page on TPU v5p: links 1200 GB/s bidirectional, 50 Gb/s of network a chip, pods of 8960.
        # Its watts are not published: assumed.
        Hardware(
            name="tpu-v5p",
            float32_flops=459e12,
            bfloat16_flops=459e12,
            int8_gain=2.0,
            float8_gain=1.0,
            memory_bandwidth=2.765e12,
            memory_bytes=95e9,
            link_bandwidth=600e9,
            devices_per_node=8960,
            network_bandwidth=6.25e9,
            watts=350.0,
            dollars_per_hour=4.20,
            efficiency=0.5,
            fused_attention=False,
        ),
        # Google Cloud's page on TPU v6e: links 800 GB/s bidirectional, pods of 256, 25.6 Tb/s of network a pod.
        # Its watts are not published: assumed.
        Hardware(
            name="tpu-v6e",
            float32_flops=918e12,
            bfloat16_flops=918e12,
            int8_gain=2.0,
            float8_gain=1.0,
            memory_bandwidth=1.638e12,
            memory_bytes=32e9,
            link_bandwidth=400e9,
            devices_per_node=256,
            network_bandwidth=12.5e9,
            watts=300.0,
            dollars_per_hour=2.70,
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
        "TPU v5 lite": "tpu-v5e",
        "TPU v5p": "tpu-v5p",
        "TPU v5": "tpu-v5p",
        "TPU v6 lite": "tpu-v6e",
    }
    return HARDWARE[kinds[device_kind]] if device_kind in kinds else None
