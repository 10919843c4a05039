"""Folders of theirs, of ours and of runs: what is read, what is refused, and that nothing is a pickle."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scaling import interchange
from scaling.config import NgramConfig, to_dict
from scaling.interchange import files
from scaling.interchange.folders import OURS, kind_of
from scaling.interchange.tree import flattened, nested, shapes_of
from scaling.training.checkpoint import Checkpoints, Progress
from scaling.training.step import TrainState


def save(path, tensors):
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_pickle_is_refused_with_the_reason_and_the_mend(written):
    folder = written("gpt2")
    (folder / files.WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"holds pytorch_model.bin and no model.safetensors: reading a pickle runs"):
        interchange.read(folder)


def test_a_folder_without_weights_is_refused(written):
    folder = written("gpt2")
    (folder / files.WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"holds no model.safetensors and no model.safetensors.index.json"):
        interchange.read(folder)


def sharded(folder):
    """The folder's weights in two files and an index."""
    tensors = load_file(folder / files.WEIGHTS)
    names = sorted(tensors)
    index = {name: f"model-0000{1 + (place % 2)}-of-00002.safetensors" for place, name in enumerate(names)}
    for shard in set(index.values()):
        save(folder / shard, {name: tensors[name] for name in names if index[name] == shard})
    (folder / files.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}), encoding="utf-8")
    (folder / files.WEIGHTS).unlink()
    return index


def test_shards_are_read_as_one_file_is(written):
    folder = written("llama")
    whole = interchange.read(folder)
    sharded(folder)
    again = interchange.read(folder)
    assert all(np.array_equal(again.params[path], value) for path, value in whole.params.items())


def test_a_shard_that_is_not_there_or_lacks_a_tensor_is_named(written):
    folder = written("llama")
    index = sharded(folder)
    first = next(name for name, shard in index.items() if shard.startswith("model-00001"))
    shard = folder / index[first]
    kept = {name: value for name, value in load_file(shard).items() if name != first}
    save(shard, kept)
    with pytest.raises(ValueError, match=f"tensor {first} is not in {shard.name}; copy the whole model"):
        interchange.read(folder)
    shard.unlink()
    with pytest.raises(ValueError, match=f"names {shard.name}, which is not there"):
        interchange.read(folder)


def test_a_shard_outside_of_the_folder_is_refused(written):
    folder = written("llama")
    index = dict.fromkeys(sharded(folder), "../elsewhere.safetensors")
    (folder / files.INDEX).write_text(json.dumps({"weight_map": index}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"shard '\.\./elsewhere.safetensors' lies outside of the folder"):
        interchange.read(folder)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_read_as_float32(written, dtype):
    folder = written("gpt2")
    exact = load_file(folder / files.WEIGHTS)
    save(folder / files.WEIGHTS, {name: value.astype(dtype) for name, value in exact.items()})
    found = interchange.read(folder).params["embedding"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact["transformer.wte.weight"].astype(dtype).astype(np.float32))


def test_quantised_weights_are_refused_by_name(written):
    name = "transformer.h.0.mlp.c_fc.weight"
    with pytest.raises(ValueError, match=f"tensor {name} is kept as I8; only F64, F32, F16, BF16 are read"):
        interchange.read(written("gpt2", tensors={name: np.ones((16, 64), np.int8)}))


def test_a_cut_file_is_refused(written):
    path = written("gpt2") / files.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        interchange.read(path.parent)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds neither config.json .* nor model.json"):
        kind_of(tmp_path)
    for text, said in (("{}", "has no model_type"), ("[]", "holds list and not an object"), ("{", "not JSON")):
        (tmp_path / files.CONFIG).write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=said):
            kind_of(tmp_path)


