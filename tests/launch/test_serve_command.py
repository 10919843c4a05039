"""`scaling serve` as a user meets it."""

import http.client
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch.serve_command import serve
from tests.launch.page.made import launched, settle, study_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path):
    study = study_of()
    workspace = launched(tmp_path, study)
    settle(workspace, study.cells[3].run)
    return workspace


@pytest.mark.slow
def test_it_says_where_it_is_answers_there_and_ends_with_ctrl_c(workspace):
    command = [sys.executable, "-m", "launch.cli", "serve", "made", "--root", str(workspace.root), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "JAX_PLATFORMS": "cuda"}  # a GPU is left to training
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert "1 of 5 runs finished" in connection.getresponse().read().decode()
        connection.close()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and "training is not touched" in said and "Traceback" not in said


def test_only_the_name_of_a_launched_study_is_taken(workspace):
    for name in ("../made", "made.json", "demo", str(workspace.studies / "made")):
        with pytest.raises(ValueError, match=r"has not been launched in .* Launched there: made"):
            serve([name, "--root", str(workspace.root)])


def test_a_study_that_could_be_launched_is_told_how(workspace):
    with pytest.raises(ValueError, match="`scaling launch demo` begins it"):
        serve(["demo", "--root", str(workspace.root)])


def test_without_a_name_the_launched_ones_are_listed(workspace, tmp_path):
    with pytest.raises(ValueError, match=r"which study\? Launched there: made"):
        serve(["--root", str(workspace.root)])
    with pytest.raises(ValueError, match=r"which study\? No study has been launched there"):
        serve(["--root", str(tmp_path / "empty")])


def test_there_is_no_option_to_show_it_to_other_machines(capsys):
    with pytest.raises(SystemExit) as ended:
        serve(["made", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "--port" in shown and "--host" not in shown
