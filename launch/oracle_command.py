"""`scaling oracle`: the whole lab on worlds whose law is known, and what it found beside the truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from launch.launch_command import LaunchOptions, dry_run, train_all
from launch.options import console, study_of
from scaling.config import RunConfig, run_id
from scaling.plan import Study
from scaling.record import write_atomic
from scaling.workspace import Workspace

LEAST_RUNS = 6  # that are left when the range of a fit is narrowed


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The runs of one world, by their tokens. n runs."""

    name: str
    tokens: np.ndarray  # (n,)
    loss: np.ndarray  # (n,) measured, by the records
    expected: np.ndarray  # (n,) computed: the mean over samples of the world
    floor: float  # of the world
    floor_heldout: float  # of the very text on which the runs are measured
    beta: float


def oracle(arguments: list[str]) -> None:
    """Plan, train, and fit worlds with known answers; compare exponent, floor and losses with the truth."""
    options, study = study_of("oracle", LaunchOptions, ["oracle", *arguments])
    if options.dry_run:
        return dry_run(study, options)
    study, outcomes = train_all(study, options)
    unfinished = [name for name, status in outcomes.items() if status != "finished"]
    if unfinished:
        raise ValueError(f"{len(unfinished)} of {len(outcomes)} runs did not finish, the first {unfinished[0]}")
    found = judged(read_arms(study, options.workspace))
    folder = options.workspace.reports / study.name
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "oracle.json", json.dumps(found, indent=1))
    write_atomic(folder / "oracle.md", markdown(found))
    console.print(markdown(found), markup=False, highlight=False, soft_wrap=True)
    console.print(f"written to {folder}")


def read_arms(study: Study, workspace: Workspace) -> list[Arm]:
    """Measured losses from the records, as every analysis reads them, with what the worlds' laws say of them."""
    from analysis.tables.table import read_table

    table = read_table(workspace.runs)
    losses = dict(zip(table["run_id"].to_pylist(), table["loss"].to_pylist(), strict=True))
    by_arm: dict[str, list[RunConfig]] = {}
    for cell in study.cells:
        by_arm.setdefault(cell.arm, []).append(cell.run)
    floors = {run.data: heldout_floor(run, workspace) for run in study.runs}
    return [_arm(name, runs, losses, floors[runs[0].data]) for name, runs in by_arm.items()]


def _arm(name: str, runs: Sequence[RunConfig], losses: dict[str, float], floor_heldout: float) -> Arm:
    from scaling.data.worlds import floor
    from scaling.data.worlds.tabular import expected_loss

    world = runs[0].data.source.world
    expected = [expected_loss(world, run.tokens, run.model.vocab, run.model.pseudocounts) for run in runs]
    return Arm(
        name=name,
        tokens=np.array([run.tokens for run in runs], float),
        loss=np.array([losses[run_id(run)] for run in runs]),
        expected=np.array(expected),
        floor=floor(world).nats_per_token,
        floor_heldout=floor_heldout,
        beta=world.beta,
    )


def heldout_floor(run: RunConfig, workspace: Workspace) -> float:
    """Mean nats a token of the held-out text by the world's own law: no reader's loss on it should be lower by chance.

    It is off the world's floor by the luck of that text, which all runs of a world share.
    """
    from scaling.data.prepare import prepare
    from scaling.data.tokenizer import BYTES
    from scaling.data.worlds.zipf import nats
    from scaling.training.feed import Feed

    windows_BW = Feed(run, prepare(run.data, workspace.root, console.print)).heldout.window
    points_BW = windows_BW - BYTES  # of the end of a document: -1
    return float(nats(run.data.source.world, points_BW[:, :-1], points_BW[:, 1:]).mean())


def judged(arms: Sequence[Arm]) -> dict[str, Any]:
    """What the fits found beside the truth, as plain data.

    Fitted twice: as `scaling fit` would, all runs alike, and with the noise that
    runs of so many tokens have, known from their spread over the worlds.
    """
    from analysis import fit, laws
    from analysis.losses import squared

    law, noise = laws.m2("tokens"), spread(arms)
    plain = [fit(law, {"tokens": arm.tokens, "loss": arm.loss}) for arm in arms]
    known = [fit(law, {"tokens": arm.tokens, "loss": arm.loss}, squared(), noise=noise) for arm in arms]
    return {
        "arms": len(arms),
        "beta": arms[0].beta,
        "floor": float(np.mean([arm.floor for arm in arms])),
        "losses": _losses(arms),
        "plain": _recovered(arms, plain, [_exact(arm) for arm in arms]),
        "noise_known": _recovered(arms, known, [_exact(arm, noise) for arm in arms]),
        "range": _ranges(arms[0]),
    }


