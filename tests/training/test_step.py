from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling.config import (
    Experts,
    Masked,
    MixtureOfDenoisers,
    NextToken,
    Prefix,
    ReplacedTokens,
    SpanCorruption,
    TransformerConfig,
    lengths,
)
from scaling.counts import train_flops
from scaling.models import families, head
from scaling.models.head import token_losses
from scaling.models.inputs import Inputs
from scaling.parallel.layout import ALONE, Layout
from scaling.training.feed import keys
from scaling.training.losses import Knowledge, Task, Tokens
from scaling.training.step import Hyper, compiled_init, compiled_step, hyper, optimizer, train_step

MODEL = TransformerConfig(vocab=260, dim=16, layers=2, heads=2, context=16)
NUMBERS = Hyper(lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)
TASK = Task(MODEL, NextToken(), specials=0, smoothed=False)


def batch_of(task, sequences, seed=0):
    text, ordinary = lengths(task.model, task.objective).text, task.model.vocab - task.specials
    windows = [np.asarray(jax.random.randint(jax.random.key(s), (sequences, text + 1), 0, ordinary)) for s in (seed, 9)]
    pairs = windows[1] if getattr(task.objective, "next_sentence", False) else None
    return Tokens(windows[0], keys(seed, np.arange(sequences)), None, pairs)


def begun(task):
    """The state before the first step, made op by op: compiled as a whole it takes five times as long."""
    return compiled_init(task).__wrapped__(0)


def after(steps, microbatches=1, precision="float32", numbers=NUMBERS, task=TASK):
    """State and losses after some steps on one batch."""
    state, losses = begun(task), []
    for _ in range(steps):
        step = compiled_step(task, precision, Layout(microbatches=microbatches))
        state, metrics = step(state, batch_of(task, 4), Knowledge(), numbers)
        losses.append(float(metrics.loss))
    return state, losses


def test_training_on_one_batch_learns_it():
    _, losses = after(60)
    assert losses[0] == pytest.approx(np.log(260), rel=0.02)
    assert losses[-1] < 0.7 * losses[0]


def test_the_step_is_optax_adamw_on_the_mean_loss():
    state = begun(TASK)
    tokens = batch_of(TASK, 4)

    def loss(params):
        x_BTD = families.states(MODEL, params, Inputs(tokens.window_BW[:, :-1])).x_BTD
        logits_MV = families.logits(MODEL, params, x_BTD.reshape(-1, MODEL.dim))
        return token_losses(logits_MV, tokens.window_BW[:, 1:].reshape(-1)).mean()

    def is_matrix(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "scale", params)

    library = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(1e-2, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, mask=is_matrix),
    )

    @jax.jit
    def stepped(params):
        grads = jax.grad(loss)(params)
        updates, _ = library.update(grads, library.init(params), params)
        return optax.apply_updates(params, updates), optax.tree.norm(grads)

    expected, norm = stepped(state.params)
    found, metrics = compiled_step(TASK, "float32")(state, tokens, Knowledge(), NUMBERS)
    # The first Adam step divides a gradient by its own size: where it is rounding noise, so is the update.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), found.params, expected)
    assert float(metrics.grad_norm) == pytest.approx(float(norm), rel=1e-4)  # float32 sums in another order


def test_norm_scales_are_not_decayed_and_matrices_are():
    state = begun(TASK)
    zero = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = optimizer(MODEL, NUMBERS).update(zero, state.optimizer, state.params)
    assert not np.any(updates["decoder"]["final_norm"]["scale"])
    np.testing.assert_allclose(updates["embedding"], -1e-2 * 0.1 * state.params["embedding"], rtol=1e-5)


def test_microbatches_change_memory_and_not_the_gradient():
    (whole, losses), (cut, cut_losses) = after(3), after(3, microbatches=2)
    assert cut_losses == pytest.approx(losses, rel=1e-5)  # float32 means, in another order
    # Adam turns rounding differences of tiny gradients into differences of a small part of a step.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), whole.params, cut.params)


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "float8"])
def test_fewer_bits_compute_nearly_the_same_loss_and_keep_float32_parameters(precision):
    state, losses = after(2, precision=precision)
    # bfloat16 has 8 significant bits, 0.4% a product, and the others about as many or 3; averaged over a batch.
    assert losses == pytest.approx(after(2)[1], rel=0.01)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}


def test_runs_that_differ_in_their_numbers_alone_share_one_executable(run):
    step = compiled_step(TASK, "float32")
    state = begun(TASK)
    for changes in ({"lr": 1e-3}, {"weight_decay": 0.5}, {"clip": 0.1}):
        numbers = hyper(replace(run, optim=replace(run.optim, **changes)), lr=changes.get("lr", 1e-2))
        state, _ = step(state, batch_of(TASK, 4), Knowledge(), numbers)
    assert step._cache_size() == 1


def test_two_executions_give_the_same_bits():
    jax.tree.map(np.testing.assert_array_equal, after(5)[0].params, after(5)[0].params)


