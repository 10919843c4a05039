import json
import math
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from analysis.tables.files import read_file
from analysis.tables.table import (
    FLOPS_RULE,
    Manifest,
    PlannedRun,
    canonical,
    column,
    group_by,
    read_manifest,
    read_table,
    select,
    table_hash,
    write_csv,
)
from scaling.config import DataConfig, RunConfig, ScheduleConfig, TransformerConfig, Trunk, run_id
from scaling.counts import Flops, Params
from scaling.record import Cost, Heldout, Provenance, RunDirectory, RunRecord, Tokens, write_config, write_record

ROW = {"params": 1e4, "tokens": 1e6, "flops": 6e10, "loss": 3.5}
MODEL = TransformerConfig(vocab=512, dim=16, layers=2, heads=2, context=64)


def train(folder, config, status="finished", loss=3.5):
    """Write what a run would leave behind."""
    directory = RunDirectory(folder / run_id(config))
    write_config(directory, config)
    held = Heldout(loss=loss, loss_se=0.01, bits_per_byte=2.0, bits_per_byte_se=0.01, sequences=8, tokens=512)
    record = RunRecord(
        run_id=run_id(config),
        status=status,
        config=config,
        cluster=config.cluster,
        heldout=held if status == "finished" else None,
        train_loss=loss,
        params=Params(total=14000, body=6000, embedding=8000, head=8000, active=14000),
        flops=Flops(kaplan=1e9, chinchilla=2e9, deepseek=3e9, exact=4e9),
        tokens=Tokens(seen=config.tokens, loss_bearing=config.tokens, unique=config.tokens, epochs=0.5),
        cost=Cost(
            wall_seconds=2.0,
            device_seconds=1.0,
            started_from_tokens=0,
            flops_computed=4e9,
            attempts=1,
            mfu=None,
            energy_kwh=0.0,
        ),
        provenance=Provenance(git_commit="", git_dirty="", python="3.11", device_kind="cpu", devices=1, host_cores=2),
    )
    write_record(directory, record)
    return run_id(config)


def config(seed=0, kind="wsd", trunk=None):
    data = DataConfig(vocab=512)
    return RunConfig(
        model=MODEL, data=data, tokens=1024 * 4, seed=seed, schedule=ScheduleConfig(kind=kind), trunk=trunk
    )


def test_records_become_rows_with_every_counting_convention(tmp_path):
    name = train(tmp_path, config())
    row = read_table(tmp_path).to_pylist()[0]
    assert row["run_id"] == name and row["status"] == "finished"
    assert row["params"] == row["params_total"] == 14000 and row["params_body"] == 6000
    assert row["flops"] == row["flops_exact"] == 4e9 and row["flops_deepseek"] == 3e9
    assert row["loss"] == 3.5 and row["cluster"] == name and row["budget"] is None


def test_a_trunk_is_left_out_and_its_branch_carries_its_cluster(tmp_path):
    trunk = train(tmp_path, config(kind="constant"))
    cell = train(tmp_path, config(trunk=Trunk(run_id=trunk, tokens=1024)))
    chosen = select(read_table(tmp_path))
    assert chosen.table["run_id"].to_pylist() == [cell]
    assert chosen.table["cluster"].to_pylist() == [trunk]
    assert [item.reason for item in chosen.left_out] == ["trunk: its learning rate has not decayed"]


def test_every_run_that_is_not_fitted_is_named_with_its_reason(tmp_path):
    good = train(tmp_path, config(seed=0))
    diverged = train(tmp_path, config(seed=1), status="diverged")
    torn = train(tmp_path, config(seed=2))
    (tmp_path / torn / "record.json").write_text("{")
    waiting = config(seed=3)
    write_config(RunDirectory(tmp_path / run_id(waiting)), waiting)
    chosen = select(read_table(tmp_path))
    assert chosen.table["run_id"].to_pylist() == [good]
    reasons = {item.run_id: item.reason for item in chosen.left_out}
    assert reasons[diverged] == "diverged" and reasons[run_id(waiting)] == "unfinished"
    assert reasons[torn].startswith("unreadable") and "not whole JSON" in reasons[torn]


