"""Memory: the state by its bytes a parameter, and a whole step against what XLA allocates for it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.config import (
    Experts,
    Masked,
    ModelConfig,
    NextToken,
    NgramConfig,
    ObjectiveConfig,
    Prefix,
    RecurrentConfig,
    ReplacedTokens,
    SkipGram,
    SpanCorruption,
    TransformerConfig,
    Word2VecConfig,
    lengths,
)
from scaling.counts import StateBytes, inference_memory, params, state_bytes, training_memory
from scaling.counts.activations import activation_bytes
from scaling.parallel.layout import Layout
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.step import Hyper, compiled_init, compiled_step
from tests.counts.shapes import BASE, BERT_LIKE, GPT2, SMALL, examples, objective_for, transformers

GPT3 = replace(GPT2, dim=12288, layers=96, heads=96, context=2048)
SMALLER = {**BASE, "layers": 1, "dim": 128}
BATCH = 16

DECODER = TransformerConfig(**BASE)
COMPILED = {
    "decoder": (TransformerConfig(**SMALLER), NextToken()),
    "encoder": (TransformerConfig(architecture="encoder", **BERT_LIKE, **SMALLER), Masked()),
    "lstm": (RecurrentConfig(vocab=512, dim=128, layers=1), NextToken()),
    "word vectors": (Word2VecConfig(vocab=4096, dim=128), SkipGram()),
}
AS_BENCHMARKED = {
    "decoder": (DECODER, NextToken()),
    "decoder like GPT": (replace(DECODER, activation="gelu", norm="layernorm", biases=True), NextToken()),
    "decoder like Gemma": (
        replace(DECODER, activation="geglu", norm_place="sandwich", window=32, global_every=2, attention_softcap=50.0),
        NextToken(),
    ),
    "decoder with a large vocabulary": (replace(DECODER, vocab=8192), NextToken()),
    "encoder": (TransformerConfig(architecture="encoder", **BERT_LIKE, **BASE), Masked()),
    "replaced tokens": (TransformerConfig(architecture="encoder", **BERT_LIKE, **BASE), ReplacedTokens()),
    "encoder and decoder": (replace(DECODER, architecture="encoder_decoder", positions="t5"), SpanCorruption()),
    "shared": (replace(DECODER, architecture="encoder_decoder", shared_layers=True), Prefix()),
    "prefix": (replace(DECODER, architecture="prefix"), Prefix()),
    "word vectors": (Word2VecConfig(vocab=512, dim=64), SkipGram()),
    "experts": (replace(DECODER, moe=Experts(experts=8, active=2)), NextToken()),
    "experts in every other layer": (replace(DECODER, moe=Experts(experts=8, active=1, every=2)), NextToken()),
    "lstm": (RecurrentConfig(vocab=512, dim=256, layers=2), NextToken()),
    "recurrent encoder and decoder": (
        RecurrentConfig(vocab=512, dim=256, layers=2, architecture="encoder_decoder"),
        Prefix(),
    ),
}


def allocated(model: ModelConfig, objective: ObjectiveConfig, precision: str, microbatches: int) -> int:
    """Bytes at the peak of the compiled training step, by XLA's own account."""
    shape, found = jax.ShapeDtypeStruct, lengths(model, objective)
    task = Task(model, objective, found.specials, smoothed=False)
    tokens = Tokens(shape((BATCH, found.text + 1), np.int32), shape((BATCH, 2), np.uint32))
    known = Knowledge(noise_V=shape((model.vocab,), np.float32) if isinstance(objective, SkipGram) else None)
    state = jax.eval_shape(compiled_init(task), shape((), np.int32))
    numbers = Hyper(*[shape((), np.float32)] * len(Hyper._fields))
    step = (
        compiled_step(task, precision, Layout(microbatches=microbatches)).lower(state, tokens, known, numbers).compile()
    )
    found = step.memory_analysis()
    arguments = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return found.temp_size_in_bytes + arguments


@pytest.mark.parametrize(("model", "objective"), COMPILED.values(), ids=COMPILED)
def test_training_memory_is_within_a_fifth_of_what_xla_allocates(model, objective):
    predicted = training_memory(model, objective, sequences=BATCH).total
    assert predicted == pytest.approx(allocated(model, objective, "float32", 1), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "objective"), AS_BENCHMARKED.values(), ids=AS_BENCHMARKED)
def test_training_memory_of_benchmarked_shapes_is_within_a_fifth_of_what_xla_allocates(model, objective):
    predicted = training_memory(model, objective, sequences=BATCH).total
    assert predicted == pytest.approx(allocated(model, objective, "float32", 1), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "microbatches"), [("bfloat16", 1), ("float32", 4), ("bfloat16", 4)])
