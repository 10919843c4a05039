import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from scaling.training.checkpoint import HALF_WRITTEN, LAST_WRITTEN, Checkpoints, Progress, restore
from scaling.training.seal import SEAL, damage
from scaling.training.step import TrainState

SHAPES = {"matrix": (16, 8), "scale": (8,)}


def state_of(step, place=lambda leaf: leaf):
    """A small state whose bytes depend on the step."""
    draw = np.random.default_rng(step)
    params = {
        name: place(jnp.asarray(draw.standard_normal(shape), jnp.float32)) for name, shape in sorted(SHAPES.items())
    }
    return TrainState(params, ({"count": jnp.int32(step)}, jax.tree.map(lambda x: 2 * x, params)))


def shapes_of(state, sharding=None):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state)


def on_eight(*dims):
    """Sharded over eight devices along the named dimension of matrices; vectors are copied."""
    mesh = jax.make_mesh((8,), ("fsdp",), axis_types=(AxisType.Auto,))
    return lambda leaf: NamedSharding(mesh, PartitionSpec(*dims) if leaf.ndim == 2 else PartitionSpec())


def on_one(leaf):
    return SingleDeviceSharding(jax.devices()[0])


def assert_same_bytes(left, right):
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1 and 2."""
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(state_of(step), Progress(step=step, first_loss=3.5))
    return tmp_path / "checkpoints"


def read(folder, like=None, **limit):
    with Checkpoints(folder) as checkpoints:
        return checkpoints.latest(like or shapes_of(state_of(0)), **limit)


def test_a_checkpoint_beyond_the_end_of_its_runs_curve_is_removed_for_the_one_before(folder, caplog):
    assert read(folder, at_most=1)[1].step == 1
    assert "2 is passed over: the run's curve ends before it, at step 1" in caplog.text
    assert read(folder)[1].step == 1  # the other is gone
    assert read(folder, at_most=0) is None


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        (on_eight("fsdp"), on_one),
        (on_one, on_eight("fsdp")),
        (on_eight("fsdp"), on_eight(None, "fsdp")),
    ],
    ids=["eight-to-one", "one-to-eight", "rows-to-columns"],
)
def test_a_state_saved_on_some_devices_is_read_onto_others_byte_for_byte(tmp_path, saved, wanted):
    state = jax.tree.map(lambda leaf: jax.device_put(leaf, saved(leaf)), state_of(3))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, Progress(step=3))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=wanted(leaf)), state)
    found, progress = read(tmp_path, like)
    assert progress == Progress(step=3)
    assert_same_bytes(found, state)
    for leaf in jax.tree.leaves(found):
        assert leaf.sharding.is_equivalent_to(wanted(leaf), leaf.ndim)


def test_a_sharded_state_is_written_in_parts_by_the_devices_that_hold_them(tmp_path):
    state = jax.tree.map(lambda leaf: jax.device_put(leaf, on_eight("fsdp")(leaf)), state_of(3))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, Progress(step=3))
    chunks = '"chunk_shape": [2, 8]'  # of (16, 8), an eighth of the rows
    described = "".join(path.read_text() for path in (tmp_path / "3").rglob("process_0") if path.is_file())
    assert chunks in described.replace("'", '"') or '"write_shape":[2,8]' in described.replace(" ", "")


def test_a_state_whose_buffers_are_donated_at_once_is_saved_as_it_was(tmp_path):
    for place in (on_one, on_eight("fsdp")):
        state = jax.tree.map(lambda leaf, place=place: jax.device_put(leaf, place(leaf)), state_of(5))
        overwrite = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0 - 1, state), donate_argnums=0)
        shutil.rmtree(tmp_path / "donated", ignore_errors=True)
        with Checkpoints(tmp_path / "donated") as checkpoints:
            checkpoints.save(state, Progress(step=5))
            jax.block_until_ready(overwrite(state))
        assert_same_bytes(read(tmp_path / "donated")[0], state_of(5))


def test_the_last_two_checkpoints_stay_and_those_that_branches_need(tmp_path):
    with Checkpoints(tmp_path, keep=[2]) as checkpoints:
        for step in range(1, 7):
            checkpoints.save(state_of(step), Progress(step=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "5", "6"]
    assert all(damage(path) is None for path in tmp_path.iterdir())
    found, progress = restore(tmp_path, shapes_of(state_of(0)), at_most=4)
    assert progress.step == 2
    assert_same_bytes(found, state_of(2))
    assert restore(tmp_path, shapes_of(state_of(0)), at_most=1) is None


def largest(folder):
    """The file with most of the arrays."""
    return max((path for path in folder.rglob("d/*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(folder):
    path = max(
        (path for path in folder.rglob("*") if path.is_file() and "/d/" in str(path)), key=lambda p: p.stat().st_size
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(folder):
    path = max(
        (path for path in folder.rglob("*") if path.is_file() and "/d/" in str(path)), key=lambda p: p.stat().st_size
    )
    path.write_bytes(path.read_bytes()[:-7])


def lose(folder):
    (folder / "state" / "manifest.ocdbt").unlink()


def unseal(folder):
    (folder / SEAL).unlink()


def half_write(folder):
    folder.rename(folder.with_name(folder.name + HALF_WRITTEN))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (flip, "has checksum"),
        (truncate, "bytes, but"),
        (lose, "state/manifest.ocdbt is missing"),
        (unseal, "seal.json is missing"),
        (half_write, "its writing was never completed"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_warning(folder, caplog, harm, problem):
    harm(folder / "2")
    with caplog.at_level(logging.WARNING, "scaling"):
        found, progress = read(folder)
    assert progress == Progress(step=1, first_loss=3.5)
    assert_same_bytes(found, state_of(1))
    (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("scaling")]
    assert str(folder / "2") in warning and problem in warning and f"{folder / '1'} is used" in warning
    assert [path.name for path in folder.iterdir()] == ["1"]


def test_a_step_whose_checkpoint_was_damaged_is_saved_again_when_it_is_reached(folder):
    flip(folder / "2")
    with Checkpoints(folder) as checkpoints:
        checkpoints.latest(shapes_of(state_of(0)))
        checkpoints.save(state_of(2), Progress(step=2))
    found, progress = read(folder)
    assert progress.step == 2
    assert_same_bytes(found, state_of(2))


@pytest.mark.parametrize("content", [None, b"", b"{torn"])
def test_what_is_not_sealed_is_not_needed(folder, content):
    for name in LAST_WRITTEN:
        (folder / "2" / name).unlink() if content is None else (folder / "2" / name).write_bytes(content)
    found, progress = read(folder)
    assert progress.step == 2
    assert_same_bytes(found, state_of(2))


def test_where_no_checkpoint_is_whole_that_is_said_and_nothing_is_read(folder, caplog):
    flip(folder / "1")
    flip(folder / "2")
    with caplog.at_level(logging.WARNING, "scaling"):
        assert read(folder) is None
    assert caplog.text.count("no other is whole, training starts afresh") == 2


def test_reading_another_runs_checkpoints_passes_over_damage_and_changes_nothing(folder):
    flip(folder / "2")
    found, progress = restore(folder, shapes_of(state_of(0)), at_most=2)
    assert progress.step == 1
    assert_same_bytes(found, state_of(1))
    assert (folder / "2").is_dir()


def test_a_checkpoint_of_another_shape_is_refused_with_the_parameter_and_the_mend(folder):
    like = shapes_of(state_of(0))
    like.params["scale"] = jax.ShapeDtypeStruct((9,), jnp.float32)
    with pytest.raises(
        ValueError, match=r"of params\.scale it holds shape \(8,\), but the run has shape \(9,\); delete .*checkpoints"
    ):
        read(folder, like)


def test_a_checkpoint_of_another_tree_is_refused_whichever_has_more(folder):
    more = shapes_of(state_of(0))
    more.params["head"] = jax.ShapeDtypeStruct((4,), jnp.float32)
    with pytest.raises(ValueError, match=r"params\.head it holds nothing, but the run has shape \(4,\)"):
        read(folder, more)
    fewer = shapes_of(state_of(0))
    del fewer.params["matrix"]
    with pytest.raises(ValueError, match=r"params\.matrix it holds shape \(16, 8\), but the run has nothing"):
        read(folder, fewer)
