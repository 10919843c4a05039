"""Real runs on a real SLURM: what is learned is what one machine learns, whatever the cluster does meanwhile."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from launch.slurm import cancel, poll, submit
from launch.slurm_options import SlurmOptions
from launch.submit import placed
from scaling.attempts import attempts
from scaling.config import Placement, run_id
from scaling.curve import last_live
from scaling.data.prepare import prepare
from scaling.plan import Cell, Study, pin
from scaling.plan_file import read_plan, write_plan
from scaling.record import RunDirectory, read_record
from scaling.sweeps import branches
from scaling.workspace import Workspace
from tests.cluster.test_slurm_queue import wait_until
from tests.launch.tiny import STEP, run_of
from tests.xla import QUICKLY

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
NAME = "tiny"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


class Lab:
    def __init__(self, study: Study, root: Path):
        self.workspace = Workspace(root=root)
        self.study = study
        self.plan = read_plan(write_plan(study, self.workspace))
        self.names = [run_id(run) for run in study.runs]

    def submit(self, **options):
        return submit(self.plan, self.names, self.workspace, SlurmOptions(**options))

    def directory(self, name):
        return RunDirectory(self.workspace.runs / name)

    def record(self, name):
        return read_record(self.directory(name).record)

    def losses(self, name):
        return pq.read_table(self.directory(name).curve)["loss"].to_numpy()

    def steps(self, name):
        """So many steps of a run that is under way are on disk."""
        last = last_live(self.directory(name).live_curve)
        return last["step"] if last else 0

    def go_on_after_stop(self, job):
        """Wait until the job has been stopped and queued again, with a checkpoint, and let it start at once."""
        directory = self.directory(job.run_id)
        wait_until(lambda: self.causes(job.run_id) == ["preempted"], seconds=150)
        wait_until(lambda: [(found.job, found.state) for found in poll(self.workspace)] == [(job.job, "PENDING")])
        assert not directory.record.exists() and any(directory.checkpoints.iterdir())
        time.sleep(2)  # within the second of its end SLURM refuses to start a job again
        subprocess.run(["scontrol", "update", f"JobId={job.job}", "StartTime=now"], check=True)

    def causes(self, name):
        return [attempt.cause for attempt in attempts(self.directory(name))]

    def told(self):
        """What went wrong, for whoever reads a failed test."""
        slurm = (self.workspace.studies / NAME / "slurm").glob("*.log")
        logs = [*slurm, *(self.directory(name).log for name in self.names)]
        return "\n".join(f"{log}:\n{log.read_text()}" for log in logs if log.exists())

    def end(self):
        """Wait until SLURM knows of none any more."""
        wait_until(lambda: not poll(self.workspace, NAME), seconds=150)


@pytest.fixture
def lab_of(slurm, corpus, root, tmp_path, monkeypatch):
    """A function that makes a lab of some cells; the data and compiled programs are the module's."""
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("XLA_FLAGS", QUICKLY)  # one CPU device a process
    store = prepare(run_of(corpus).data, root, lambda line: None)
    made = 0

    def make(*cells, options=None, **placement):
        nonlocal made
        made += 1
        folder = tmp_path / str(made)
        folder.mkdir()
        for name in ("datasets", ".cache"):
            (root / name).mkdir(exist_ok=True)
            (folder / name).symlink_to(root / name)
        words = dict.fromkeys(("question", "published", "shows", "cannot_show"), "")
        settings = Placement(tracking="off", grace_seconds=10.0, **placement)
        study = Study(name=NAME, forecast_flops=1e9, cells=cells, placement=settings, **words)
        study = pin(study, lambda data: replace(data, content=store.manifest.content))
        return Lab(placed(study, options or SlurmOptions()), folder)

    yield make
    subprocess.run(["scancel", "--user=root"], check=True)
    wait_until(lambda: not subprocess.run(["squeue", "--noheader"], capture_output=True).stdout)


def long_run(corpus, steps):
    run = run_of(corpus)
    return replace(run, tokens=steps * STEP, data=replace(run.data, max_epochs=1e6))


def alone(lab):
    """The same command, undisturbed and without SLURM, for each run of a lab."""
    for name in lab.names:
        words = ("-m", "launch.cli", "run", str(lab.plan.path), name, "--root", str(lab.workspace.root))
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def test_a_study_is_trained_and_a_failing_run_stops_no_other(lab_of, corpus):
    bad = replace(run_of(corpus), seed=1)
    lab = lab_of(*branches(run_of(corpus), [40 * STEP]), Cell(run=bad))
    trunk, branch, bad = lab.names
    lab.directory(bad).path.mkdir(parents=True)
    (lab.directory(bad).path / "curve.tmp").mkdir()  # a folder where a file belongs
    lab.submit()
    lab.end()
    states = [lab.record(name).status for name in lab.names]
    assert states == ["finished", "finished", "failed"], lab.told()
    assert lab.record(branch).cost.started_from_tokens == lab.record(trunk).tokens.seen
    assert lab.causes(trunk) == lab.causes(branch) == ["finished"]
    assert lab.causes(bad)[-1] == "error"


def test_two_nodes_learn_what_one_process_learns(lab_of, corpus):
    options = SlurmOptions(nodes=2)
    together, single = (lab_of(Cell(run=run_of(corpus)), options=given) for given in (options, None))
    (name,) = together.names
    together.submit(nodes=2)
    alone(single)
    together.end()
    assert together.directory(name).record.exists(), together.told()
    assert together.record(name).placement["data"] == 2
    # float32 sums over the batch in another order: 1e-7 each, carried through thirty steps.
    np.testing.assert_allclose(together.losses(name), single.losses(name), rtol=2e-5)


@pytest.mark.parametrize(("nodes", "steps"), [(1, 6000), (2, 2000)])
def test_a_preempted_run_goes_on_and_ends_with_the_same_losses(lab_of, corpus, nodes, steps):
    cells, options = [Cell(run=long_run(corpus, steps))], SlurmOptions(nodes=nodes)
    lab, undisturbed = lab_of(*cells, options=options), lab_of(*cells, options=options)
    (name,) = lab.names
    (job,) = lab.submit(nodes=nodes)
    wait_until(lambda: lab.steps(name), seconds=150)
    words = ("--partition=urgent", "--nodes=2", "--output=/dev/null", "--wrap=sleep 1")
    subprocess.run(["sbatch", *words], check=True, capture_output=True)
    lab.go_on_after_stop(job)
    lab.end()
    assert lab.causes(name) == ["preempted", "finished"], lab.told()
    assert lab.record(name).cost.attempts == 2
    if nodes == 1:
        alone(undisturbed)
    else:
        undisturbed.submit(nodes=nodes)
        undisturbed.end()
    np.testing.assert_array_equal(lab.losses(name), undisturbed.losses(name))
    assert lab.record(name).heldout == undisturbed.record(name).heldout


def test_a_run_stops_before_its_time_limit_goes_on_and_is_cancelled(lab_of, corpus):
    lab = lab_of(Cell(run=long_run(corpus, 10_000_000)))
    (name,) = lab.names
    (job,) = lab.submit(time="2")
    wait_until(lambda: lab.steps(name), seconds=150)
    lab.go_on_after_stop(job)
    stopped = max(int(path.name) for path in lab.directory(name).checkpoints.iterdir() if path.is_dir())
    wait_until(lambda: len(lab.causes(name)) == 2 and lab.steps(name) > stopped, seconds=150)
    cancel(lab.workspace, NAME)
    lab.end()
    assert lab.causes(name) == ["preempted", "cancelled"], lab.told()
    assert not lab.directory(name).record.exists()
