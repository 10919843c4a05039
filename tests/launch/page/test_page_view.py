from dataclasses import replace

from analysis.tables.table import Manifest, PlannedRun
from launch.page import view
from launch.page.runs import RunState
from tests.launch.page.made import EVIL

RUN = RunState(
    run_id="0" * 16, role="cell", arm="", state="finished", params=1000, tokens=20_000, own_tokens=20_000, flops=1e8,
    share=1.0, loss=3.25, tokens_per_second=500.0, attempts=0, message="",
)  # fmt: skip
WAITING = replace(RUN, state="waiting", share=0.0, loss=None, tokens_per_second=None)
TRAINING = replace(RUN, state="training", share=0.5, tokens_per_second=100.0)
MANIFEST = Manifest(name="made", question="Why?")


def test_the_head_says_how_many_runs_a_law_needs_while_there_are_fewer():
    html = view.head(MANIFEST, [RUN] * 3 + [WAITING] * 27)
    assert "3 of 30 runs finished; 27 waiting. A law needs 6 finished runs at least" in html
    assert "A law needs" not in view.head(MANIFEST, [RUN] * 6 + [WAITING] * 24)


def test_arms_are_compared_by_as_many_runs_as_there_are():
    compared = replace(MANIFEST, runs=(PlannedRun(run_id="x", role="cell", budget=None, arm="a"),))
    assert "A law needs" not in view.head(compared, [RUN])


def test_trunks_are_counted_apart():
    html = view.head(MANIFEST, [RUN, WAITING, replace(RUN, role="trunk"), replace(WAITING, role="trunk")])
    assert "1 of 2 runs finished; 1 waiting." in html and "and 1 of 2 trunks" in html


def test_what_is_to_go_follows_from_the_compute_that_is_left_and_the_rate_now():
    # Half of a run of 20,000 tokens and a whole one, at 100 tokens a second: 300 s.
    html = view.head(MANIFEST, [RUN, TRAINING, WAITING])
    assert "<dd>5:00<small>" in html and "<dd>50%<small>1.50e8 of 3.00e8 FLOPs" in html


def test_nothing_is_promised_while_nobody_trains():
    assert "<dd>-<small>no run is being trained" in view.head(MANIFEST, [RUN, WAITING])
    assert "<dd>-<small>not known yet" in view.head(MANIFEST, [replace(TRAINING, tokens_per_second=None), WAITING])
    assert "nothing is left to train" in view.head(MANIFEST, [RUN, replace(RUN, state="diverged")])


def test_runs_under_way_show_progress_speed_and_attempts():
    html = view.now([RUN, TRAINING, replace(TRAINING, attempts=3)])
    assert "<progress max='1' value='0.5000'></progress> 50%" in html and ">1:40<" in html
    assert html.count("<tr>") == 3 and html.count("attempt 3") == 1
    assert "No run is being trained." in view.now([RUN])


def test_what_went_wrong_is_told_with_its_message():
    html = view.now([replace(RUN, state="failed", message="Out of memory\nlast line"), replace(RUN, state="diverged")])
    assert "Went wrong" in html and "Out of memory\nlast line." in html and "gives no reason" in html


def test_of_many_that_went_wrong_some_are_told_and_the_others_counted():
    html = view.now([replace(RUN, state="failed", message="disk")] * 50)
    assert html.count("Disk.") == view.MOST_TOLD and "42 other runs, listed at the end." in html


def test_every_run_is_listed_and_columns_that_are_all_alike_are_left_out():
    html = view.everything([RUN, replace(RUN, role="trunk"), WAITING])
    assert "2 runs finished" in html and "1 run waiting" in html and "diverged" not in html
    assert html.count("<th>role</th>") == 1 and "<th>arm</th>" not in html


def test_foreign_text_is_escaped_everywhere():
    evil = replace(RUN, run_id=EVIL, arm=EVIL, message=EVIL)
    states = [evil, replace(evil, state="failed", arm="b"), replace(evil, state="training")]
    manifest = Manifest(name=EVIL, question=EVIL)
    html = view.head(manifest, states) + view.now(states) + view.everything(states)
    assert "<img" not in html and html.count("&lt;img src=x") >= 6


def test_durations_are_read_at_a_glance():
    assert [view.clock(s) for s in (42, 3900, 50 * 3600)] == ["0:42", "1:05:00", "2 d 2 h"]
