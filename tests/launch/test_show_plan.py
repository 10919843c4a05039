"""A printed plan: what of it was dropped and what is yet to be decided."""

import io
from dataclasses import replace

from rich.console import Console

from launch.show_plan import print_plan
from scaling.config import Source
from scaling.hardware import HARDWARE
from scaling.plan import Dropped, price
from tests.launch.tiny import study_of


def printed(every=False, **changes):
    console = Console(file=io.StringIO(), width=200)
    print_plan(price(replace(study_of(Source()), **changes), HARDWARE["cpu-core"]), console, all_runs=every)
    return console.file.getvalue()


def test_dropped_rows_are_counted_by_their_commonest_reasons_and_listed_on_request():
    rows = [Dropped(row=f"row {number}", reason="too long" if number % 3 else "too short") for number in range(9)]
    rows += [Dropped(row=f"odd {number}", reason=f"reason {number}") for number in range(9)]
    said = printed(dropped=tuple(rows))
    assert "dropped: 18 rows; --runs lists them\n  6: too long\n  3: too short\n  1: reason 0\n" in said
    assert "reason 3" not in said  # five reasons are enough
    assert "dropped: 18 rows\n  row 0: too short\n  row 1: too long\n" in printed(every=True, dropped=tuple(rows))
    assert "dropped" not in printed()


def test_runs_that_losses_decide_are_announced():
    assert "up to 7 more runs will be decided by the losses of these" in printed(later=7)
    assert "more runs" not in printed()
