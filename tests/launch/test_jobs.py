from launch.jobs import note, noted
from scaling.workspace import Workspace


def test_what_is_noted_is_read_in_order_and_by_backend(tmp_path):
    workspace = Workspace(root=tmp_path)
    assert list(noted(workspace, "tiny", "slurm")) == []
    note(workspace, "tiny", "slurm", {"a": "1_1", "b": "1_2"})
    note(workspace, "tiny", "ray", {"a": "7"})
    note(workspace, "tiny", "slurm", {"a": "2_1"})
    assert list(noted(workspace, "tiny", "slurm")) == [("a", "1_1"), ("b", "1_2"), ("a", "2_1")]
    assert list(noted(workspace, "tiny", "ray")) == [("a", "7")]
    assert list(noted(workspace, "other", "slurm")) == []


def test_a_torn_line_is_passed_over_and_spoils_no_other(tmp_path):
    workspace = Workspace(root=tmp_path)
    note(workspace, "tiny", "slurm", {"a": "1_1"})
    with (tmp_path / "studies" / "tiny" / "jobs.jsonl").open("a") as file:
        file.write('{"backend": "slu')
    assert list(noted(workspace, "tiny", "slurm")) == [("a", "1_1")]
    note(workspace, "tiny", "slurm", {"b": "1_2"})
    assert list(noted(workspace, "tiny", "slurm")) == [("a", "1_1"), ("b", "1_2")]
