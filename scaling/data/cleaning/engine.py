"""Cleaning steps over shards, restartable at every shard.

Steps make passes over the documents: a run of local steps is one pass, and a
global step ends a pass with its sketch and begins the next with its verdicts;
so do several in a row that all but the last do nothing but drop documents.

    work/pass-0/000000.parquet             what the pass left of a shard
               /sketches/0/000000.parquet  for the first global step after it
               /000000.json                the shard is done; what became of its documents
        /pass-0.json                       the pass is done; the sum of its shards
        /decision-0/0/                     of that global step
    documents/ and cleaning.json         the end: what is left, and the account of all steps

Every file appears whole or not at all, and one that is there is not made again:
a process that is killed at any moment and started again ends with the same bytes.
What a pass has read is removed when that pass is done.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from scaling.config.cleaning import CleaningStep
from scaling.config.identity import to_dict
from scaling.data.cleaning import shards
from scaling.data.cleaning.account import ACCOUNT, Account, StepAccount, read_account
from scaling.data.cleaning.build import work
from scaling.data.cleaning.contract import Global, Placed
from scaling.data.cleaning.parallel import MapShards
from scaling.data.cleaning.tables import import_ahead
from scaling.data.cleaning.tally import Sizes, Tally
from scaling.data.sources import DataError
from scaling.data.sources.skips import Skips

REPORT_SECONDS = 2.0

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One walk over all documents. steps: in order; global ones, whose decisions were made, come first."""

    steps: tuple[CleaningStep, ...]
    sketched: tuple[CleaningStep, ...]  # the global steps after them


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shard in one pass."""

    walk: Pass
    source: Path
    folder: Path  # of the pass
    decisions: Path  # of the pass before

    @property
    def done(self) -> Path:
        """Written last."""
        return self.folder / f"{self.source.stem}.json"


@dataclass(kw_only=True)
class Passed:
    """What a pass did, to a shard or to all."""

    steps: list[Tally]
    before: Sizes = field(default_factory=Sizes)
    after: Sizes = field(default_factory=Sizes)

    def add(self, later: "Passed") -> None:
        for mine, its in zip(self.steps, later.steps, strict=True):
            mine.add(its)
        self.before.add(later.before)
        self.after.add(later.after)


def clean(source: Path, steps: Sequence[CleaningStep], folder: Path, report: Report, map_shards: MapShards) -> Account:
    """Run the steps over the shards in folder `source`; `folder`/documents gets what is left of them.

    The result depends on the documents and the steps alone, not on how they
    are cut into shards or on `map_shards`.
    """
    space, walks = folder / "work", passes(steps)
    if not (folder / ACCOUNT).exists():
        for number in range(len(walks)):
            if not _whole(space, number + 1).exists():
                _pass(number, walks, source, space, report, map_shards)
        account = _finish(walks, source, space, folder)
        _remove(space)
        return account
    _remove(space)
    return read_account(folder)


def passes(steps: Sequence[CleaningStep]) -> list[Pass]:
    """The walks over all documents that the steps take."""
    walks, together, compared = [], [], []
    for step in steps:
        compares = isinstance(work(step), Global)
        if compared and not (compares and work(step).drops and work(compared[-1]).drops):
            walks.append(Pass(steps=tuple(together), sketched=tuple(compared)))
            together, compared = compared, []
        (compared if compares else together).append(step)
    walks.append(Pass(steps=tuple(together), sketched=tuple(compared)))
    return [*walks, Pass(steps=tuple(compared), sketched=())] if compared else walks


def run_job(job: Job) -> None:
    """Take one shard through one pass."""
    documents = shards.read(job.source)
    passed = Passed(steps=[])
    passed.before.see(documents)
    for number, step in enumerate(job.walk.steps):
        documents, tally = _step(step, documents, job.decisions / str(number))
        passed.steps.append(tally)
    passed.after.see(documents)
    if job.walk.steps:
        shards.write(job.folder / job.source.name, documents)
    for number, step in enumerate(job.walk.sketched):
        shards.write_table(job.folder / "sketches" / str(number) / job.source.name, work(step).sketch(documents))
    _write_json(job.done, passed)


def _step(step: CleaningStep, documents: list[Placed], decision: Path) -> tuple[list[Placed], Tally]:
    """What a step leaves of a shard."""
    doing, tally, left = work(step), Tally(), []
    verdicts = doing.apply(documents, decision) if isinstance(doing, Global) else None
    for place, placed in enumerate(documents):
        verdict = doing(placed.document) if verdicts is None else verdicts[place]
        tally.see(placed.document, verdict)
        if verdict.text == placed.document.text:
            left.append(placed)
        elif verdict.text is not None:
            left.append(replace(placed, document=replace(placed.document, text=verdict.text)))
    return left, tally


def _pass(number: int, walks: list[Pass], source: Path, space: Path, report: Report, map_shards: MapShards) -> None:
    """A pass over all shards and the decisions after it, as far as they are not done."""
    walk, folder, decisions = walks[number], space / f"pass-{number}", space / f"decision-{number}"
    earlier, made = space / f"pass-{number - 1}", space / f"decision-{number - 1}"
    if not _whole(space, number).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for place in range(len(walk.sketched)):
            (folder / "sketches" / str(place)).mkdir(parents=True, exist_ok=True)
        if walk.sketched:
            import_ahead()
        given = earlier if number and walks[number - 1].steps else source
        jobs = [Job(walk=walk, source=path, folder=folder, decisions=made) for path in shards.shards(given)]
        _run(jobs, f"cleaning, pass {number + 1} of {len(walks)}", report, map_shards)
        _write_json(_whole(space, number), _sum(jobs))
    _remove(earlier)
    _remove(made)
    if walk.sketched and not decisions.exists():
        _decide(walk.sketched, folder / "sketches", decisions, report)


def _run(jobs: list[Job], what: str, report: Report, map_shards: MapShards) -> None:
    left = [job for job in jobs if not job.done.exists()]
    started = shown = time.monotonic()
    for count, _ in enumerate(map_shards(run_job, left), start=1):
        if (now := time.monotonic()) - shown > REPORT_SECONDS:
            shown = now
            seconds = (now - started) / count * (len(left) - count)
            report(f"{what}: {len(jobs) - len(left) + count} of {len(jobs)} shards, {seconds:.0f} s left")


def _sum(jobs: list[Job]) -> Passed:
    total = Passed(steps=[Tally() for _ in jobs[0].walk.steps] if jobs else [])
    for job in jobs:
        total.add(_read_passed(job.done))
    return total


def _decide(steps: Sequence[CleaningStep], sketches: Path, decisions: Path, report: Report) -> None:
    part = decisions.with_name(f".{decisions.name}.partial")
    _remove(part)  # of a process that was killed
    made: list[Path] = []
    for number, step in enumerate(steps):
        report(f"cleaning: {step.kind} compares all documents")
        decision = part / str(number)
        decision.mkdir(parents=True)
        given = [made] if made else []
        work(step).decide(shards.shards(sketches / str(number)), decision, *given)
        made = [*made, decision]
    part.rename(decisions)
    _remove(sketches)


def _finish(walks: list[Pass], source: Path, space: Path, folder: Path) -> Account:
    last = space / f"pass-{len(walks) - 1}"
    if last.exists():
        last.rename(folder / "documents")
    for done in (folder / "documents").glob("*.json"):
        done.unlink()
    _remove(folder / "documents" / "sketches")
    passed = [_read_passed(_whole(space, number)) for number in range(len(walks))]
    steps = [step for walk in walks for step in walk.steps]
    tallies = [tally for part in passed for tally in part.steps]
    skips = Skips()
    for document in shards.faulty(source):
        skips.add(document)
    account = Account(
        steps=[StepAccount(config=to_dict(s), tally=t) for s, t in zip(steps, tallies, strict=True)],
        before=passed[0].before,
        after=passed[-1].after,
        skipped=skips.by_fault,
    )
    _write_json(folder / ACCOUNT, account)
    return account


def _whole(space: Path, number: int) -> Path:
    """The file that says that a pass is done."""
    return space / f"pass-{number}.json"


def _read_passed(path: Path) -> Passed:
    # Plainly, for we wrote it: to have it validated takes longer, before the first, than a pass over ten megabytes.
    values = json.loads(path.read_text(encoding="utf-8"))
    try:
        return Passed(
            steps=[Tally.from_plain(step) for step in values["steps"]],
            before=Sizes.from_plain(values["before"]),
            after=Sizes.from_plain(values["after"]),
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: of another version ({error!r}); delete {path.parents[1]} and clean again") from None


def _write_json(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    part.write_text(json.dumps(asdict(value), indent=1), encoding="utf-8")
    os.replace(part, path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
