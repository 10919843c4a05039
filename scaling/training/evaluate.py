"""The final loss: over the fixed held-out sequences, in nats a token and, where that means something, bits a byte.

Of a mixture, each part has a fixed set of its own and its own loss; the run's
is their mean by `Mixture.target`, the same for all weights that it is trained on.
"""

import math
from dataclasses import asdict

import numpy as np

from scaling.config import Completion, NextToken, Prefix, RunConfig
from scaling.data.batches import Batch
from scaling.data.store import Store
from scaling.models.families import Params
from scaling.record import Heldout, PartLoss
from scaling.training.feed import Feed
from scaling.training.losses import task_of
from scaling.training.site import HERE, Site
from scaling.training.step import compiled_evaluate


def evaluate(run: RunConfig, store: Store, feed: Feed, params: Params, site: Site = HERE) -> Heldout:
    """Loss over the held-out set, with standard errors over its sequences."""
    losses = compiled_evaluate(task_of(run), run.precision, *site)
    sequences, nats, weights = len(feed.heldout.window), [], []
    for start in range(0, sequences, run.batch):
        rows = np.arange(start, start + run.batch) % sequences  # one shape for the last batch too
        found = losses(params, feed.heldout_rows(rows), feed.knowledge)
        for kept, values in zip((nats, weights), found, strict=True):
            kept.append(np.asarray(values, np.float64)[: sequences - start])
    return measured(run, np.concatenate(nats), np.concatenate(weights), target_bytes(run, store, feed.heldout))


def target_bytes(run: RunConfig, store: Store, read: Batch) -> np.ndarray | None:
    """UTF-8 bytes that each sequence's targets stand for, (B,); where only some bear loss, those.

    None where the targets are no stretch of text told from what precedes it:
    bits a byte would compare what cannot be compared.
    """
    if isinstance(run.objective, Completion):
        targets = read.window[:, run.lengths.source : -1]
        return np.where(targets >= 0, store.piece_bytes[np.maximum(targets, 0)], 0).sum(axis=1, dtype=np.float64)
    if not isinstance(run.objective, NextToken | Prefix):
        return None
    size = store.piece_bytes[read.targets]
    if read.bears is not None:
        size = size * read.bears
    return size[:, run.text - run.lengths.predicted :].sum(axis=1, dtype=np.float64)


def measured(run: RunConfig, nats: np.ndarray, weights: np.ndarray, target_bytes: np.ndarray | None) -> Heldout:
    """Means over all sequences; of a mixture, over those of each part, one part after another, and then over parts.

    nats, weights: of each target, (B, K). target_bytes: that a sequence's targets stand for, (B,).
    """
    positions = isinstance(run.objective, NextToken)
    if run.data.mixture is None:
        return Heldout(
            **asdict(_of_part(nats, weights, target_bytes)), by_position=by_position(nats, weights) if positions else {}
        )
    count, parts, places = run.data.heldout_sequences, {}, []
    for k, part in enumerate(run.data.parts):
        mine = slice(k * count, (k + 1) * count)
        size = None if target_bytes is None else target_bytes[mine]
        parts[part.name] = _of_part(nats[mine], weights[mine], size)
        places.append(by_position(nats[mine], weights[mine]) if positions else {})
    target = np.array(run.data.mixture.target or [1.0] * len(parts))
    target /= target.sum()
    return Heldout(
        **_mean(list(parts.values()), target),
        by_position={
            end: float(target @ [of[end] for of in places]) for end in places[0] if all(end in of for of in places)
        },
        parts=parts,
    )


def _of_part(nats: np.ndarray, weights: np.ndarray, target_bytes: np.ndarray | None) -> PartLoss:
    of_sequence = nats.sum(axis=1)
    loss, loss_se = ratio(of_sequence, weights.sum(axis=1))
    bits = bits_se = None
    if target_bytes is not None:
        bits, bits_se = (value / math.log(2) for value in ratio(of_sequence, target_bytes))
    return PartLoss(
        loss=loss,
        loss_se=loss_se,
        bits_per_byte=bits,
        bits_per_byte_se=bits_se,
        sequences=len(nats),
        tokens=int(weights.sum()),
    )


def _mean(parts: list[PartLoss], target: np.ndarray) -> dict[str, float | int | None]:
    """Fields of the mean of losses with the shares `target`; the sets are independent, so squared errors add up."""
    found: dict[str, float | int | None] = {
        name: sum(getattr(of, name) for of in parts) for name in ("sequences", "tokens")
    }
    for name in ("loss", "bits_per_byte"):
        values, errors = [getattr(of, name) for of in parts], [getattr(of, f"{name}_se") for of in parts]
        known = None not in values
        found[name] = float(target @ values) if known else None
        found[f"{name}_se"] = float(np.linalg.norm(target * errors)) if known else None
    return found


def by_position(nats_BT: np.ndarray, weights_BT: np.ndarray) -> dict[int, float]:
    """Mean nats of the tokens at places 1, 2, 3-4, 5-8, ... of a sequence, by the last place of each group.

    How much a model gains from what it has read (Kaplan et al. 2020, figure 7). Groups without a target are left out.
    """
    last = nats_BT.shape[1]
    ends = [2**power for power in range(last.bit_length()) if 2**power < last] + [last]
    groups = {end: slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)}
    counts = {end: weights_BT[:, group].sum() for end, group in groups.items()}
    return {end: float(nats_BT[:, groups[end]].sum() / count) for end, count in counts.items() if count}


def ratio(nats: np.ndarray, size: np.ndarray) -> tuple[float, float]:
    """A ratio of two sums over sequences and its standard error (Cochran 1977, Sampling Techniques, section 6.3)."""
    sequences = len(nats)
    mean = nats.sum() / size.sum()
    residuals = nats - mean * size
    return float(mean), float(math.sqrt(np.square(residuals).sum() / (sequences * (sequences - 1))) / size.mean())
