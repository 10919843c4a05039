"""Numbers that cannot be runs, and numbers that were counted in two ways.

All functions take a canonical table (`analysis.tables.table`) that holds only the rows to be fitted.
"""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from analysis.doubt import Doubt
from analysis.tables.read import NUMBERS, numbers

FACTOR = 3.0  # C may differ from 6 N D by this much: attention, head, embedding
LEAST_RATIO = 1e-3  # tokens for each parameter
MOST_NAMED = 5
FLOPS_RULE = "flops_rule"  # column that says by which rule missing FLOPs were filled in
COUNTED = "flops_exact"  # column of our own records: FLOPs counted from the matrix products
PARTS = {"params_embedding", "params_head"}  # of a model, not conventions of counting a whole one
TOTAL = {"params_total", "params_all", "params_with_embed", "params_with_embedding"}
UNITS = {"PF-days": 8.64e19, "TFLOPs": 1e12, "PFLOPs": 1e15, "EFLOPs": 1e18, "ZFLOPs": 1e21}
CORE = ("params", "tokens", "flops", "loss", "seed")  # two runs never agree in all of these
SAME = 1e-3  # relative; counts that agree this well follow one convention
RUN_NAMES = ("run", "run_name", "name", "Name", "id")
GAP = np.log(1.05)  # between two ways of counting FLOPs
FAR = np.log(2)  # no architecture alone moves C / (6 N D) by this much at once
MOST_WAYS, LEAST_ROWS = 4, 3


def check_units(table: pa.Table, *, trust_flops: bool = False, counted: bool = False) -> list[Doubt]:
    """Refuse what no run can have, and say what is doubtful.

    ValueError, with the rows: a loss <= 0, fewer than one parameter or token, tokens
    below a thousandth of the parameters, FLOPs <= 0, FLOPs further than a factor
    of 3 from 6 N D under every parameter count of the table. With trust_flops, and
    where FLOPs were counted exactly (our records), the last is a doubt `flops_far`.
    counted: where no row at all took FLOPs, such as n-grams, nothing is asked of them.

        >>> from analysis.tables.table import read_table
        >>> check_units(read_table({"N": [70.0], "D": [0.01], "loss": [3.5]}))
        Traceback (most recent call last):
        ValueError: tokens is below 1 in 1 of 1 runs (row 1: 0.01); give the count of tokens, not billions of them
    """
    if not table.num_rows:
        return []
    params, tokens, flops, loss = (numbers(table, name) for name in ("params", "tokens", "flops", "loss"))
    _refuse(table, loss, ~(loss > 0), "loss is not positive", "give the loss itself, in nats, not its logarithm")
    _refuse(table, params, ~(params >= 1), "params is below 1", "give the count of parameters, not billions of them")
    _refuse(table, tokens, ~(tokens >= 1), "tokens is below 1", "give the count of tokens, not billions of them")
    few = tokens < LEAST_RATIO * params
    hint = "give both as plain counts, not one of them in millions or billions, and look for swapped columns"
    _refuse(table, tokens, few, f"tokens is below params * {LEAST_RATIO:g}", hint)
    if counted and not flops.any():
        return _checkpoints(table)
    _refuse(table, flops, ~(flops > 0), "flops is not positive", "give the training FLOPs of the run")
    return [*_check_flops(table, trust_flops), *mixed_counting(table), *_checkpoints(table)]


def mixed_counting(table: pa.Table) -> list[Doubt]:
    """Doubts `mixed_counting`: rows of one table that count parameters or FLOPs in different ways."""
    return [*_named_ways(table), *_mixed_params(table), *_mixed_flops(table)] if table.num_rows else []


def check_duplicates(table: pa.Table) -> None:
    """ValueError where two rows are one run: equal params, tokens, flops, loss and seed, and no setting that differs.

    A column with more values than half the rows holds names, not settings.
    """
    # A seed that is not given is the same as another that is not given.
    values = np.nan_to_num(np.stack([numbers(table, name) for name in CORE], axis=1), nan=-1.0)
    _, inverse, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    same = np.flatnonzero(count[inverse.reshape(-1)] > 1)
    if not len(same):
        return
    others = [name for name in table.column_names if name not in {*CORE, "run_id", "cluster", "message"}]
    columns = [[str(value) for value in table[name].to_pylist()] for name in others]
    settings = [column for column in columns if 2 * len(set(column)) <= len(column)]
    seen: dict[tuple, int] = {}
    for row in same.tolist():
        key = (int(inverse.reshape(-1)[row]), *(column[row] for column in settings))
        if key in seen:
            pair = name_rows(table, np.array([seen[key], row]))
            raise ValueError(f"{pair} are one run twice (equal {', '.join(CORE)}); keep one row, or give their seeds")
        seen[key] = row


def name_rows(table: pa.Table, index: np.ndarray, values: np.ndarray | None = None) -> str:
    """The run ids of these rows, the first five of them, with their values where given."""
    ids = table["run_id"].take(pa.array(index[:MOST_NAMED])).to_pylist()
    said = ids if values is None else [f"{i}: {v:.4g}" for i, v in zip(ids, values[index], strict=False)]
    return ", ".join(said) + (f" and {len(index) - MOST_NAMED} more" if len(index) > MOST_NAMED else "")


def _refuse(table: pa.Table, values: np.ndarray, bad: np.ndarray, problem: str, mend: str) -> None:
    if bad.any():
        rows = name_rows(table, np.flatnonzero(bad), values)
        raise ValueError(f"{problem} in {bad.sum()} of {len(bad)} runs ({rows}); {mend}")