def test_a_folder_that_holds_anything_is_not_written_to(written, tmp_path):
    model = interchange.read(written("gpt2"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("", encoding="utf-8")
    for write in (interchange.write_ours, interchange.write_theirs):
        with pytest.raises(ValueError, match="full exists and is not an empty folder"):
            write(model, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    interchange.write_ours(model, tmp_path / "empty")


def test_parameters_of_ours_that_do_not_fit_are_named(written, tmp_path):
    interchange.write_ours(interchange.read(written("gpt2")), tmp_path / "ours")
    path = tmp_path / "ours" / OURS
    tensors = load_file(path)
    save(path, {name: value for name, value in tensors.items() if name != "embedding"})
    with pytest.raises(ValueError, match=r"weights.safetensors: tensors do not fit the config; missing: embedding"):
        interchange.read(tmp_path / "ours")
    path.unlink()
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        interchange.read(tmp_path / "ours")


def test_a_config_of_ours_is_checked(written, tmp_path):
    interchange.write_ours(interchange.read(written("gpt2")), tmp_path / "ours")
    path = tmp_path / "ours" / files.MODEL
    given = files.read_json(path)
    files.write_json(path, given | {"model": given["model"] | {"heads": 5}})
    with pytest.raises(ValueError, match=r"model.json: .*heads=5 does not divide dim=16"):
        interchange.read(tmp_path / "ours")
    files.write_json(path, {})
    with pytest.raises(ValueError, match=r"model.json: has no model"):
        interchange.read(tmp_path / "ours")


def test_trees_and_paths_are_two_ways_to_say_the_same():
    tree = {"a": 1, "blocks": {"0": {"b": {"c": 2}}, "1": {"d": 3}}}
    assert flattened(tree) == {"a": 1, "blocks.0.b.c": 2, "blocks.1.d": 3}
    assert nested(flattened(tree)) == tree


@pytest.fixture
def run_folder(run, tmp_path):
    """A run that has written two checkpoints; the second is the embedding plus one."""
    folder = tmp_path / "run"
    folder.mkdir()
    files.write_json(folder / files.CONFIG, to_dict(run))
    draw = np.random.default_rng(0)
    shapes = shapes_of(run.model)
    params = nested({path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()})
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in (1, 2):
            given = params | {"embedding": params["embedding"] + step}
            checkpoints.save(TrainState(given, {"count": np.zeros(())}), Progress(step=step))
            checkpoints.wait()
    return folder, params


def test_a_run_is_read_from_its_last_checkpoint(run, run_folder, tmp_path):
    folder, params = run_folder
    model = interchange.read(folder)
    assert model.config == run.model and not model.origin
    np.testing.assert_array_equal(model.params["embedding"], params["embedding"] + 2)
    assert interchange.write_theirs(model, tmp_path / "theirs") == "llama"


def test_a_damaged_checkpoint_is_passed_over_and_named_where_no_other_is_whole(run, run_folder):
    folder, params = run_folder
    for step, left in ((2, params["embedding"] + 1), (1, None)):
        largest = max((folder / "checkpoints" / str(step)).rglob("*"), key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1])
        if left is not None:
            np.testing.assert_array_equal(interchange.read(folder).params["embedding"], left)
    with pytest.raises(ValueError, match=r"holds no whole checkpoint; .*; 2: .* bytes, but .*; 1: .* bytes, but"):
        interchange.read(folder)


def test_a_run_without_a_checkpoint_or_without_a_transformer_is_refused(run, run_folder):
    folder, _ = run_folder
    for step in (1, 2):
        shutil.rmtree(folder / "checkpoints" / str(step))
    with pytest.raises(ValueError, match="holds no whole checkpoint"):
        interchange.read(folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(ValueError, match="a run is converted from its last checkpoint"):
        interchange.read(folder)
    other = to_dict(run) | {"model": to_dict(NgramConfig(vocab=257, context=16))}
    files.write_json(folder / files.CONFIG, other)
    with pytest.raises(ValueError, match="its model is ngram; transformers has none of the kind"):
        interchange.read(folder)
