"""A comparison as plain lines, as rows for tables, and as plain data."""

from typing import Any

import numpy as np

from analysis.compared_arm import ComparedArm, axis_letter, axis_name
from analysis.comparison import BITS, Comparison, Worth, positions
from analysis.repeats import Repeats
from analysis.report.export import plain
from analysis.tables.table import column
from analysis.words import compact, flops, interval, percent, plural, short

NONE, ALL = "-", "all"
RANK_HEAD = ("budget (FLOPs)", "objective", "best", "loss", "lead", "then")
ARM_HEAD = ("arm", "objective", "runs", "parameters", "active", "tokens", "C (FLOPs)", "loss", "se", "bits per byte")
WORTH_HEAD = ("arm", "against", "loss", "the other's", "times as many", "")


def summarise_comparison(found: Comparison) -> str:
    """Each arm's best run, the exponents, the tests, and what could not be done."""
    reasons = found.selection.reasons()
    runs = plural(found.table.num_rows + found.baselines.num_rows, "run")
    lines = [f"{plural(len(found.arms), 'arm')}, {runs}"]
    if reasons:
        left = ", ".join(f"{count} {why}" for why, count in reasons.items())
        lines[0] += f"; {sum(reasons.values())} left out ({left})"
    if found.unit == BITS:
        lines += ["losses in bits per byte: not all runs read the same tokens"]
    width = max([len(row[0]) for row in arm_rows(found)], default=0)
    lines += ["", *(f"  {name:<{width}}  {rest}" for name, rest in map(_arm_line, arm_rows(found)))]
    lines += ["", *exponent_lines(found)] if exponent_lines(found) else []
    lines += [
        f"exponent of {item.of}, {plural(len(item.arms), 'arm')}: {item.result.describe()}" for item in found.same
    ]
    for item in found.worth:
        arm, first, loss, at, factor, outside = worth_row(found, item)
        lines.append(f"{arm}: for a loss of {loss} {factor} times the {at} of {first} {outside}".rstrip())
    lines += ranking_lines(found)
    lines += [
        f"best learning rate of {curve.arm}, {curve.label}: {curve.best:.3g}" + (" (edge)" if curve.edge else "")
        for curve in found.rates
    ]
    lines += repeat_lines(found)
    if found.seeds:
        lines.append(f"noise of the seeds {found.seeds.describe()}")
    if found.not_done:
        lines += ["", *(f"Not done: {item.part}: {item.reason}" for item in found.not_done)]
    if found.warnings:
        lines += ["", "Warnings", *(f"  {doubt.name}: {doubt.text}" for doubt in found.warnings)]
    return "\n".join(lines)


def arm_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Under ARM_HEAD: an arm's ranges, and the lowest loss it reached; then the runs that took no training FLOPs."""
    rows = [_arm_row(arm.name, arm.table) for arm in found.arms]
    return rows + [
        _arm_row(found.baselines["arm"][row].as_py(), found.baselines.slice(row, 1))
        for row in range(found.baselines.num_rows)
    ]


def exponent_lines(found: Comparison) -> list[str]:
    """One an arm that has a line."""
    width = max([len(arm.name) for arm in found.arms], default=0)
    return [
        f"  {arm.name:<{width}}  loss ~ {axis_letter(found.x)}^{interval(arm.line.exponent)}"
        + (f", N* ~ C^{interval(arm.isoflop.params.exponent)}" if arm.isoflop and arm.isoflop.params else "")
        for arm in found.arms if arm.line
    ]  # fmt: skip


def ranking_lines(found: Comparison) -> list[str]:
    """The arms at each budget, the best first, and how far it is ahead."""
    goals = ["" if objective in (NONE, ALL) else f" ({objective})" for _, objective, *_ in ranking_rows(found)]
    return [
        f"at {budget} FLOPs{goal}: {best} {loss} ({lead} ahead), {then}"
        for goal, (budget, _, best, loss, lead, then) in zip(goals, ranking_rows(found), strict=True)
    ]


