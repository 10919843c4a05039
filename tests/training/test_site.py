"""A run's state moves between meshes by its checkpoints, and goes on with the same loss."""

import threading
from dataclasses import replace

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from scaling.config import DataConfig, Placement, RunConfig, TransformerConfig, run_id
from scaling.parallel.layout import layout_of
from scaling.parallel.mesh import mesh_of
from scaling.record import RunDirectory
from scaling.training.checkpoint import Checkpoints, Progress
from scaling.training.loop import train
from scaling.training.losses import Knowledge, Tokens, task_of
from scaling.training.site import HERE, Site, checkpoint_shapes, for_checkpoint, fresh_state, from_checkpoint, site_of
from scaling.training.step import Hyper, compiled_step
from tests.training.conftest import QUIET

RUN = RunConfig(
    model=TransformerConfig(vocab=260, dim=16, layers=4, heads=4, context=16),
    data=DataConfig(vocab=260),
    tokens=8 * 16 * 4,
    batch=8,
)
NUMBERS = Hyper(lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)


def site(**placement: int) -> Site:
    placed = Placement(**({"data": 1} | placement))
    devices = 1
    for axis in ("data", "fsdp", "expert", "pipe", "context", "tensor"):
        devices *= getattr(placed, axis)
    layout = layout_of(RUN, placed, devices)
    return Site(layout, mesh_of(layout) if devices > 1 else None)


def stepped(state, where: Site, number: int) -> tuple:
    draw = np.random.default_rng(number)
    window_BW = draw.integers(0, 64, (RUN.batch, RUN.text + 1)).astype(np.int32)
    tokens = Tokens(window_BW, draw.integers(0, 2**32, (RUN.batch, 2), dtype=np.uint32))
    state, metrics = compiled_step(task_of(RUN), RUN.precision, *where)(state, tokens, Knowledge(), NUMBERS)
    return state, float(metrics.loss)


def test_a_checkpoint_of_one_mesh_goes_on_with_the_same_loss_on_others(tmp_path):
    circular = site(pipe=2, repeats=2, fsdp=2, microbatches=2)
    state, _ = stepped(fresh_state(RUN, circular), circular, 0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(for_checkpoint(RUN, state, circular), Progress(step=1))
        checkpoints.wait()
        _, expected = stepped(state, circular, 1)
        for other in (site(tensor=2, fsdp=2), HERE):
            found, progress = checkpoints.latest(checkpoint_shapes(RUN, other))
            _, loss = stepped(jax.tree.map(jax.numpy.asarray, from_checkpoint(RUN, found, other)), other, 1)
            assert progress.step == 1
            assert loss == pytest.approx(expected, rel=1e-6)  # float32 sums in another order


@pytest.mark.slow
def test_a_run_interrupted_on_eight_devices_goes_on_on_one(pinned, tmp_path):
    run, store = pinned
    run = replace(run, batch=8, tokens=16 * 8 * 12, schedule=replace(run.schedule, warmup_tokens=0))

    class AfterSix(threading.Event):
        """Is set when it has been asked six times: once a step."""

        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 6

    wide = replace(QUIET, data=4, fsdp=2, log_steps=1)
    assert train(run, tmp_path / "both", store, placement=wide, stop=AfterSix()) is None
    both = train(run, tmp_path / "both", store, placement=QUIET)
    train(run, tmp_path / "one", store, placement=QUIET)
    assert both.cost.attempts == 2
    curves = [
        pq.read_table(RunDirectory(tmp_path / name / run_id(run)).curve)["loss"].to_numpy() for name in ("both", "one")
    ]
    np.testing.assert_allclose(*curves, rtol=1e-5)  # a dozen steps of float32 sums in another order


def test_a_placement_of_more_devices_than_there_are_says_how_to_try_it():
    with pytest.raises(ValueError, match=r"needs 16 devices, but JAX sees 8; .*device_count=16"):
        site_of(RUN, Placement(data=16))


def test_on_cpu_data_is_one_copy_unless_it_is_given():
    assert site_of(RUN, Placement()) == HERE
    assert site_of(RUN, Placement(data=2)).layout.data == 2
