from dataclasses import replace

import jax
import pytest

from scaling.config import Experts, TransformerConfig
from scaling.counts import params
from scaling.models import families
from scaling.parallel.dims import dims_of
from scaling.parallel.layout import ALONE, Layout
from scaling.parallel.shapes import leaves, state_bytes_of_device

SMALL = TransformerConfig(vocab=64, dim=16, layers=4, heads=4, kv_heads=2, context=8)
MODELS = {
    "decoder": SMALL,
    "biases, layernorm and an own head": replace(
        SMALL, biases=True, norm="layernorm", positions="learned", activation="gelu", tied=False, qk_norm=True
    ),
    "sandwich and windows": replace(SMALL, norm_place="sandwich", window=4, global_every=2, head_size=8),
    "experts": replace(SMALL, moe=Experts(experts=4, shared=1, every=2)),
    "plain experts": replace(SMALL, activation="relu", moe=Experts(experts=4, dim=8)),
    "BERT": replace(
        SMALL, architecture="encoder", norm_place="post", embedding_norm=True, token_types=2, head_transform=True,
        head_bias=True, sentence_head=True, biases=True, norm="layernorm", positions="learned", activation="gelu",
    ),
    "T5": replace(SMALL, architecture="encoder_decoder", positions="t5", encoder_layers=2, qkv_biases=True),
    "shared layers": replace(SMALL, architecture="encoder_decoder", shared_layers=True),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes_are_those_of_the_model(name):
    made = jax.eval_shape(lambda: families.init(MODELS[name], 0))
    paths = jax.tree_util.tree_leaves_with_path(made)
    theirs = {tuple(entry.key for entry in path): leaf.shape for path, leaf in paths}
    ours = {leaf.path: leaf.shape for leaf in leaves(MODELS[name])}
    assert ours == theirs
    assert sum(leaf.elements for leaf in leaves(MODELS[name])) == params(MODELS[name]).total
    for leaf in leaves(MODELS[name]):
        assert len(leaf.dims) == len(leaf.shape) and leaf.dims == dims_of(leaf.path, ALONE)


def test_a_device_holds_its_share_of_what_axes_divide():
    (key,) = [leaf for leaf in leaves(SMALL) if leaf.path[-2:] == ("key", "kernel")]
    layout = Layout(data=2, fsdp=2, tensor=2, pipe=2)
    assert key.shape == (4, 16, 8) and key.axes(layout) == ("pipe", "fsdp", "tensor")
    assert key.elements_of_device(layout) == 4 * 16 * 8 // 8
    assert key.elements_of_device(layout, but=("fsdp",)) == 4 * 16 * 8 // 4


def test_state_is_twelve_bytes_a_parameter_and_norms_are_not_divided():
    total = params(SMALL).total
    assert state_bytes_of_device(SMALL, ALONE) == state_bytes_of_device(SMALL, Layout(data=8)) == 12 * total
    vectors = (2 * 4 + 1) * SMALL.dim  # two norms a layer and a last one
    assert state_bytes_of_device(SMALL, Layout(fsdp=4)) == 12 * ((total - vectors) // 4 + vectors)
