import io

from rich.console import Console

from launch.progress import Progress
from launch.queue import Task


def shown(run, *, terminal):
    """What a person sees of two runs, one under way and one finished."""
    tasks = [Task(run_id=name * 16, run=run, seconds=10.0) for name in "ab"]
    screen = io.StringIO()
    progress = Progress(Console(file=screen, force_terminal=terminal, width=150))
    progress.begin(tasks, {"c" * 16: "finished"})
    progress.live({"run_id": "a" * 16, "step": 15, "steps": 30, "loss": 4.5, "tokens_per_second": 64.0})
    progress.refresh()
    progress.settled(tasks[1], "finished", 3.25, "")
    progress.tried_again(tasks[0], "out of memory", "it will be tried once more")
    progress.end()
    return screen.getvalue()


def test_a_terminal_shows_a_table_with_loss_step_speed_and_eta(run):
    text = shown(run, terminal=True)
    for word in ("a" * 16, "training", "15/30", "4.5000", "64", "0:15", "25% of the work", "3.2500", "finished"):
        assert word in text, word


def test_a_log_file_gets_a_line_for_each_settled_run(run):
    text = shown(run, terminal=False)
    assert "2 runs to train, 1 there already" in text
    assert f"1/2  {'b' * 16}  finished" in text and "loss 3.2500" in text
    assert f"{'a' * 16} failed (out of memory); it will be tried once more" in text
    assert "\x1b" not in text


def test_nothing_to_do_is_shown_as_done(run):
    screen = io.StringIO()
    progress = Progress(Console(file=screen, force_terminal=True))
    progress.begin([], {"a": "finished"})
    progress.end()
    assert "0 runs to train, 1 there already" in screen.getvalue()
