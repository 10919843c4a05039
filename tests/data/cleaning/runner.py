"""A step over documents in shards of any size and any order: what the engine does, in ten lines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from scaling.data.cleaning.contract import Global, Placed, Verdict
from scaling.data.sources import Document


def placed(texts: Sequence[str]) -> list[Placed]:
    return [Placed(index=index, document=Document(name=str(index), text=text)) for index, text in enumerate(texts)]


def run(
    step: Global, documents: Sequence[Placed], folder: Path, shard: int = 7, seed: int | None = None
) -> list[Verdict]:
    """Verdicts in the order of the documents. seed: shards are made in an order drawn from it."""
    folder.mkdir(parents=True)
    shards = [documents[start : start + shard] for start in range(0, len(documents), shard)]
    order = np.arange(len(shards)) if seed is None else np.random.default_rng(seed).permutation(len(shards))
    paths = [folder / f"{number:05d}.parquet" for number in range(len(shards))]
    for number in order:
        pq.write_table(step.sketch(shards[number]), paths[number])
    decision = folder / "decision"
    decision.mkdir()
    step.decide(paths, decision)
    found = {number: step.apply(shards[number], decision) for number in reversed(order)}
    return [verdict for number in range(len(shards)) for verdict in found[number]]


def kept(verdicts: Sequence[Verdict]) -> list[int]:
    return [index for index, verdict in enumerate(verdicts) if verdict.text is not None]
