"""The plan file as backends read it."""

import json

import pytest

from launch.plan_file import read_plan, trunks

PLAN = {
    "name": "tiny",
    "placement": {},
    "runs": [
        {"run_id": "t", "config": {"trunk": None}},
        {"run_id": "b", "config": {"trunk": {"run_id": "t", "tokens": 64}}},
        {"run_id": "a", "config": {}},
    ],
}


def test_a_plan_is_read_back(tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(PLAN))
    assert read_plan(tmp_path / "tiny.json") == PLAN


@pytest.mark.parametrize("text", ['{"runs"', '{"runs": []}', '{"placement": {}, "runs": [{"run_id": "a"}]}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "tiny.json").write_text(text)
    with pytest.raises(ValueError, match="launch the study again to write it anew"):
        read_plan(tmp_path / "tiny.json")


def test_trunks_are_told_of_every_run():
    assert trunks(PLAN) == {"t": None, "b": "t", "a": None}