def test_a_manifest_selects_its_cells_gives_budgets_and_counts_the_missing(tmp_path):
    cell, other = train(tmp_path, config(seed=0)), train(tmp_path, config(seed=1))
    runs = tuple(PlannedRun(run_id=name, role="cell", budget=1e10) for name in (cell, "not-trained"))
    chosen = select(read_table(tmp_path), Manifest(name="study", runs=runs))
    assert chosen.table["run_id"].to_pylist() == [cell] and other not in chosen.table["run_id"].to_pylist()
    assert chosen.table["budget"].to_pylist() == [1e10]
    assert chosen.reasons() == {"missing: not trained yet": 1}


def test_a_manifest_without_runs_selects_all(synthetic):
    table = synthetic.study()
    assert select(table, Manifest(name="table")).table.num_rows == table.num_rows


def test_a_cell_that_is_missing_or_infinite_is_refused_and_dropped_on_demand_only(tmp_path):
    path = tmp_path / "runs.jsonl"
    rows = [{"loss": 3.0}, {"loss": math.nan}, {"loss": 2.0, "tokens": math.inf}, {"loss": None, "run_id": "x"}]
    path.write_text("\n".join(json.dumps({**ROW, **row}) for row in rows))
    with pytest.raises(
        ValueError, match=r"tokens is missing or not finite in 1 of 4 runs \(row 3\).*drop_incomplete=True"
    ):
        select(read_table(path))
    chosen = select(read_table(path), drop_incomplete=True)
    assert chosen.table["run_id"].to_pylist() == ["row 1"]
    reasons = {item.run_id: item.reason for item in chosen.left_out}
    assert reasons == {
        "row 2": "loss is missing or not finite",
        "row 3": "tokens is missing or not finite",
        "x": "loss is missing or not finite",
    }
    assert {item.name for item in chosen.left_out} == {"incomplete"}


def test_cells_of_runs_that_are_not_fitted_may_be_empty():
    rows = [ROW, {"run_id": "d", "status": "diverged", "loss": -1.0}, {"run_id": "t", "schedule": "constant"}]
    chosen = select(read_table(rows))
    assert chosen.table.num_rows == 1 and chosen.reasons()["diverged"] == 1
    assert {item.run_id: item.name for item in chosen.left_out} == {"d": "not_finished", "t": "mid_decay"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": 0.0}, r"loss is not positive in 1 of 2 runs \(row 2: 0\)"),
        ({"tokens": 5.0}, "tokens is below params"),
        ({"flops": 1.0}, "not within a factor 3"),
        ({}, "row 1, row 2 are one run twice"),
    ],
)
def test_runs_that_cannot_be_are_refused_before_a_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        select(read_table([ROW, {**ROW, **changed}]))


def test_what_is_doubtful_stands_beside_the_selection():
    rows = [{**ROW, "flops": 9e11}, {**ROW, "schedule": "constant", "loss": 4.0}]
    chosen = select(read_table(rows), trust_flops=True)
    assert [doubt.name for doubt in chosen.doubts] == ["mid_decay", "flops_far"]


@pytest.mark.parametrize("early", [{"decayed": False}, {"progress": 0.8}])
def test_a_point_before_the_decay_ended_is_left_out_by_name(early):
    whole = {"decayed": True, "progress": 1.0}
    chosen = select(read_table([{**ROW, **whole}, {**ROW, **whole, **early, "loss": 4.0}, {**ROW, "loss": 3.0}]))
    assert chosen.table["run_id"].to_pylist() == ["row 1", "row 3"]
    assert [(x.name, x.reason) for x in chosen.left_out] == [
        ("mid_decay", "taken before its learning rate had decayed")
    ]
    assert "1 run left out" in chosen.doubts[0].text


def test_a_line_that_was_cut_off_is_a_doubt(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps({"N": 1e4, "D": 1e6, "loss": 3.0}) + '\n{"N": 1e')
    assert [doubt.name for doubt in select(read_table(path)).doubts] == ["torn_line"]


def test_a_wandb_export_goes_from_the_web_page_to_a_selection(tmp_path):
    path = tmp_path / "wandb.csv"
    head = '"Name","State","Created","n_params","tokens","eval/loss"\n'
    path.write_text(head + '"a","finished","-","1e4","1e6","3.5"\n"b","crashed","-","1e4","2e6",""\n')
    table = read_table(path, {"params": "n_params", "loss": "eval/loss"})
    chosen = select(table)
    assert chosen.table["run_id"].to_pylist() == ["a"] and chosen.reasons() == {"failed": 1}