def test_training_memory_holds_for_other_precisions_and_microbatches(precision, microbatches):
    predicted = training_memory(
        DECODER, sequences=BATCH // microbatches, precision=precision, microbatches=microbatches
    )
    assert predicted.total == pytest.approx(allocated(DECODER, NextToken(), precision, microbatches), rel=0.2)


def test_training_state_takes_the_lectures_16_to_24_bytes_a_parameter():
    bfloat16_gradients = StateBytes(params=4, copy=2, gradients=2, optimizer=8)
    assert bfloat16_gradients.total == 16  # bfloat16 weights 2 and gradients 2, float32 master 4, Adam 8
    assert state_bytes("float32").total == 16  # weights 4, gradients 4, Adam 8
    assert state_bytes("bfloat16").total == 18  # the same and a bfloat16 copy of the weights
    assert state_bytes("float32", microbatches=2).total == 20  # and a float32 sum of gradients
    assert state_bytes("bfloat16", microbatches=2).total == 22  # both
    both_gradients = replace(state_bytes("bfloat16", microbatches=2), gradients=4 + 2)
    assert both_gradients.total == 24  # gradients held in both precisions while they are summed


@examples
@given(transformers(), st.sampled_from(["float32", "bfloat16"]), st.integers(1, 3), st.booleans())
def test_training_memory_is_state_and_activations_and_with_experts_room_for_their_loops(
    model, precision, microbatches, fused
):
    objective = objective_for(model)
    memory = training_memory(
        model, objective, sequences=3, precision=precision, microbatches=microbatches, fused_attention=fused
    )
    state = params(model).total * state_bytes(precision, microbatches=microbatches).total
    assert memory.total == state + memory.activations + memory.workspace
    each = activation_bytes(model, objective, precision=precision, fused_attention=fused)
    assert memory.activations == 3 * each
    assert (memory.workspace > 0) == (model.moe is not None and not fused)


def test_counted_n_grams_take_no_memory_of_a_device():
    assert training_memory(NgramConfig(vocab=60), sequences=4).total == 0


def test_generating_needs_weights_and_a_cache_that_grouped_keys_shrink():
    memory = inference_memory(GPT3, sequences=2, tokens=100)
    assert memory.weights == 2 * params(GPT3).total
    assert memory.cache == 2 * 2 * 100 * 2 * 96 * 12288
    assert memory.total == memory.weights + memory.cache
    grouped = inference_memory(replace(GPT3, kv_heads=8), sequences=2, tokens=100)
    assert memory.cache == 12 * grouped.cache
    assert inference_memory(SMALL, sequences=1) == inference_memory(SMALL, sequences=1, tokens=128)
    assert inference_memory(SMALL, sequences=1, precision="float32").weights == 4 * params(SMALL).total


def test_a_window_keeps_no_more_tokens_than_it_is_wide():
    windowed = replace(SMALL, window=10, global_every=4)
    whole, cut = (inference_memory(model, sequences=1, tokens=100).cache for model in (SMALL, windowed))
    assert cut * 4 * 100 == whole * (3 * 10 + 100)
    assert inference_memory(windowed, sequences=1, tokens=5) == inference_memory(SMALL, sequences=1, tokens=5)


def test_a_decoder_with_a_source_keeps_its_keys_too_and_an_encoder_keeps_none():
    both = replace(SMALL, architecture="encoder_decoder")
    alone = inference_memory(SMALL, sequences=1, tokens=30).cache
    assert inference_memory(both, sequences=1, tokens=30, source=60).cache == 3 * alone
    assert inference_memory(replace(SMALL, architecture="encoder"), sequences=1).cache == 0


@pytest.mark.parametrize(("cell", "numbers"), [("rnn", 1), ("lstm", 2)])
def test_a_recurrent_model_keeps_its_state_whatever_the_length(cell, numbers):
    model = RecurrentConfig(vocab=60, dim=8, layers=3, cell=cell)
    short, long = (inference_memory(model, sequences=5, tokens=tokens, precision="float32") for tokens in (1, 999))
    assert short == long
    assert short.cache == 4 * 5 * 3 * 8 * numbers
    both = replace(model, architecture="encoder_decoder")
    annotations = inference_memory(both, sequences=5, source=20, precision="float32").cache - short.cache
    assert annotations == 4 * 5 * 20 * 2 * 8  # and their keys


def test_memory_of_no_sequence_is_refused():
    with pytest.raises(ValueError, match="sequences=0; a microbatch holds at least one"):
        training_memory(SMALL, sequences=0)
    with pytest.raises(ValueError, match="sequences=0, tokens=5, source=128; give 1 sequence or more"):
        inference_memory(SMALL, sequences=0, tokens=5)
    with pytest.raises(ValueError, match="tokens=-1, source=128; give 1 sequence or more, 0 tokens or more"):
        inference_memory(SMALL, sequences=1, tokens=-1)
