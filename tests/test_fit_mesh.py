"""Proposed placements: they use all devices, fit, are sorted, and say what is missing where nothing fits."""

from dataclasses import replace

import pytest

from scaling.config import DataConfig, Experts, NgramConfig, RecurrentConfig, RunConfig, TransformerConfig
from scaling.fit_mesh import fit_mesh, meshes
from scaling.hardware import HARDWARE
from scaling.parallel.layout import layout_of
from scaling.roofline import predict

MODEL = TransformerConfig(vocab=32000, dim=4096, layers=32, heads=32, kv_heads=8, context=2048)
RUN = RunConfig(model=MODEL, data=DataConfig(vocab=32000), tokens=2048 * 512 * 100, batch=512, precision="bfloat16")
H100 = HARDWARE["h100-sxm"]
SMALL = replace(MODEL, vocab=512, dim=64, layers=4, heads=4, kv_heads=2, context=128)
SMALL_RUN = RunConfig(model=SMALL, data=DataConfig(vocab=512), tokens=128 * 32, batch=32)


def with_model(run: RunConfig, **options: object) -> RunConfig:
    return replace(run, model=replace(run.model, **options))


@pytest.mark.parametrize("devices", [1, 2, 6, 8])
@pytest.mark.parametrize("model", [{}, {"moe": Experts(experts=8)}], ids=["dense", "experts"])
def test_proposals_use_all_devices_fit_and_are_sorted(devices, model):
    run = replace(with_model(SMALL_RUN, **model), batch=48, tokens=48 * 128)
    found = fit_mesh(run, H100, devices, count=5)
    assert found.best
    assert [p.step.high for p in found.best] == sorted(p.step.high for p in found.best)
    for proposal in found.best:
        layout = layout_of(run, proposal.placement, devices)
        priced = predict(run, H100, layout=layout)
        assert priced.fits
        assert priced.step_seconds_high == proposal.step.high


def test_no_other_mesh_is_faster_than_the_first():
    best = fit_mesh(SMALL_RUN, H100, 8).best[0]
    for placement in (dict(), dict(fsdp=8), dict(tensor=2), dict(context=2, fsdp=2), dict(pipe=2, microbatches=4)):
        layout = layout_of(SMALL_RUN, replace(best.placement, **{"fsdp": 1, "microbatches": 1} | placement), 8)
        assert predict(SMALL_RUN, H100, layout=layout).step_seconds_high >= best.step.high


def test_less_memory_asks_for_more_microbatches_or_for_blocks_computed_again():
    roomy, tight = (fit_mesh(RUN, replace(H100, memory_bytes=size), 8).best[0] for size in (1e12, 40e9))
    assert roomy.placement.microbatches == 1 and roomy.placement.remat == "none"
    assert tight.placement.microbatches > 1  # of the two the faster one
    assert tight.step.memory_bytes <= 40e9
    assert tight.step.high > roomy.step.high


def test_where_nothing_fits_the_nearest_is_told():
    found = fit_mesh(RUN, replace(H100, memory_bytes=1e9), 8)
    assert found.best == ()
    assert found.nearest.step.memory_bytes > 1e9
    assert layout_of(RUN, found.nearest.placement, 8).devices == 8


def test_a_batch_that_the_devices_cannot_share_has_no_placement():
    found = fit_mesh(SMALL_RUN, H100, 7)  # seven divides neither 32 sequences nor anything of the model
    assert found.best == () and found.nearest is None


@pytest.mark.parametrize("model", [RecurrentConfig(vocab=512, dim=64, layers=1), NgramConfig(vocab=512)])
def test_models_without_a_sharding_are_only_copied(model):
    run = replace(SMALL_RUN, model=model)
    assert list(meshes(run, 4)) == [{"data": 4, "fsdp": 1, "expert": 1, "pipe": 1, "context": 1, "tensor": 1}]
    assert fit_mesh(run, H100, 4).best[0].placement.devices == 1  # data is left open


def test_hundreds_of_meshes_of_sixty_four_devices_are_searched():
    assert len(list(meshes(RUN, 64))) > 100
    best = fit_mesh(RUN, H100, 64).best
    assert [layout_of(RUN, proposal.placement, 64).devices for proposal in best] == [64, 64, 64]
