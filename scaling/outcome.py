"""The record of an attempt that has ended, well or badly.

No JAX: a launcher writes one for a worker that died.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from scaling.attempts import attempts
from scaling.config import Placement, RunConfig, run_id, to_dict
from scaling.counts import Flops, Params, params, train_flops
from scaling.curve import SKIPPED, read_final, read_live
from scaling.hardware import hardware_of
from scaling.provenance import provenance
from scaling.record import Cost, Heldout, Provenance, RunDirectory, RunRecord, Tokens

JOULES_PER_KWH = 3.6e6
TAIL = 0.05  # share of the curve's rows whose mean is the final training loss


def record_of(
    run: RunConfig,
    placement: Placement,
    *,
    status: Literal["finished", "diverged", "failed", "stopped"],
    message: str,
    heldout: Heldout | None,
    curve: Path | None,
    tokens: Tokens,
    started_from_tokens: int,
    device_seconds: float,
    wall_seconds: float,
    attempts: int,
    made_with: Provenance,
    useful_seconds: float | None = None,
    data_seconds: float | None = None,
    skipped_steps: int = 0,
    counted: Params | None = None,
    flops: Callable[[int], Flops] | None = None,
) -> RunRecord:
    """Everything known of a run at its end.

    curve: its Parquet file, if it has one. device_seconds: on the clock, of all
    steps; useful_seconds: of those whose update was taken, if not of all of
    them; data_seconds: of the host, making their batches. counted: parameters, where only
    training tells how many there are. flops: of the first so many tokens, where batches differ in shape.
    """
    flops = flops or (lambda tokens: train_flops(run.model, tokens, run.objective))
    flops_computed = flops(tokens.seen).exact - flops(started_from_tokens).exact
    hardware = hardware_of(made_with.device_kind)
    peak = hardware and hardware.peak_flops(run.precision) * made_with.devices
    cost = Cost(
        wall_seconds=wall_seconds,
        device_seconds=device_seconds * made_with.devices,
        started_from_tokens=started_from_tokens,
        flops_computed=flops_computed,
        attempts=attempts,
        mfu=flops_computed / device_seconds / peak if peak and device_seconds else None,
        goodput=(device_seconds if useful_seconds is None else useful_seconds) / wall_seconds if wall_seconds else None,
        data_seconds=data_seconds,
        tokens_per_second=(tokens.seen - started_from_tokens) / device_seconds if device_seconds else None,
        energy_kwh=device_seconds * made_with.devices * hardware.watts / JOULES_PER_KWH if hardware else None,
    )
    return RunRecord(
        run_id=run_id(run),
        status=status,
        message=message,
        config=run,
        placement=to_dict(placement),
        cluster=run.cluster,
        heldout=heldout,
        train_loss=_tail_mean(curve),
        skipped_steps=skipped_steps,
        params=counted or params(run.model, run.objective),
        flops=flops(run.tokens),
        tokens=tokens,
        cost=cost,
        provenance=made_with,
    )


def _tail_mean(curve: Path | None) -> float | None:
    if curve is None or not curve.exists():
        return None
    table = read_final(curve)
    losses = table["loss"].to_numpy()
    if SKIPPED in table.column_names:
        losses = losses[table[SKIPPED].to_numpy() == 0]
    tail = losses[-max(1, round(TAIL * len(losses))) :]
    return float(np.mean(tail)) if len(tail) and np.isfinite(tail).all() else None


def failed_record(run: RunConfig, placement: Placement, message: str, last_tokens: int) -> RunRecord:
    """The record of a run that could not be trained; what it cost is not known. last_tokens: of its curve."""
    return record_of(
        run,
        placement,
        status="failed",
        message=message,
        heldout=None,
        curve=None,
        tokens=Tokens(seen=last_tokens, loss_bearing=last_tokens, unique=0, epochs=0.0),
        started_from_tokens=last_tokens,
        device_seconds=0.0,
        wall_seconds=0.0,
        attempts=1,
        made_with=provenance("unknown", 0),
    )


def stopped_record(
    run: RunConfig, placement: Placement, message: str, directory: RunDirectory, like: Provenance
) -> RunRecord:
    """The record of a run that a launcher stopped before its end, as its curve and attempts tell of it.

    like: how another run of the launch was made. Its checkpoint stays, and its
    curve goes on growing should it be trained to its end.
    """
    rows = read_live(directory.live_curve)
    seen = rows[-1]["tokens"] if rows else 0
    times = [attempt.ended - attempt.began for attempt in attempts(directory) if attempt.ended is not None]
    made_with = replace(provenance(like.device_kind, like.devices), packages=like.packages)
    return record_of(
        run,
        placement,
        status="stopped",
        message=message,
        heldout=None,
        curve=None,
        tokens=Tokens(seen=seen, loss_bearing=seen, unique=0, epochs=0.0),
        started_from_tokens=0,
        device_seconds=sum(row["step_seconds"] for row in rows),
        wall_seconds=sum(times),
        attempts=len(times),
        made_with=made_with,
        skipped_steps=sum(row.get(SKIPPED, 0) for row in rows),
    )
