"""Eight CPU devices for every test, and small shared configs."""

import gc
import os
import random

from tests.xla import QUICKLY

# Before JAX is imported anywhere: sharding tests need several devices, accelerators are for `-m gpu`.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{QUICKLY} --xla_force_host_platform_device_count=8 {os.environ.get('XLA_FLAGS', '')}"

import hypothesis
import pytest

from scaling.config import DataConfig, OptimConfig, RunConfig, ScheduleConfig, Source, TransformerConfig

# The same examples every time, however busy the machine is.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that train come first: a long one at the end would keep one process busy while the others wait."""
    items.sort(key=lambda item: item.path.parent.name != "training")


def pytest_collection_finish() -> None:
    """What is imported now stays to the end: the garbage collector need not look through it every time."""
    gc.collect()
    gc.freeze()


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
