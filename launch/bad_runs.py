"""Stop, by option, runs of a search that will end worse than one that has ended already.

Compared are runs that differ in their optimizer's settings alone: a learning rate
that is searched for. Runs of other sizes, lengths, data, seeds, budgets or arms
are never compared, for their losses are what a law is fitted to; trunks and their
branches, which others need, are never stopped.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from launch.end_in_sight import Curve, Ended, outlook
from scaling.config import NgramConfig, OptimConfig, RunConfig, run_id
from scaling.curve import SKIPPED, read_live
from scaling.plan import Cell, Study
from scaling.record import RunDirectory, RunRecord, read_record
from scaling.workspace import Workspace

LOOKS = (0.4, 0.6, 0.8)  # shares of a run's tokens at which it is judged


@dataclass(frozen=True, kw_only=True)
class Bad:
    """Why a run is stopped, and the run of its group that did better."""

    reason: str
    best: RunRecord


@dataclass
class Judge:
    """Judges the runs of one launch. confidence: that a run which is stopped would have ended worse."""

    workspace: Workspace
    confidence: float
    groups: dict[str, list[RunConfig]]  # the others that a run is compared with, by its id
    looks: dict[str, int] = field(default_factory=dict)  # how often each was looked at
    ended: dict[str, tuple[Ended, RunRecord]] = field(default_factory=dict)  # as they were read

    def look(self, run: RunConfig, step: int) -> Bad | None:
        """Whether a run that has come to a step is bad: asked at each share of LOOKS once."""
        name = run_id(run)
        due = sum(share * run.steps <= step for share in LOOKS)
        if name not in self.groups or due <= self.looks.get(name, 0):
            return None
        self.looks[name] = due
        found = [ended for other in self.groups[name] if (ended := self._ended(other))]
        if not found:
            return None
        rows = read_live(RunDirectory(self.workspace.runs / name).live_curve)
        return self._bad(run, _curve(rows, run), found, LOOKS[due - 1])

    def _bad(self, run: RunConfig, curve: Curve, found: list[tuple[Ended, RunRecord]], share: float) -> Bad | None:
        # Each look may err, so each has its part of the risk (Bonferroni).
        level = 1 - (1 - self.confidence) / len(LOOKS)
        ahead = outlook(curve, [ended for ended, _ in found], share=share, tokens=run.tokens, confidence=level)
        ended, best = min(found, key=lambda pair: pair[0].loss)
        if ahead is None or ahead.low <= ended.loss + 2 * ended.loss_se:
            return None
        reason = (
            f"at {share:.0%} of its tokens it was expected to end at {ahead.loss:.4f}, and above {ahead.low:.4f} with "
            f"{self.confidence:.3g} confidence, by {len(found)} runs that differ in the optimizer's settings; "
            f"{best.run_id} ended at {ended.loss:.4f}"
        )
        return Bad(reason=reason, best=best)

    def _ended(self, run: RunConfig) -> tuple[Ended, RunRecord] | None:
        name = run_id(run)
        directory = RunDirectory(self.workspace.runs / name)
        if name not in self.ended and directory.record.exists() and directory.curve.exists():
            record = read_record(directory.record)
            if record.status == "finished" and record.heldout is not None:
                ended = Ended(
                    curve=finished_curve(directory, run), loss=record.heldout.loss, loss_se=record.heldout.loss_se
                )
                self.ended[name] = ended, record
        return self.ended.get(name)


def judge_of(study: Study, workspace: Workspace, confidence: float) -> Judge:
    """Raises ValueError for a confidence that is none, or a study without two runs to compare."""
    if not 0.5 <= confidence < 1:
        raise ValueError(f"--stop-bad {confidence}: give the confidence that a stopped run is bad, such as 0.99")
    groups: dict[Any, list[RunConfig]] = {}
    for cell in study.cells:
        if cell.role == "cell" and cell.run.trunk is None and not isinstance(cell.run.model, NgramConfig):
            groups.setdefault(_compared(cell), []).append(cell.run)
    others = {
        run_id(run): [other for other in group if other is not run]
        for group in groups.values()
        for run in group
        if len(group) > 1
    }
    if not others:
        raise ValueError(
            f"--stop-bad: study {study.name!r} has no runs that differ in nothing but the optimizer's settings, and "
            "no others are compared; leave the option out"
        )
    return Judge(workspace=workspace, confidence=confidence, groups=others)


def _compared(cell: Cell) -> Any:
    """What runs that are compared have in common. Smoothed targets have losses of another kind."""
    alike = OptimConfig(label_smoothing=cell.run.optim.label_smoothing)
    return cell.arm, cell.budget, replace(cell.run, optim=alike)


def _curve(rows: list[dict[str, Any]], run: RunConfig) -> Curve:
    taken = [row for row in rows if not row.get(SKIPPED)]
    tokens, losses = (np.array([row[name] for row in taken], float) for name in ("tokens", "loss"))
    return Curve(tokens=tokens, losses=losses, lr=run.optim.lr)


def finished_curve(directory: RunDirectory, run: RunConfig) -> Curve:
    import pyarrow.parquet as pq  # here: it is large, and only a launch that stops runs needs it

    return _curve(pq.read_table(directory.curve).to_pylist(), run)
