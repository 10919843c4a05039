import io

import numpy as np
import pytest

from analysis.figures.palette import ACCENT, SERIES
from analysis.figures.save import svg
from analysis.figures.svg import inline
from analysis.figures.training import Curve, texts, training_curves


def curve(text, state="finished", params=1000.0, arm="", steps=5):
    flops = 1e6 * np.arange(1.0, steps + 1)
    return Curve(text=text, params=params, flops=flops, loss=5 / np.arange(1.0, steps + 1), state=state, arm=arm)


SOME = [
    curve("first"), curve("second", "training", 2000.0), curve("third", "diverged"), curve("none", steps=0),
    curve("fourth", "interrupted", 3000.0),
]  # fmt: skip


def test_every_line_and_every_end_says_which_run_it_is():
    assert texts(SOME) == {
        "lines": ["first", "second", "third", "fourth"],
        "finished": ["first"],
        "training": ["second"],
        "stopped": ["third", "fourth"],
    }
    page = inline(svg(training_curves(SOME)), "curves", "alt", texts(SOME))
    assert [page.count(f"<title>{name}</title>") for name in ("first", "second", "third", "fourth", "none")] == [
        2, 2, 2, 2, 0,
    ]  # fmt: skip


def test_sizes_are_named_at_both_ends_and_states_where_they_occur():
    figure = training_curves(SOME)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "N = 1k", "N = 3k", "under way", "stopped",
    ]  # fmt: skip
    ends = next(marks for marks in figure.axes[0].collections if marks.get_gid() == "training")
    assert [f"#{''.join(f'{round(255 * c):02x}' for c in colour[:3])}" for colour in ends.get_facecolor()] == [ACCENT]


def test_arms_have_colours_of_their_own():
    figure = training_curves([curve("a", arm="dense"), curve("b", arm="sparse"), curve("c", arm="dense")])
    labels = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    assert labels == {"dense": SERIES[0], "sparse": SERIES[1]}


def test_one_run_with_one_point_can_be_drawn():
    drawn = io.BytesIO()
    training_curves([curve("only", "training", steps=1)]).savefig(drawn, format="png")
    assert drawn.getvalue().startswith(b"\x89PNG")


def test_without_any_point_there_is_no_figure():
    with pytest.raises(ValueError, match="no run has learned anything yet"):
        training_curves([curve("none", steps=0)])
