import json

import pytest

from analysis.report.sections import never_planned
from analysis.tables.manifest import read_manifest

RUNS = [{"run_id": "a", "role": "cell", "budget": 1e10}, {"run_id": "b", "role": "cell", "budget": None, "arm": "LSTM"}]


def written(folder, **values):
    path = folder / "study.json"
    path.write_text(json.dumps({"name": "study", "runs": RUNS, **values}))
    return path


def test_arms_are_read_in_the_order_of_the_study(tmp_path):
    runs = [{**RUNS[1], "run_id": str(i), "arm": arm} for i, arm in enumerate(("b", "a", "b", ""))]
    assert read_manifest(written(tmp_path, runs=runs)).arms == ("b", "a")


def test_a_manifest_without_arms_compares_nothing(tmp_path):
    found = read_manifest(written(tmp_path, runs=RUNS[:1]))
    assert found.arms == () and found.runs[0].arm == "" and found.runs[0].budget == 1e10


def test_rows_that_were_never_planned_are_counted_by_their_reasons(tmp_path):
    assert read_manifest(written(tmp_path)).dropped_rows == 0  # of a launch before they were written down
    found = read_manifest(written(tmp_path, dropped={"rows": 90, "reasons": {"too long": 60, "odd": 30}, "first": []}))
    assert (found.dropped_rows, found.dropped_reasons) == (90, (("too long", 60), ("odd", 30)))
    said = never_planned(found)
    assert "sweep 90 rows were never planned" in said and "too long" in said and "60" in said
    assert never_planned(read_manifest(written(tmp_path))) == ""


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not a study manifest \(no 'run_id' key\); launch the study again"):
        read_manifest(written(tmp_path, runs=[{"role": "cell"}]))
