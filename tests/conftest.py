"""Eight CPU devices for every test, and small shared configs."""

import os
import random

# Before JAX is imported anywhere: sharding tests need several devices, accelerators are for `-m gpu`.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Hundreds of small programs are compiled and run once or twice: XLA compiles them six times as fast unoptimised.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_force_host_platform_device_count=8 " + os.environ.get("XLA_FLAGS", "")
)

import pytest

from scaling.config import DataConfig, OptimConfig, RunConfig, ScheduleConfig, Source, TransformerConfig


@pytest.fixture
def model() -> TransformerConfig:
    return TransformerConfig(vocab=257, dim=16, layers=2, heads=2, context=16)


@pytest.fixture
def run(model: TransformerConfig) -> RunConfig:
    return RunConfig(
        model=model,
        data=DataConfig(tokenizer="bytes", vocab=257, heldout_sequences=4),
        tokens=16 * 4 * 30,
        batch=4,
        optim=OptimConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup_tokens=16 * 4 * 2),
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A folder of forty small texts of random letters, thousands of bytes in all."""
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(1, 6))) for _ in range(300)]
    for index in range(40):
        (folder / f"{index:02}.txt").write_text(" ".join(draw.choices(words, k=200)) + "\n", encoding="utf-8")
    return Source(kind="folder", path=str(folder))
