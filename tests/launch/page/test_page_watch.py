import json
import threading

import pytest

from analysis.live.findings import Findings
from launch.page import watch as watching
from launch.page.watch import Watch
from scaling.plan import manifest
from tests.launch.page.made import begin, directory_of, settle


class Fits:
    """Counts fits, and lets each go on only when it is told to."""

    def __init__(self):
        self.tables, self.go = [], threading.Event()
        self.go.set()

    def __call__(self, table, manifest):
        self.tables.append(table)
        assert self.go.wait(30)
        return len(self.tables)


@pytest.fixture
def fits(monkeypatch):
    counted = Fits()
    monkeypatch.setattr(watching, "fitted", counted)
    shown = lambda number, to_come: Findings(law=f"<p>fit {number}, {to_come} to come</p>", beside="", advice="")  # noqa: E731
    monkeypatch.setattr(watching, "findings", shown)
    monkeypatch.setattr(watching, "REST", 0.0)
    return counted


def settled(watch):
    """The watch after its fit has ended and it has looked again."""
    if watch._fit.thread:
        watch._fit.thread.join()
    watch.look()
    return watch


def test_without_a_finished_run_nothing_is_fitted_and_the_page_says_so(workspace, study, fits):
    settle(workspace, study.cells[0].run)  # the trunk: no point of a law
    settle(workspace, study.cells[3].run, status="diverged", message="too fast")
    watch = settled(Watch(workspace, "made"))
    assert not fits.tables and "before a run has finished" in watch.parts["law"].html


def test_a_fit_begins_when_a_record_appears_and_never_for_a_request(workspace, study, fits):
    settle(workspace, study.cells[3].run)
    watch = settled(Watch(workspace, "made"))
    assert "fit 1, 4 to come" in watch.parts["law"].html and "From 1 finished run, at" in watch.parts["law"].html
    for _ in range(3):
        watch.asked()
        watch.look()
    assert len(fits.tables) == 1
    settle(workspace, study.cells[4].run)
    watch.look()
    assert "fit 2, 3 to come" in settled(watch).parts["law"].html and "From 2 finished runs" in watch.parts["law"].html
    assert fits.tables[1]["run_id"].to_pylist() == [directory_of(workspace, c.run).path.name for c in study.cells[3:5]]


def test_the_page_goes_on_while_a_fit_is_under_way(workspace, study, fits):
    settle(workspace, study.cells[3].run)
    fits.go.clear()
    watch = Watch(workspace, "made")
    settle(workspace, study.cells[4].run)
    watch.look()
    assert "2 of 5 runs finished" in watch.parts["head"].html
    assert "being fitted now" in watch.parts["law"].html and len(fits.tables) == 1
    fits.go.set()
    settled(watch)
    assert "fit 2" in settled(watch).parts["law"].html


def test_a_fit_rests_some_times_as_long_as_it_took(workspace, study, fits, monkeypatch):
    monkeypatch.setattr(watching, "REST", 1e9)
    settle(workspace, study.cells[3].run)
    watch = settled(Watch(workspace, "made"))
    settle(workspace, study.cells[4].run)
    assert "fit 1" in settled(watch).parts["law"].html and len(fits.tables) == 1


@pytest.mark.parametrize("error", [ValueError("bad <rows>"), ZeroDivisionError("no <reason>")])
def test_a_fit_that_fails_is_told_and_the_runs_are_shown_all_the_same(workspace, study, fits, monkeypatch, error):
    def fail(table, manifest):
        raise error

    monkeypatch.setattr(watching, "fitted", fail)
    settle(workspace, study.cells[3].run)
    watch = settled(Watch(workspace, "made"))
    assert "No fit" in watch.parts["law"].html and "&lt;r" in watch.parts["law"].html
    assert "1 of 5 runs finished" in watch.parts["head"].html


def test_curves_appear_as_they_are_learned(workspace, study, fits):
    watch = Watch(workspace, "made")
    assert watch.parts["curves"].html == ""
    begin(workspace, study.cells[3].run, steps=10)
    watch.look()
    first = watch.parts["curves"]
    assert "Training curves" in first.html and "<style" not in first.html and " style=" not in first.html
    watch.look()
    assert watch.parts["curves"].mark == first.mark


def test_a_study_that_is_launched_again_with_other_runs_is_read_anew(workspace, study, fits):
    watch = Watch(workspace, "made")
    plan = manifest(study)
    plan["runs"] = plan["runs"][:4]
    (workspace.studies / "made.json").write_text(json.dumps(plan), encoding="utf-8")
    watch.look()
    assert "0 of 3 runs finished" in watch.parts["head"].html


def test_a_look_that_fails_is_told_on_the_page(workspace, study, fits, capsys):
    watch = Watch(workspace, "made")
    (workspace.studies / "made.json").write_text("broken", encoding="utf-8")
    watch.start()
    watch.asked()
    watch._stopped.wait(1.0)
    watch.stop()
    assert "This page stands still" in watch.parts["now"].html and "not a study manifest" in watch.parts["now"].html
    assert "Traceback" in capsys.readouterr().err


def test_a_study_that_was_not_launched_is_refused(workspace):
    with pytest.raises(FileNotFoundError, match=r"other\.json"):
        Watch(workspace, "other")