@pytest.mark.parametrize(
    "model",
    [
        TransformerConfig(vocab=512, dim=64, layers=4, heads=4, context=128),
        TransformerConfig(
            vocab=512, dim=128, layers=3, heads=4, kv_heads=2, context=128, activation="gelu", tied=False
        ),
        TransformerConfig(vocab=1024, dim=256, layers=2, heads=2, context=64),
    ],
    ids=["d64", "d128-grouped-untied", "d256"],
)
def test_the_exact_flops_agree_with_xlas_cost_analysis_of_the_training_step(model):
    task = TASK._replace(model=model)
    shapes = jax.eval_shape(compiled_init(task), 0)
    step = jax.jit(partial(train_step, task, "float32", ALONE))
    compiled = step.lower(shapes, batch_of(task, 4), Knowledge(), NUMBERS).compile()
    counted = train_flops(model, 4 * model.context).exact
    # XLA counts elementwise work and the optimizer too: a few percent at these widths.
    assert compiled.cost_analysis()["flops"] == pytest.approx(counted, rel=0.05)


SMALL = {"vocab": 330, "dim": 16, "layers": 1, "heads": 2, "context": 32}
TASKS = {
    "prefix": ({"architecture": "prefix"}, Prefix()),
    "bert": ({"architecture": "encoder", "token_types": 2, "sentence_head": True}, Masked(next_sentence=True)),
    "t5": ({"architecture": "encoder_decoder", "positions": "t5"}, SpanCorruption()),
    "ul2": ({"architecture": "prefix"}, MixtureOfDenoisers()),
    "electra": ({"architecture": "encoder"}, ReplacedTokens()),
    "experts": ({"moe": Experts(experts=4)}, NextToken()),
}


QUICK = ("t5", "electra", "experts")  # the others among the slow tests


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TASKS],
)
def task(request):
    changes, objective = TASKS[request.param]
    return Task(TransformerConfig(**SMALL | changes), objective, specials=70, smoothed=False)


def test_every_task_learns_its_batch(task):
    state = begun(task)
    step = compiled_step(task, "float32")
    tokens, metrics = batch_of(task, 4), []
    for _ in range(40):
        state, found = step(state, tokens, Knowledge(), NUMBERS._replace(lr=2e-2))
        metrics.append(found)
    first, last = metrics[0], metrics[-1]
    assert float(last.loss) < 0.8 * float(first.loss)
    assert 0 < float(first.bearing) <= 4 * lengths(task.model, task.objective).predicted
    beside = task.model.moe is not None or isinstance(task.objective, ReplacedTokens) or task.model.sentence_head
    assert (float(first.auxiliary) > 0) == beside


def test_smoothed_targets_are_learned_and_the_loss_stays_unsmoothed():
    smoothed = TASK._replace(smoothed=True)
    state, tokens = begun(smoothed), batch_of(TASK, 4)
    step = compiled_step(smoothed, "float32")
    _, plain = step(begun(smoothed), tokens, Knowledge(), NUMBERS)
    found, metrics = step(state, tokens, Knowledge(), NUMBERS._replace(label_smoothing=0.1))
    assert float(metrics.loss) == float(plain.loss)

    def by_definition(params):
        x_BTD = families.states(MODEL, params, Inputs(tokens.window_BW[:, :-1])).x_BTD
        logs_MV = jax.nn.log_softmax(families.logits(MODEL, params, x_BTD.reshape(-1, MODEL.dim)))
        targets_MV = optax.smooth_labels(jax.nn.one_hot(tokens.window_BW[:, 1:].reshape(-1), MODEL.vocab), 0.1)
        return -jnp.sum(targets_MV * logs_MV, axis=-1).mean()

    grads = jax.jit(jax.grad(by_definition))(begun(smoothed).params)
    # float32 sums of 64 tokens over a vocabulary of 260.
    assert float(metrics.grad_norm) == pytest.approx(float(optax.tree.norm(grads)), rel=1e-4)
    assert found is not None


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"logit_softcap": 2.0, "tied": False}], ids=["plain", "capped"])
@pytest.mark.parametrize("smoothed", [False, True], ids=["", "smoothed"])
def test_a_loss_that_is_computed_in_parts_learns_the_same(monkeypatch, changes, smoothed):
    task = TASK._replace(model=replace(MODEL, **changes), smoothed=smoothed)
    numbers = NUMBERS._replace(label_smoothing=0.1 * smoothed)

    def stepped():
        step = jax.jit(partial(train_step, task, "float32", Layout(microbatches=2)))  # traced anew
        return step(begun(task), batch_of(task, 4), Knowledge(), numbers)

    whole, at_once = stepped()
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 10 * MODEL.vocab)
    parts, in_parts = stepped()
    assert float(in_parts.loss) == pytest.approx(float(at_once.loss), rel=1e-6)
    # float32 sums of 64 tokens over a vocabulary of 260, in another order.
    assert float(in_parts.grad_norm) == pytest.approx(float(at_once.grad_norm), rel=1e-5)
    # The first Adam step divides a gradient by its own size: where it is rounding noise, so is the update.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), parts.params, whole.params)