def test_frames_and_dicts_of_arrays_are_tables_of_runs():
    columns = {"N": np.array([1e4, 2e4]), "D": np.array([1e6, 1e6]), "L": np.array([3.5, 3.4])}
    assert read_table(columns) == read_table(pa.table(columns))
    with pytest.raises(ValueError, match="table: no column 'tokens'"):
        read_table({"N": [1.0], "L": [1.0]})


def test_csv_parquet_and_jsonl_give_the_same_table(tmp_path):
    rows = [{**ROW, "seed": i, "cluster": f"c{i}"} for i in range(3)]
    table = pa.Table.from_pylist(rows)
    write_csv(table, tmp_path / "a.csv")
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    tables = [read_table(tmp_path / f"a.{suffix}") for suffix in ("csv", "parquet", "jsonl")]
    assert tables[0] == tables[1] == tables[2]
    assert tables[0]["status"].to_pylist() == ["finished"] * 3
    assert tables[0]["run_id"].to_pylist() == ["row 1", "row 2", "row 3"]


def test_the_letters_of_the_papers_name_columns_and_others_are_kept(tmp_path):
    path = tmp_path / "a.CSV"
    path.write_text("N,D,C,L,optimizer\n1e4,1e6,7e10,3.5,adamw\n")
    row = read_table(path).to_pylist()[0]
    assert (row["params"], row["tokens"], row["flops"], row["loss"]) == (1e4, 1e6, 7e10, 3.5)
    assert row["optimizer"] == "adamw" and FLOPS_RULE not in row


def test_missing_flops_are_six_n_d_and_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("params,tokens,loss\n1e4,1e6,3.5\n2e4,,3.4\n")
    first, second = read_table(path).to_pylist()
    assert first["flops"] == 6e10 and first[FLOPS_RULE] == "6 N D"
    assert second["flops"] is None


def test_a_status_of_another_tool_is_left_out_and_explained(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("params,tokens,loss,status\n1e4,1e6,3.5,done\n")
    assert select(read_table(path)).left_out[0].reason == "its status is 'done', and only 'finished' runs are fitted"


def test_keys_first_seen_late_in_jsonl_are_kept(tmp_path):
    path = tmp_path / "late.jsonl"
    path.write_text("\n".join([*[json.dumps(ROW)] * 300, json.dumps({**ROW, "accuracy": 0.5})]))
    assert np.nansum(column(read_table(path), "accuracy")) == 0.5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "params,loss\n1,2\n", "no column 'tokens'; it has params, loss.* a table of runs needs"),
        ("a.csv", "params,tokens,val_loss\n1,2,3\n", "no column 'loss'; did you mean val_loss"),
        ("a.csv", "params;tokens;loss\n1;2;3\n", "separate its columns with commas"),
        ("a.csv", "N,D,loss,loss\n1,2,3,4\n", "column loss stands there twice"),
        ("a.csv", "N,D,loss\n70M,2,3\n", "column params, row 1: '70M' is no number"),
        ("a.csv", "", "is empty"),
        ("a.csv", "params,tokens,flops,loss\n", "has a header but no rows"),
        ("a.jsonl", '{"N": 1, "D": 1, "loss": 1}\n{"N": 1, "D": 1, "loss": "x"}', "loss, row 2: 'x' is no number"),
        ("a.csv", "params,tokens,flops,loss\n1,2,3,4\n1,2,3,=1+1\n", "column loss, row 2: '=1.1' is no number"),
        ("a.csv", "run_id,N,D,loss\nx,1,2,4\nx,1,2,4\n", "run_id 'x' stands in 2 rows; give each its own"),
        ("a.csv", "run_id,N,D,loss\nx,1,2,4\nx,1,3,4\n", "checkpoints of one run, keep its end"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_lists_are_no_column_of_numbers():
    with pytest.raises(ValueError, match="mine: column params holds lists of 2; it needs one number a row"):
        canonical({"params": np.ones((3, 2)), "tokens": [1, 1, 1], "loss": [1, 1, 1]}, "mine")


def test_lists_are_written_as_json(tmp_path):
    write_csv(pa.table({"share": [[0.25, 0.75], None]}), tmp_path / "a.csv")
    assert read_file(tmp_path / "a.csv")["share"].to_pylist() == ["[0.25, 0.75]", "null"]


def test_an_absent_column_is_refused_with_those_that_are_there():
    with pytest.raises(ValueError, match="no column 'y'; it has x"):
        column(pa.table({"x": [1]}), "y")


def test_a_manifest_is_read_whole(tmp_path):
    path = tmp_path / "study.json"
    runs = [{"run_id": "a", "role": "trunk", "budget": None}, {"run_id": "b", "role": "cell", "budget": 1e9}]
    path.write_text(json.dumps({"name": "s", "question": "q?", "forecast_flops": 1e12, "runs": runs}))
    found = read_manifest(path)
    assert found.name == "s" and found.forecast_flops == 1e12 and found.runs[1].budget == 1e9


@pytest.mark.parametrize("text", ["{", '{"name": "s"}', "[]", '{"name": "s", "runs": [1]}'])
def test_a_broken_manifest_is_refused(tmp_path, text):
    path = tmp_path / "study.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a study manifest"):
        read_manifest(path)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="mine: has no rows"):
        canonical({"params": [], "tokens": [], "loss": []}, "mine")