def _counts(table: pa.Table) -> dict[str, np.ndarray]:
    """Every column that counts the parameters of the whole model in some convention."""
    kinds = zip(table.column_names, table.schema.types, strict=True)
    names = [name for name, kind in kinds if any(test(kind) for test in NUMBERS)]
    return {n: numbers(table, n) for n in names if n == "params" or (n.startswith("params_") and n not in PARTS)}


def _check_flops(table: pa.Table, trust_flops: bool) -> list[Doubt]:
    if FLOPS_RULE in table.column_names:
        return []
    tokens, flops = numbers(table, "tokens"), numbers(table, "flops")
    rule = 6 * numbers(table, "params") * tokens
    ratios = [flops / (6 * np.where(count > 0, count, np.nan) * tokens) for count in _counts(table).values()]
    slack = 1 + 1e-9
    near = np.any([(r <= FACTOR * slack) & (r >= 1 / (FACTOR * slack)) for r in ratios], axis=0)
    if near.all():
        return []
    rows = name_rows(table, np.flatnonzero(~near), flops / rule)
    problem = f"flops is not within a factor {FACTOR:g} of 6 params tokens in {(~near).sum()} of {len(near)} runs"
    problem += f" (flops / (6 params tokens) of {rows})"
    if trust_flops or COUNTED in table.column_names:
        return [Doubt(name="flops_far", text=f"{problem}; they are used as they are")]
    raise ValueError(
        f"{problem}; {_guess(flops[~near], rule[~near], tokens[~near])}. Give the training FLOPs of the whole run, "
        "or say that these are: trust_flops=True in Python, --trust-flops in the shell"
    )


def _guess(flops: np.ndarray, rule: np.ndarray, tokens: np.ndarray) -> str:
    """Which unit would bring all these rows to 6 N D."""
    scales = {"FLOPs per token": tokens, **UNITS}
    for name, scale in scales.items():
        if np.all(np.abs(np.log(flops * scale / rule)) <= np.log(FACTOR)):
            return f"they look like {name}"
    return "they may be per token, in PF-days, or of one step"


def _named_ways(table: pa.Table) -> list[Doubt]:
    """A column `counting` says how each row was counted."""
    ways = sorted({str(way) for way in table["counting"].to_pylist()}) if "counting" in table.column_names else []
    if len(ways) < 2:
        return []
    text = f"the column counting has {len(ways)} values ({', '.join(ways)}): fit one way of counting at a time"
    return [Doubt(name="mixed_counting", text=text)]


def _mixed_params(table: pa.Table) -> list[Doubt]:
    """`params` should be one of the conventions beside it, and the same one in every row."""
    counts = _counts(table)
    params = counts.pop("params")
    agree = {name: np.abs(count - params) <= SAME * params for name, count in counts.items()}
    if not agree or any(rows.all() for rows in agree.values()):
        return []
    parts = {name: int(rows.sum()) for name, rows in agree.items() if rows.any()}
    if parts:
        said = ", ".join(f"{name} in {rows} of {len(params)} runs" for name, rows in parts.items())
        return [Doubt(name="mixed_counting", text=f"params is {said}: use one count of parameters for all runs")]
    total = sorted(TOTAL & counts.keys())
    if not total:
        return []
    return [Doubt(name="mixed_counting", text=f"params differs from {total[0]}: say which count the law's N is")]


def _mixed_flops(table: pa.Table) -> list[Doubt]:
    """C / (6 N D) in separate clusters among models of the same sizes: two ways of counting, or two architectures."""
    if FLOPS_RULE in table.column_names or COUNTED in table.column_names:
        return []
    size = np.log(numbers(table, "params"))
    ratio = np.log(numbers(table, "flops") / (6 * numbers(table, "tokens"))) - size
    order = np.argsort(ratio)
    gaps = np.diff(ratio[order])
    groups = np.split(order, np.flatnonzero(gaps > GAP) + 1)
    wide = max(np.ptp(ratio[rows]) for rows in groups)
    if not 2 <= len(groups) <= MOST_WAYS or min(map(len, groups)) < LEAST_ROWS or wide > gaps[gaps > GAP].min():
        return []
    if not any(_overlap(size[a], size[b]) or ratio[b].min() - ratio[a].max() > FAR for a, b in pairwise(groups)):
        return []
    said = ", ".join(f"{np.exp(ratio[rows].mean()):.3g} in {len(rows)} runs" for rows in groups)
    text = f"flops / (6 params tokens) is {said}{_told_apart(table, groups)}: these runs are counted in different ways"
    return [Doubt(name="mixed_counting", text=f"{text}, or differ in architecture; fit them apart or count them alike")]


def _checkpoints(table: pa.Table) -> list[Doubt]:
    """Rows of one run at several steps: all but the last were taken on the way."""
    names = [name for name in RUN_NAMES if name in table.column_names and "step" in table.column_names]
    runs = len(set(table[names[0]].to_pylist())) if names else table.num_rows
    if 2 * runs > table.num_rows:
        return []
    text = f"{table.num_rows} rows of {runs} runs (column {names[0]}): points on the way of a run were not decayed to "
    text += f"their horizon unless its rate was constant, and share its noise: map cluster to {names[0]}"
    return [Doubt(name="mid_decay", text=text)]


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return max(a.min(), b.min()) <= min(a.max(), b.max())


def _told_apart(table: pa.Table, groups: list[np.ndarray]) -> str:
    """The first column of texts that has other values in every group."""
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if name in {"run_id", "cluster", "message"} or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        values = np.array(table[name].to_pylist(), object)
        sets = [set(values[rows]) for rows in groups]
        if sum(map(len, sets)) == len(set.union(*sets)) <= MOST_WAYS * len(groups):
            return f" (they differ in {name})"
    return ""
