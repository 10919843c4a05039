"""The log-probability of a text by a trained run of next-token prediction."""

from collections.abc import Callable

import numpy as np
from safetensors.numpy import load_file

from scaling.config import NextToken, NgramConfig, RunConfig
from scaling.data.store import Store
from scaling.data.tokenizer import load_tokenizer
from scaling.models import ngram
from scaling.record import RunDirectory
from scaling.training.checkpoint import restore
from scaling.training.feed import keys
from scaling.training.losses import Knowledge, Tokens, task_of
from scaling.training.step import compiled_evaluate, compiled_init

# T context, W = T + 1 tokens of a window, B windows


def scorer(run: RunConfig, store: Store, directory: RunDirectory) -> Callable[[str], float]:
    """A function that gives a text's log-probability in nats, all its tokens given those before them.

    The text follows an end-of-document token, as in training, and is cut into
    windows of the run's context that share one token. Raises ValueError for
    another objective, and where no checkpoint is left.
    """
    if not isinstance(run.objective, NextToken):
        raise ValueError(
            f"{directory.path}: its objective is {run.objective.kind}, which gives a text no probability; "
            "take a run of next_token"
        )
    tokenizer, losses = load_tokenizer(store.tokenizer_folder), _losses(run, directory)

    def score(text: str) -> float:
        tokens = np.concatenate([[store.manifest.eod], *tokenizer.encode([text])])
        window_BW, real_BT = windows(tokens, run.text)
        return -float(losses(window_BW)[real_BT].sum())

    return score


def windows(tokens: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """(B, W) windows that predict every token but the first once, and (B, T) whether a target is one of them."""
    predicted = len(tokens) - 1
    count = -(-predicted // context)
    padded = np.append(tokens, np.full(count * context - predicted, tokens[0])).astype(np.int32)
    window_BW = padded[np.arange(count)[:, None] * context + np.arange(context + 1)]
    return window_BW, (np.arange(count * context) < predicted).reshape(count, context)


def _losses(run: RunConfig, directory: RunDirectory) -> Callable[[np.ndarray], np.ndarray]:
    """Nats of every target of (B, W) windows, (B, T)."""
    if isinstance(run.model, NgramConfig):
        path = directory.path / "counts.safetensors"
        if not path.exists():
            raise ValueError(f"{path} is not there: the run is not finished; train it first")
        counts = ngram.from_arrays(load_file(path))
        if run.model.pseudocounts is not None:
            return lambda window_BW: ngram.table_losses(counts, window_BW, run.model.pseudocounts)
        smoothed = ngram.smooth(counts)
        return lambda window_BW: ngram.losses(smoothed, window_BW)
    task = task_of(run)
    found = restore(directory.checkpoints, compiled_init(task)(run.seed), at_most=run.steps)
    if found is None:
        raise ValueError(f"{directory.checkpoints} holds no whole checkpoint; let the run go on until it writes one")
    params, evaluate = found[0].params, compiled_evaluate(task, run.precision)

    def losses(window_BW: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(window_BW), run.batch):
            part = window_BW[start : start + run.batch]
            rows = np.resize(np.arange(len(part)), run.batch)  # one shape for the last batch too
            nats, _ = evaluate(params, _tokens(run, part[rows]), Knowledge())
            parts.append(np.asarray(nats, np.float64)[: len(part)])
        return np.concatenate(parts)

    return losses


def _tokens(run: RunConfig, window_BW: np.ndarray) -> Tokens:
    """One document a window."""
    documents = np.zeros_like(window_BW[:, 1:]) if run.data.document_attention else None
    return Tokens(window_BW, keys(0, np.arange(len(window_BW))), documents)
