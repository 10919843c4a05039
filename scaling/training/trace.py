"""A profiler trace of a few steps of a run, to be opened with XProf, TensorBoard or Perfetto."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

SETTLING_STEPS = 3  # before the trace: compiled, caches warm, the pipeline of dispatched steps full


@contextmanager
def traced(step_of: Callable, folder: Path, steps: int) -> Iterator[Callable]:
    """The step, of whose calls some are traced into a folder once it has settled; with steps=0 the step itself."""
    if steps == 0:
        yield step_of
        return
    calls, running = 0, False

    def traced_step(state: Any, *rest: Any) -> Any:
        nonlocal calls, running
        if calls in (SETTLING_STEPS, SETTLING_STEPS + steps):
            jax.block_until_ready(state)  # steps dispatched before belong to neither side
            jax.profiler.stop_trace() if running else jax.profiler.start_trace(folder)
            running = not running
        calls += 1
        return step_of(state, *rest)

    try:
        yield traced_step
    finally:
        if running:  # the run ended first
            jax.profiler.stop_trace()
