"""Runs with a known truth, shaped like the demo: 4 budgets, 5 of 7 sizes each, WSD branches."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from analysis.tables.table import LeftOut, Manifest, canonical, read_table

TRUTH = {"E": 1.6, "A": 18.0, "alpha": 0.35, "B": 45.0, "beta": 0.30}
THETA = np.array([np.log(1.6), np.log(18.0), 0.35, np.log(45.0), 0.30])
SIZES = np.geomspace(5e3, 2e5, 7)
BUDGETS = np.geomspace(1e10, 3.2e11, 4)
FIRST_SIZE = (0, 0, 1, 2)  # of the five sizes trained at each budget


def law(params, tokens):
    return TRUTH["E"] + TRUTH["A"] / params ** TRUTH["alpha"] + TRUTH["B"] / tokens ** TRUTH["beta"]


def kappa(params):
    """C / (N D): 6, and attention's share, which is larger in a small model."""
    return 6 * (1 + 40 / params**0.5)


def make_study(seed=0, noise=0.005, share=0.5, constant_kappa=False):
    """A table of runs; noise is the relative standard deviation, share that of its variance within a trunk."""
    rng = np.random.default_rng(seed)
    cells = [(k, SIZES[i], 0) for k, first in enumerate(FIRST_SIZE) for i in range(first, first + 5)]
    cells += [(1, SIZES[2], 1), (2, SIZES[3], 1)]
    trunks = {(size, s): rng.standard_normal() for _, size, s in cells}
    rows = []
    for k, size, run_seed in cells:
        tokens = BUDGETS[k] / (size * (6.0 if constant_kappa else kappa(size)))
        error = noise * (share**0.5 * trunks[size, run_seed] + (1 - share) ** 0.5 * rng.standard_normal())
        name = f"{size:.0f}-{run_seed}"
        rows.append(
            {
                "run_id": f"{name}-{k}",
                "params": size,
                "tokens": tokens,
                "flops": BUDGETS[k],
                "loss": law(size, tokens) * np.exp(error),
                "loss_se": 0.01,
                "cluster": name,
                "seed": run_seed,
                "budget": BUDGETS[k],
            }
        )
    return canonical(pa.Table.from_pylist(rows), "synthetic")


@dataclass(frozen=True)
class Published:
    """The published tables, as runs or as they are."""

    folder: Path

    def __call__(self, name):
        return read_table(self.folder / f"{name}.csv")

    def raw(self, name):
        return pyarrow.csv.read_csv(self.folder / f"{name}.csv")


@pytest.fixture(scope="session")
def synthetic():
    return SimpleNamespace(
        study=make_study, law=law, kappa=kappa, truth=TRUTH, theta=THETA, sizes=SIZES, budgets=BUDGETS
    )


@pytest.fixture(scope="session")
def analysed():
    """The whole analysis of one synthetic study."""
    from analysis.analyse import analyse  # here: most tests need a part of it only

    return analyse(make_study(), draws=200)


def scaled(factors):
    """Quiet runs with their losses multiplied."""
    table = make_study(noise=0.001)
    loss = pa.array(table["loss"].to_numpy() * factors(table))
    return table.set_column(table.column_names.index("loss"), "loss", loss)


@pytest.fixture(scope="session")
def bent():
    """Runs whose loss at the largest budget is 3% lower than the form allows; their seeds differ by 0.1%."""
    return scaled(lambda table: np.where(table["budget"].to_numpy() > 3e11, 0.97, 1.0))


@pytest.fixture(scope="session")
def missed():
    """Three of the five sizes at the largest budget lie 5% below the law, as where the largest runs improve faster."""
    return scaled(lambda table: np.where(np.isin(np.arange(table.num_rows), [16, 17, 18]), 0.95, 1.0))


@pytest.fixture(scope="session")
def unheld():
    """An analysis whose surface fit ends at a bound: these losses show no floor."""
    from analysis.analyse import analyse

    table = make_study()
    factor = 1 - TRUTH["E"] / law(table["params"].to_numpy(), table["tokens"].to_numpy())
    loss = pa.array(table["loss"].to_numpy() * factor)
    return analyse(table.set_column(table.column_names.index("loss"), "loss", loss), draws=50)


@pytest.fixture(scope="session")
def written(analysed, tmp_path_factory):
    """The page of `analysed`, with a run left out and markup in its texts; its parts lie beside it."""
    from analysis.report.report import write_report

    manifest = Manifest(name="demo", question="Is <b>a</b> & b?", published="a = 0.50", shows="x", cannot_show="y")
    left = (LeftOut(run_id="<run>", reason="diverged"),)
    found = replace(analysed, selection=replace(analysed.selection, left_out=left))
    return write_report(manifest, found, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def published():
    """The published tables; skips where the tables are not at hand."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "published"
    folder = Path(os.environ.get("SCALING_PUBLISHED", beside))
    if not folder.is_dir():
        pytest.skip(f"published tables not found in {folder}; set SCALING_PUBLISHED to their folder")
    return Published(folder)
