"""Looks at a study's files in the background and keeps the page's parts ready; a request only reads them.

Two threads: one looks, a few seconds apart and only while somebody has the page
open; the other fits, and begins only when a record has appeared or changed.
"""

import hashlib
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace

from analysis.figures.training import Curve
from analysis.live.findings import Findings, curves_figure, findings, fitted
from analysis.report.page import notes, paragraph, section
from analysis.tables.files import from_rows
from analysis.tables.records import flatten
from analysis.tables.table import Manifest, canonical, read_manifest
from analysis.words import plural
from launch.page import view
from launch.page.curves import per_decade
from launch.page.runs import Run, RunState, planned_runs
from scaling.record import RunRecord
from scaling.workspace import Workspace

LOOK_SECONDS = 2.0  # between two looks
REST = 4.0  # a fit, or a drawing, is followed by a rest so many times as long: the cores belong to training
PARTS = ("head", "now", "curves", "law", "next", "runs")


@dataclass(frozen=True)
class Part:
    """A stretch of the page; its mark changes with it."""

    html: str

    @property
    def mark(self) -> str:
        return hashlib.sha256(self.html.encode()).hexdigest()[:16]


@dataclass
class Work:
    """Something slow that is done again when what it was made from has changed."""

    made_from: object = None  # what the last one saw
    ended: float = float("-inf")  # by time.monotonic
    took: float = 0.0  # seconds

    def due(self, seen: object) -> bool:
        return seen != self.made_from and time.monotonic() - self.ended >= REST * self.took


@dataclass
class Fit(Work):
    """The last fit, and whether one is under way."""

    thread: threading.Thread | None = None
    found: Findings = field(default_factory=lambda: Findings(law="", beside="", advice=""))
    said: str = ""  # of what, and when

    @property
    def busy(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Watch:
    """The parts of one study's page, kept fresh by `start` until `stop`."""

    def __init__(self, workspace: Workspace, study: str):
        """Raises ValueError where that study has no readable plan file."""
        self._workspace, self._path = workspace, workspace.studies / f"{study}.json"
        self._asked, self._stopped = threading.Event(), threading.Event()
        self._drawing = threading.Lock()  # matplotlib's settings belong to the whole process
        self._fit, self._drawn, self._curves = Fit(), Work(), ""
        self._plan: tuple[int, Manifest, list[Run]] | None = None
        self.parts: dict[str, Part] = {}
        self.looked = 0.0  # Unix time of the last look
        self.look()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._asked.set()

    def asked(self) -> None:
        """Somebody has the page open: look again."""
        self._asked.set()

    def look(self) -> None:
        """Read what is new, and renew the parts; a fit is only begun here."""
        manifest, runs = self._planned()
        states = [run.look() for run in runs]
        self._begin_fit(manifest, runs)
        self._draw(runs, states)
        law, advice = self._law(manifest, states), self._fit.found.advice
        made = (view.head(manifest, states), view.now(states), self._curves, law, advice, view.everything(states))
        self.parts = {name: Part(html) for name, html in zip(PARTS, made, strict=True)}
        self.looked = time.time()

    def _watch(self) -> None:
        while self._asked.wait() and not self._stopped.is_set():
            self._asked.clear()
            try:
                self.look()
            except Exception as error:  # a page that stands still must say so
                traceback.print_exc(file=sys.stderr)
                said = notes("This page stands still", [(type(error).__name__, str(error) or "see the server's log")])
                self.parts = {**self.parts, "now": Part(said)}
            self._stopped.wait(LOOK_SECONDS)

    def _planned(self) -> tuple[Manifest, list[Run]]:
        """The plan file, read again when it was written anew: a study may be launched again with more runs."""
        written = self._path.stat().st_mtime_ns
        if self._plan is None or self._plan[0] != written:
            self._plan = (written, read_manifest(self._path), planned_runs(self._path, self._workspace))
        return self._plan[1:]

    def _draw(self, runs: list[Run], states: list[RunState]) -> None:
        """The training curves, if they have grown."""
        seen = tuple((len(run.curve.rows), state.state) for run, state in zip(runs, states, strict=True))
        if not self._drawn.due(seen):
            return
        begun, dense = time.monotonic(), per_decade(runs)
        curves = [_curve(run, state, dense) for run, state in zip(runs, states, strict=True)]
        with self._drawing:
            self._curves = curves_figure(curves)
        self._drawn = Work(made_from=seen, ended=time.monotonic(), took=time.monotonic() - begun)

    def _begin_fit(self, manifest: Manifest, runs: list[Run]) -> None:
        recorded = [run.record for run in runs if isinstance(run.record, RunRecord) and run.role != "trunk"]
        points = sum(record.status == "finished" for record in recorded)
        seen = (manifest, tuple((run.run_id, run.written) for run in runs if run.record))
        if not points or self._fit.busy or not self._fit.due(seen):
            return
        work = (manifest, recorded, points, seen)
        self._fit.thread = threading.Thread(target=self._do_fit, args=work, name="fit", daemon=True)
        self._fit.thread.start()

    def _do_fit(self, manifest: Manifest, records: list[RunRecord], points: int, seen: object) -> None:
        """records: of the runs that a law is fitted to; trunks are none of them."""
        begun, at = time.monotonic(), time.strftime("%H:%M:%S")
        manifest = replace(manifest, runs=tuple(run for run in manifest.runs if run.role != "trunk"))
        try:
            result = fitted(canonical(from_rows(map(flatten, records)), "the records"), manifest)
            with self._drawing:
                found = findings(result, len(manifest.runs) - points)
        except Exception as error:  # no fit must end the page: it says so, and goes on to show the runs
            if not isinstance(error, ValueError):
                traceback.print_exc(file=sys.stderr)
            found = Findings(law="", beside=notes("No fit", [(type(error).__name__, str(error))]), advice="")
        self._fit = Fit(
            made_from=seen, ended=time.monotonic(), took=time.monotonic() - begun, found=found,
            said=f"From {plural(points, 'finished run')}, at {at}.",
        )  # fmt: skip
        self._asked.set()

    def _law(self, manifest: Manifest, states: list[RunState]) -> str:
        """The last fit, with how old it is."""
        title = "The arms so far" if manifest.arms else "The law so far"
        if not any(state.state == "finished" and state.role != "trunk" for state in states):
            said = paragraph("Nothing can be fitted before a run has finished.", "muted")
            return section(title, said)
        busy = "All finished runs are being fitted now." if self._fit.busy else ""
        fit = self._fit.found
        return section(title, paragraph(f"{self._fit.said} {busy}".strip(), "muted") + fit.law) + fit.beside


def _curve(run: Run, state: RunState, dense: int) -> Curve:
    thin = run.curve.thin(dense)
    return Curve(
        text=view.text_of(state), params=state.params, flops=thin.flops, loss=thin.loss, state=state.state,
        arm=state.arm,
    )  # fmt: skip