def ranking_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Under RANK_HEAD."""
    several = len(found.objectives) > 1
    return [
        (
            flops(item.budget),
            (item.objective or NONE).replace("_", " ") if several else ALL,
            item.best,
            f"{item.losses[0][1]:.4f}",
            percent(item.lead),
            ", ".join(f"{name} {loss:.4f}" for name, loss in item.losses[1:]),
        )
        for item in found.rankings
    ]


def worth_row(found: Comparison, item: Worth) -> tuple[str, ...]:
    """Under WORTH_HEAD: what an arm needs for a loss, over what the first of its objective needs."""
    at = flops(item.x) if found.x == "flops" else short(item.x)
    outside = "" if item.inside else "one of them has no runs at that loss"
    factor = interval(item.factor, ".3g")
    return item.second, item.first, f"{item.loss:.4f}", f"{at} {axis_name(found.x)}", factor, outside


def repeat_lines(found: Comparison) -> list[str]:
    """What tokens are worth that are read again, and by which fits."""
    known = found.repeats
    if known is None:
        return []
    worth = ", ".join(f"{passes} passes as {said} of new tokens" for passes, said in repeat_rows(found))
    by = f"{known.runs_of_one_pass} runs of one pass and {known.runs_again} of more"
    held = f"{interval(known.held, '.3g')} with the law of one pass held"
    return [
        f"repeated tokens: R_D = {interval(known.decay, '.3g')} by a law of {by}; {held}",
        f"  they are worth: {worth}",
    ]


def repeat_rows(found: Comparison) -> list[tuple[str, str]]:
    """Passes over the same tokens, doubled up to the most that were trained, and what they are worth in new ones."""
    known = found.repeats
    passes = [2**power for power in range(1, int(np.log2(known.most_passes)) + 1)]
    return [(str(count), interval(known.worth(count), ".3g")) for count in passes]


def position_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows: loss by place in the sequence of the largest run of each arm, and of the baselines."""
    lines = []
    for arm in found.arms:
        largest = int(np.argmax(column(arm.table, found.x)))
        lines.append((arm.name, positions(arm.table, largest)))
    lines += [
        (found.baselines["arm"][row].as_py(), positions(found.baselines, row))
        for row in range(found.baselines.num_rows)
    ]
    places = sorted({place for _, line in lines for place in line})
    rows = [
        [name, *(f"{line[place]:.3f}" if place in line else NONE for place in places)] for name, line in lines if line
    ]
    return ["arm, up to place", *map(str, places)], rows


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Everything a program may want. No number is rounded; one that is not finite becomes null."""
    return plain(
        {
            "schema": 1,
            "kind": "comparison",
            "x": found.x,
            "unit": found.unit,
            "runs_compared": found.table.num_rows,
            "left_out": found.selection.left_out,
            "arms": [_arm_json(arm, found.x) for arm in found.arms],
            "baselines": [
                {key: row.get(key) for key in ("arm", "run_id", "loss", "loss_se", "bits_per_byte")}
                | {"loss_by_position": positions(found.baselines, place)}
                for place, row in enumerate(found.baselines.to_pylist())
            ],
            "equal_exponents": [{"of": s.of, "arms": s.arms, **vars(s.result)} for s in found.same],
            "worth": found.worth,
            "rankings": found.rankings,
            "learning_rates": found.rates,
            "repeats": found.repeats and _repeats_json(found.repeats),
            "seed_noise": found.seeds,
            "not_done": found.not_done,
            "warnings": found.warnings,
            "seed": found.seed,
            "draws": found.draws,
        }
    )


def _repeats_json(known: Repeats) -> dict[str, Any]:
    return {
        "R_D": known.decay,
        "R_D_one_pass_held": known.held,
        "params": known.joint.params,
        "runs_of_one_pass": known.runs_of_one_pass,
        "runs_again": known.runs_again,
        "most_passes": known.most_passes,
    }


def _arm_line(row: tuple[str, ...]) -> tuple[str, str]:
    told = dict(zip(ARM_HEAD, row, strict=True))
    bits = f", {told['bits per byte']} bits per byte" if told["bits per byte"] != NONE else ""
    return told["arm"], (
        f"{plural(int(told['runs']), 'run')}, {told['parameters']} parameters, {told['tokens']} tokens, "
        f"{told['C (FLOPs)']} FLOPs: lowest loss {told['loss']} ± {told['se']}{bits}"
    )


def _arm_row(name: str, table: Any) -> tuple[str, ...]:
    loss = column(table, "loss")
    best = table.slice(int(np.argmin(loss)), 1).to_pylist()[0]
    active = _range(table, "params_active", compact)
    parameters = _range(table, "params", compact)
    bits = best.get("bits_per_byte")
    error = best.get("loss_se")
    return (
        name,
        (best.get("objective") or NONE).replace("_", " "),
        str(table.num_rows),
        parameters,
        active if active != parameters else ALL,
        _range(table, "tokens", compact),
        _range(table, "flops", lambda value: flops(value) if value else "0"),
        f"{best['loss']:.4f}",
        NONE if error is None else f"{error:.4f}",
        NONE if bits is None else f"{bits:.4f}",
    )


def _range(table: Any, name: str, say: Any) -> str:
    if name not in table.column_names:
        return NONE
    values = column(table, name)
    low, high = say(values.min()), say(values.max())
    return low if low == high else f"{low} to {high}"


def _arm_json(arm: ComparedArm, x: str) -> dict[str, Any]:
    runs = arm.table.select(["run_id", "params", "tokens", "flops", "loss", "loss_se"]).to_pylist()
    sizes = arm.isoflop.params if arm.isoflop else None
    return {
        "name": arm.name,
        "arm": arm.arm,
        "objective": arm.objective,
        "runs": [run | {"loss_by_position": positions(arm.table, row)} for row, run in enumerate(runs)],
        "line": arm.line and {"x": x, "coefficient": arm.line.coefficient, "exponent": vars(arm.line.exponent)},
        "points": arm.points,
        "minima": [vars(minimum) for minimum in arm.isoflop.minima] if arm.isoflop else None,
        "best_size": sizes and {"coefficient": sizes.coefficient, "exponent": vars(sizes.exponent)},
    }