def spread(arms: Sequence[Arm]) -> np.ndarray:
    """(n,) standard deviation of ln loss over samples of the worlds, the luck of the held-out text's floor left out."""
    off = [(arm.loss - arm.floor_heldout + arm.floor - arm.expected) / arm.expected for arm in arms]
    return np.std(off, axis=0, ddof=1)


def _exact(arm: Arm, noise: np.ndarray | None = None, first: int = 0) -> Any:
    """The law fitted to expected losses, without their noise: what its form and the range of the runs do."""
    from analysis import fit, laws
    from analysis.losses import squared

    rows = {"tokens": arm.tokens[first:], "loss": arm.expected[first:]}
    return fit(laws.m2("tokens"), rows, None if noise is None else squared(), noise=noise)


def _recovered(arms: Sequence[Arm], fits: Sequence[Any], exact: Sequence[Any]) -> dict[str, Any]:
    from analysis.recovery import recover

    truths = {
        "exponent": [arm.beta for arm in arms],
        "exponent of the expected losses in this range": [found.params["c"] for found in exact],
        "floor": [arm.floor for arm in arms],
        "floor of the held-out text": [arm.floor_heldout for arm in arms],
        "floor of the expected losses in this range": [found.params["E"] for found in exact],
    }
    names, values = list(truths), list(truths.values())
    found = recover(fits, {"c": values[:2], "E": values[2:]})
    both = dict(zip(names, [*found["c"], *found["E"]], strict=True))
    wrong = sum(found.status.value != "converged" for found in fits)
    return {"not_converged": wrong, **{name: _plain(recovery) for name, recovery in both.items()}}


def _losses(arms: Sequence[Arm]) -> list[dict[str, float]]:
    """For each number of tokens the mean measured excess over the floor of the held-out text, beside the expected."""
    measured = np.stack([arm.loss - arm.floor_heldout for arm in arms])
    expected = np.stack([arm.expected - arm.floor for arm in arms])
    error = (measured - expected).std(0, ddof=1) / np.sqrt(len(arms))
    rows = zip(arms[0].tokens, expected.mean(0), measured.mean(0), error, strict=True)
    return [{"tokens": float(t), "expected": float(e), "measured": float(m), "se": float(s)} for t, e, m, s in rows]


def _ranges(arm: Arm) -> list[dict[str, float]]:
    """Exponent and floor of expected losses when the smallest runs are left out."""
    found = []
    for first in range(len(arm.tokens) - LEAST_RUNS + 1):
        params = _exact(arm, first=first).params
        found.append({"from_tokens": float(arm.tokens[first]), "exponent": params["c"], "floor": params["E"]})
    return found


def _plain(recovery: Any) -> dict[str, Any]:
    return {
        "parameter": recovery.parameter,
        "truth": float(recovery.truth.mean()),
        "mean": float(recovery.values.mean()),
        "bias": recovery.bias,
        "bias_se": recovery.bias_se,
        "spread": recovery.spread,
        "coverage": {method: recovery.coverage(method) for method in recovery.held},
        "width": recovery.width,
    }


def markdown(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{found['arms']} worlds. True exponent {found['beta']:.4f}, true floor {found['floor']:.4f} nats a token.",
        "",
        "| tokens | expected excess | measured excess | its standard error | off by, in errors |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['tokens']:,.0f} | {row['expected']:.5f} | {row['measured']:.5f} | {row['se']:.5f} | "
        f"{(row['measured'] - row['expected']) / row['se']:+.1f} |"
        for row in found["losses"]
    ]
    for way, title in (("plain", "all runs alike, Huber's loss"), ("noise_known", "by their noise, least squares")):
        rows = dict(found[way])
        lines += ["", f"L = E + b D^-c fitted to the runs of each world, {title}; {rows.pop('not_converged')} fits did"]
        lines[-1] += " not end at an optimum inside the bounds:"
        lines += ["", "| | truth | mean of fits | bias (its error) | spread | 95% intervals that hold it |"]
        lines += ["|---|---:|---:|---:|---:|---|", *(_row(name, row) for name, row in rows.items())]
    lines += ["", "| fitted from tokens | exponent of the expected losses | floor |", "|---:|---:|---:|"]
    lines += [f"| {r['from_tokens']:,.0f} | {r['exponent']:.4f} | {r['floor']:.4f} |" for r in found["range"]]
    return "\n".join(lines) + "\n"


def _row(name: str, row: dict[str, Any]) -> str:
    said = ", ".join(f"{m} {s:.0%} ({low:.0%} to {high:.0%})" for m, (s, low, high) in row["coverage"].items())
    return (
        f"| {name} | {row['truth']:.4f} | {row['mean']:.4f} | {row['bias']:+.4f} ({row['bias_se']:.4f}) | "
        f"{row['spread']:.4f} | {said} |"
    )
