"""Train an n-gram model: no steps and no gradient, one pass of counting over the run's windows, then the record."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from scaling.config import Placement, RunConfig
from scaling.counts import Params
from scaling.data.store import Store
from scaling.models import ngram
from scaling.outcome import record_of
from scaling.record import Provenance, RunDirectory, RunRecord
from scaling.training.evaluate import measured, target_bytes
from scaling.training.feed import Feed

SEQUENCES = 1024  # read at once


def count(
    run: RunConfig, store: Store, directory: RunDirectory, placement: Placement, made_with: Provenance
) -> RunRecord:
    """The record of a counted run; its counts lie in `counts.safetensors`.

    There is no curve, and nothing to resume: a run that is killed counts anew.
    """
    opened, feed = time.perf_counter(), Feed(run, store)
    counts = ngram.count(run.model, _windows(run, feed))
    counted_seconds = time.perf_counter() - opened
    fixed = feed.heldout
    nats = _losses(run, counts, fixed.window)
    _save(counts, directory.path)
    size = int(ngram.size(counts))
    return record_of(
        run,
        placement,
        status="finished",
        message="",
        heldout=measured(run, nats, np.ones_like(nats), target_bytes(run, store, fixed)),
        curve=None,
        tokens=feed.read(run.tokens, run.tokens),
        started_from_tokens=0,
        device_seconds=counted_seconds,
        wall_seconds=time.perf_counter() - opened,
        attempts=1,
        made_with=made_with,
        counted=Params(total=size, body=size, embedding=0, head=0, active=size),
    )


def _windows(run: RunConfig, feed: Feed) -> Iterator[np.ndarray]:
    """Every window that a model trained by steps would read, in the same order, (B, W)."""
    sequences = run.tokens // run.text
    for start in range(0, sequences, SEQUENCES):
        places = np.arange(start, min(start + SEQUENCES, sequences))
        yield feed.windows(places).window


def _losses(run: RunConfig, counts: ngram.Counts, window_BW: np.ndarray) -> np.ndarray:
    if run.model.pseudocounts is None:
        return ngram.losses(ngram.smooth(counts), window_BW)
    return ngram.table_losses(counts, window_BW, run.model.pseudocounts)


def _save(counts: ngram.Counts, folder: Path) -> None:
    save_file(ngram.to_arrays(counts), folder / "counts.safetensors")