def test_groups_come_in_the_order_of_their_first_rows():
    found = group_by(read_table([{**ROW, "arm": arm} for arm in "bab"]), "arm")
    assert list(found) == ["b", "a"] and [part.num_rows for part in found.values()] == [2, 1]


@pytest.mark.parametrize(
    ("arms", "name", "message"),
    [
        (["a", "a"], "arm", "column arm has only one value .'a'.; a comparison needs two"),
        (["a", None], "arm", "column arm, row 2: no value"),
        (["a", "b"], "arms", "no column 'arms'; did you mean arm"),
        ([], "arm", "column arm has no rows"),
    ],
)
def test_a_column_that_makes_no_groups_is_refused(arms, name, message):
    with pytest.raises(ValueError, match=message):
        group_by(pa.table({"arm": pa.array(arms, pa.string())}), name)


def test_the_hash_of_a_table_depends_on_what_it_says_alone(tmp_path):
    rows = [{**ROW, "loss": 3.0 + i / 7, "arm": "ab"[i % 2], "shares": [0.1, i]} for i in range(5)]
    known = table_hash(read_table(rows))
    assert known == table_hash(read_table(rows[::-1])) and len(known) == 64
    assert known == table_hash(read_table([dict(reversed(row.items())) for row in rows]))
    assert known == table_hash(read_table([{**row, "params": int(row["params"]), "note": None} for row in rows]))
    text = [{name: value for name, value in row.items() if name != "shares"} for row in rows]
    write_csv(read_table(text), tmp_path / "a.csv")
    assert table_hash(read_table(tmp_path / "a.csv")) == table_hash(read_table(text))


@pytest.mark.parametrize("changed", [{"loss": math.nextafter(3.5, 4)}, {"arm": "b"}, {"run_id": "x"}, {"lr": 0.1}])
def test_the_smallest_change_of_a_table_changes_its_hash(changed):
    row = {**ROW, "arm": "a"}
    assert table_hash(read_table([{**row, **changed}])) != table_hash(read_table([row]))


def test_values_do_not_wander_between_rows_or_columns_unseen_by_the_hash():
    one = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    other = pa.table({"a": [1.0, 2.0], "b": [4.0, 3.0]})
    assert table_hash(one) != table_hash(other) != table_hash(one.rename_columns(["b", "a"]))


def test_ten_thousand_rows_are_read_and_checked_in_under_a_second(tmp_path):
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(6, 9, 10_000)
    columns = {f"extra_{i}": rng.random(10_000) for i in range(20)}
    columns |= {"params": params, "tokens": 20 * params, "flops": 120 * params**2, "loss": 2 + rng.random(10_000)}
    write_csv(pa.table(columns), tmp_path / "a.csv")
    started = time.process_time()
    assert select(read_table(tmp_path / "a.csv")).table.num_rows == 10_000
    assert time.process_time() - started < 1  # measured: 0.2 s of CPU time
