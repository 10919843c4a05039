"""Run directories as rows: the only way from training to analysis."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.tables.files import from_rows
from scaling.record import RecordError, RunRecord, read_records


def from_records(folder: Path) -> pa.Table:
    """One row for each run directory, finished or not.

    A record that cannot be trusted is a row with status `unreadable` and the reason
    as its message; a directory without a record is `unfinished`.
    """
    rows = [_unreadable(item) if isinstance(item, RecordError) else flatten(item) for item in read_records(folder)]
    for path in sorted(folder.glob("*/config.json")):
        if not path.with_name("record.json").exists():
            rows.append({"run_id": path.parent.name, "status": "unfinished", "message": "no record yet"})
    return from_rows(rows)


def flatten(record: RunRecord) -> dict[str, Any]:
    """A record as one flat row. What a family does not have, such as the heads of a recurrent network, is empty."""
    held, config = record.heldout, record.config
    return {
        "run_id": record.run_id,
        "status": record.status,
        "message": record.message,
        "params": record.params.total,
        "tokens": record.tokens.seen,
        "flops": record.flops.exact,
        "loss": held.loss if held else None,
        "loss_se": held.loss_se if held else None,
        "bits_per_byte": held.bits_per_byte if held else None,
        "loss_by_position": held.by_position if held else {},
        "train_loss": record.train_loss,
        "cluster": record.cluster,
        "seed": config.seed,
        "schedule": config.schedule.kind,
        "params_total": record.params.total,
        "params_body": record.params.body,
        "params_embedding": record.params.embedding,
        "params_head": record.params.head,
        "params_active": record.params.active,
        "flops_exact": record.flops.exact,
        "flops_kaplan": record.flops.kaplan,
        "flops_chinchilla": record.flops.chinchilla,
        "flops_deepseek": record.flops.deepseek,
        "flops_computed": record.cost.flops_computed,
        "tokens_unique": record.tokens.unique,
        "tokens_loss_bearing": record.tokens.loss_bearing,
        "epochs": record.tokens.epochs,
        **_parts(record),
        "lr": config.optim.lr,
        "batch": config.batch,
        **_model(config.model),
        "objective": config.objective.kind,
        "tokenizer": config.data.tokenizer,
        "content": config.data.content,
        "warmup_tokens": config.schedule.warmup_tokens,
        "device_seconds": record.cost.device_seconds,
        "mfu": record.cost.mfu,
        "energy_kwh": record.cost.energy_kwh,
        "git_commit": record.provenance.git_commit,
        "git_dirty": record.provenance.git_dirty,
        "python": record.provenance.python,
        "device_kind": record.provenance.device_kind,
        "packages": json.dumps(record.provenance.packages, sort_keys=True),
    }


def _parts(record: RunRecord) -> dict[str, Any]:
    """Of a mixture, for each part: the tokens seen and the different ones, epochs, and the loss on its held-out set."""
    row: dict[str, Any] = {}
    for name, read in record.tokens.parts.items():
        row |= {f"tokens_{name}": read.seen, f"unique_{name}": read.unique, f"epochs_{name}": read.epochs}
        row[f"share_{name}"] = read.seen / record.tokens.seen if record.tokens.seen else None
    for name, held in record.heldout.parts.items() if record.heldout else ():
        row |= {f"loss_{name}": held.loss, f"loss_{name}_se": held.loss_se, f"bits_per_byte_{name}": held.bits_per_byte}
    return row


def _model(model: Any) -> dict[str, Any]:
    """Its family and shape. Experts have columns only where there are any."""
    shape = {name: getattr(model, name, None) for name in ("dim", "layers", "heads", "context", "vocab")}
    moe = getattr(model, "moe", None)
    experts = {"experts": moe.experts, "experts_active": moe.active} if moe else {}
    return {"family": getattr(model, "kind", model.architecture), **shape, **experts}


def _unreadable(error: RecordError) -> dict[str, Any]:
    return {"run_id": error.path.parent.name, "status": "unreadable", "message": str(error)}
