"""A study as one table, and back."""

import pyarrow.parquet as pq
import pytest

from analysis.tables.table import read_table, select
from launch.export_command import export
from scaling.config import run_id
from tests.launch import made


@pytest.fixture
def study(tmp_path):
    found, workspace = made.launched(tmp_path)
    trunk, short, _, other = found.runs
    made.settle(workspace, trunk)
    made.settle(workspace, short, loss=3.25)
    made.settle(workspace, other, "failed", wall_seconds=0.0, message="ValueError: no")
    return found, workspace


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_exported_table_is_read_back_and_selects_what_may_be_fitted(study, tmp_path, suffix):
    found, workspace = study
    out = tmp_path / f"out{suffix}"
    export(["tiny", str(out), "--root", str(workspace.root)])
    chosen = select(read_table(out))
    assert chosen.table["run_id"].to_pylist() == [run_id(found.runs[1])]
    assert chosen.table["loss"].to_pylist() == [3.25]
    reasons = {item.run_id: item.reason for item in chosen.left_out}
    assert reasons[run_id(found.runs[0])].startswith("trunk")
    assert reasons[run_id(found.runs[2])] == "unfinished" and reasons[run_id(found.runs[3])] == "failed"


def test_every_field_of_config_cost_and_provenance_is_a_column(study, tmp_path):
    found, workspace = study
    out = tmp_path / "out.parquet"
    export(["tiny", str(out), "--root", str(workspace.root)])
    table = pq.read_table(out)
    row = dict(zip(table.column_names, (column[1].as_py() for column in table.columns), strict=True))
    assert row["config.model.dim"] == 16 and row["config.optim.lr"] == 1e-2
    assert row["config.trunk.run_id"] == run_id(found.runs[0])
    assert row["cost.wall_seconds"] == 70.0 and row["cost.attempts"] == 1
    assert row["provenance.packages.jax"] and row["placement.microbatches"] == 1
    assert row["study"] == "tiny" and row["role"] == "cell"
    assert table["config.model.dim"].to_pylist() == [16] * 4  # also of a run without a record


def test_a_file_that_is_there_and_an_unknown_kind_are_refused(study, tmp_path):
    _, workspace = study
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(ValueError, match="is there already; --force replaces it"):
        export(["tiny", str(out), "--root", str(workspace.root)])
    assert out.read_text() == "mine"
    with pytest.raises(ValueError, match=r"cannot write .xlsx; use .parquet or .csv"):
        export(["tiny", "out.xlsx", "--root", str(workspace.root)])
    with pytest.raises(ValueError, match=r"give a launched study, and a .parquet or .csv file"):
        export(["tiny"])
