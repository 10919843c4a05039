"""The sharding tables: every parameter of every family is known, unknown names fail, an axis is spent once."""

from dataclasses import replace

import jax
import pytest
from jax.sharding import PartitionSpec as P

from scaling.config import Experts, TransformerConfig
from scaling.models import families
from scaling.parallel.dims import ACTIVATIONS, PARAMETERS, dims_of
from scaling.parallel.layout import Layout
from scaling.parallel.tables import axes_of, spec, specs_of
from scaling.parallel.weights import staged, unstaged

DECODER = TransformerConfig(vocab=64, dim=16, layers=4, heads=4, context=16)
EVERYTHING = Layout(data=2, fsdp=2, expert=2, pipe=2, context=2, tensor=2)
FAMILIES = {
    "decoder": DECODER,
    "experts": replace(DECODER, moe=Experts(experts=4, shared=1, every=2)),
    "encoder": replace(
        DECODER,
        architecture="encoder",
        positions="learned",
        norm="layernorm",
        biases=True,
        token_types=2,
        embedding_norm=True,
        head_transform=True,
        head_bias=True,
        sentence_head=True,
        tied=False,
    ),
    "encoder and decoder": replace(DECODER, architecture="encoder_decoder", positions="t5", qk_norm=True),
}


def shapes(model: TransformerConfig) -> dict:
    return jax.eval_shape(lambda: families.init(model, 0))


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_every_parameter_of_every_family_has_a_partition_that_fits_its_shape(model):
    params = shapes(model)
    partitions = jax.tree.leaves(specs_of(params, EVERYTHING))
    for leaf, partition in zip(jax.tree.leaves(params), partitions, strict=True):
        assert len(partition) <= leaf.ndim
        for size, axes in zip(leaf.shape, partition, strict=False):
            assert size % EVERYTHING.ways(*axes_of(P(axes))) == 0


def test_matrices_are_divided_by_fsdp_and_tensor_and_layers_by_pipe():
    found = specs_of(shapes(DECODER), EVERYTHING)
    block = found["decoder"]["blocks"]["0"]
    assert block["attention"]["query"]["kernel"] == P(("pipe",), ("fsdp",), ("tensor",))
    assert block["attention"]["out"]["kernel"] == P(("pipe",), ("tensor",), ("fsdp",))
    assert block["attention_norm"]["scale"] == P(("pipe",))
    assert found["embedding"] == P(("pipe", "tensor"), ("fsdp",))
    assert found["decoder"]["final_norm"]["scale"] == P()


def test_axes_of_one_device_divide_nothing():
    assert set(jax.tree.leaves(specs_of(shapes(DECODER), Layout(data=4)))) == {P()}
    assert spec(("dim", "heads"), PARAMETERS, Layout(tensor=2)) == P(None, ("tensor",))


def test_unknown_dimensions_fail_by_name():
    with pytest.raises(ValueError, match=r"dimension 'hedas' .* known are vocab, dim"):
        spec(("dim", "hedas"), PARAMETERS, EVERYTHING)
    with pytest.raises(ValueError, match="parameter decoder/conv/kernel: 'conv' is in no sharding table"):
        dims_of(("decoder", "conv", "kernel"), EVERYTHING)


def test_a_mesh_axis_is_spent_once():
    with pytest.raises(ValueError, match="'tensor' divides two dimensions"):
        spec(("heads", "hidden"), PARAMETERS, EVERYTHING)
    with pytest.raises(ValueError, match="divides two dimensions"):
        spec(("batch", "token"), ACTIVATIONS, EVERYTHING)


def test_axes_of_a_partition_are_all_that_it_spends():
    assert axes_of(P(("pipe", "tensor"), None, "fsdp")) == ("pipe", "tensor", "fsdp")


def test_layers_of_a_circular_pipeline_are_cut_and_joined_in_their_order():
    params = families.init(DECODER, 0)
    layout = Layout(pipe=2, repeats=2, microbatches=2)
    cut = staged(params, layout)
    kernel = params["decoder"]["blocks"]["0"]["mlp"]["up"]["kernel"]
    # Layer 2 is the first that comes past stage 0 the second time.
    assert (cut["decoder"]["blocks"]["0"]["mlp"]["up"]["kernel"][1, 0, 0] == kernel[2]).all()
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), unstaged(cut, layout), params))
