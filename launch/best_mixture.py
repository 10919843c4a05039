"""The run of a study that reads the best mixture: a law decides it when the runs that it is fitted to are trained."""

from dataclasses import replace

from launch.trained import trained
from scaling.config import Mixture, RunConfig, run_id
from scaling.plan import Cell, Study
from scaling.workspace import Workspace


def with_best_mixture(study: Study, workspace: Workspace) -> Study:
    """The study with the run on the mixture that its proxies' law predicts as the best, once all proxies are trained.

    Those that diverged are left aside. The same records give the same mixture,
    in whole hundredths. Raises ValueError where the law cannot be fitted, or
    where no mixture keeps to the limits.
    """
    asked = study.best_mixture
    if asked is None or asked.weights:
        return study
    known = trained(workspace)
    data = known.prepared(asked.run.data)
    proxies = [run_id(replace(c.run, data=known.prepared(c.run.data))) for c in study.cells if c.arm == asked.proxies]
    if not data.content or any(name not in known.losses for name in proxies):
        return study
    run = replace(asked.run, data=data)
    most = limits(run, workspace)
    weights = _predicted(study.name, proxies, run.data.mixture, asked.least, most, workspace)
    decided = replace(asked, weights=weights, most=most)
    # Without the content, as the others are: all data of a study are pinned together when it is launched.
    reads = replace(asked.run.data, mixture=replace(asked.run.data.mixture, weights=weights))
    best = Cell(run=replace(asked.run, data=reads), arm=asked.arm)
    others = tuple(cell for cell in study.cells if cell.run != best.run)  # it may be one of those planned
    return replace(study, cells=(*others, best), later=study.later - 1, best_mixture=decided)


def limits(run: RunConfig, workspace: Workspace) -> tuple[float, ...]:
    """The largest share of each part that a run may read."""
    from scaling.data.batches import most_shares
    from scaling.data.prepare import prepare

    return most_shares(prepare(run.data, workspace.root, lambda line: None), run)


def _predicted(
    study: str, proxies: list[str], mixture: Mixture, least: float, most: tuple[float, ...], workspace: Workspace
) -> tuple[float, ...]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from analysis.mixing import best_mixture, fit_mixing
    from analysis.rows import FitError
    from analysis.tables.table import from_records

    table = from_records(workspace.runs)
    rows = pc.and_(pc.is_in(table["run_id"], pa.array(proxies)), pc.equal(table["status"], "finished"))
    parts = [part.name for part in mixture.parts]
    try:
        return best_mixture(fit_mixing(table.filter(rows), parts, mixture.target), least, most)
    except FitError as error:
        raise ValueError(f"study {study}: the law of its proxies cannot be fitted: {error}") from None
