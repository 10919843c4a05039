"""Our training step as a run has it: timed on real batches, and what its compiled form asks of memory."""

import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scaling.config import RunConfig
from scaling.data.prepare import pinned, prepare
from scaling.data.store import Counts, Manifest, Store, token_dtype
from scaling.training.feed import Feed
from scaling.training.loop import warmed_step
from scaling.training.losses import task_of
from scaling.training.step import Hyper, compiled_init, compiled_step

STRETCHES = 3  # of each process
RANDOM_TOKENS = 1 << 20
NUMBERS = Hyper(lr=1e-3, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8, clip=1.0, label_smoothing=0.0)


def store_of(run: RunConfig, root: Path) -> Store:
    """The store below `root` where one of that vocabulary is prepared, else random tokens."""
    return random_store(run.data.vocab) if pinned(run.data, root) is None else prepare(run.data, root)


def random_store(vocab: int) -> Store:
    """A store of random tokens in memory: one document, no tokenizer."""
    tokens = np.random.default_rng(0).integers(vocab, size=RANDOM_TOKENS).astype(token_dtype(vocab))
    counts = Counts(documents=1, tokens=RANDOM_TOKENS, bytes=RANDOM_TOKENS)
    manifest = Manifest(
        content="random",
        source="random",
        tokenizer="bytes",
        tokenizer_sha256="",
        vocab=vocab,
        eod=vocab,  # no token: nothing ends the document
        dtype=tokens.dtype.str,
        train=counts,
        validation=counts,
        skipped=0,
    )
    ends, one_byte = np.array([RANDOM_TOKENS]), np.ones(vocab, np.int32)
    return Store(Path("random"), manifest, tokens, tokens, ends, ends, one_byte)


def timed(run: RunConfig, store: Store, steps: int) -> dict[str, Any]:
    """Tokens of text a second over stretches of `steps` steps, the metrics read one step late as in training."""
    feed = Feed(run, store)
    step_of = warmed_step(run, feed)
    state = jax.block_until_ready(compiled_init(task_of(run))(0))
    step_seconds, processor_seconds, pending, number = [], [], None, 0
    for stretch in range(STRETCHES + 1):  # the first is for warming up
        started, used = time.perf_counter(), time.process_time()
        for _ in range(steps if stretch else 3):
            state, metrics = step_of(state, feed.step(number), feed.knowledge, NUMBERS)
            number += 1
            if pending is not None:
                float(pending.loss)
            pending = metrics
        jax.block_until_ready(state)
        if stretch:
            step_seconds.append((time.perf_counter() - started) / steps)
            processor_seconds.append((time.process_time() - used) / steps)
    return {
        "peer": f"jax {jax.__version__}",
        "params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "step_seconds": step_seconds,
        "processor_seconds": processor_seconds,
        "tokens_per_second": run.batch_tokens / statistics.median(step_seconds),
    }


def compiled(run: RunConfig, store: Store) -> Any:
    """The executable of a run's step."""
    state = jax.eval_shape(compiled_init(task_of(run)), 0)
    feed = Feed(run, store)
    step_of = compiled_step(task_of(run), run.precision)
    return step_of.lower(state, feed.step(0), feed.knowledge, NUMBERS).compile()


def peak_bytes(executable: Any) -> int:
    """Arguments, outputs and temporaries; the state's buffers, which are donated, count once."""
    memory = executable.memory_analysis()
    sizes = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return sizes - memory.alias_size_in_bytes
