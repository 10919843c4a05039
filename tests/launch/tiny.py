"""A study of four small runs, one trunk and two branches among them, that trains in seconds."""

from dataclasses import replace

from launch.devices import Slot
from scaling.config import DataConfig, OptimConfig, RunConfig, ScheduleConfig, Source, TransformerConfig
from scaling.plan import Cell, Study
from scaling.sweeps import branches
from tests.xla import QUICKLY

STEP = 16 * 4
# One worker of one core and one device.
ONE = [Slot(cores=(0,), environment=(("JAX_PLATFORMS", "cpu"), ("XLA_FLAGS", QUICKLY)))]


def run_of(source: Source, dim: int = 16) -> RunConfig:
    return RunConfig(
        model=TransformerConfig(vocab=257, dim=dim, layers=1, heads=2, context=16),
        data=DataConfig(source=source, tokenizer="bytes", vocab=257, heldout_sequences=4),
        tokens=30 * STEP,
        batch=4,
        optim=OptimConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup_tokens=STEP),
    )


def study_of(source: Source, *more: RunConfig) -> Study:
    other = replace(run_of(source), seed=1)
    cells = (*branches(run_of(source), [20 * STEP, 40 * STEP]), Cell(run=other), *(Cell(run=run) for run in more))
    return Study(name="tiny", question="?", published="", shows="", cannot_show="", forecast_flops=1e9, cells=cells)
