from pathlib import Path

import numpy as np
import pytest

from analysis.figures.coordinates import _apart, coordinates
from analysis.figures.save import save
from scaling.coordinates import QUANTITIES, Coordinates


def powers(parametrisation, power):
    sizes = (16, 32, 64)
    rms = (np.array(sizes) / 16.0)[:, None] ** power * np.array([0.0, 1.0])
    same = dict.fromkeys(QUANTITIES, rms)
    return Coordinates(along="width", parametrisation=parametrisation, sizes=sizes, values=same, changes=same)


@pytest.fixture(scope="module")
def figure():
    return coordinates([powers("standard", 1.0), powers("muP", 0.0)])


def test_every_parametrisation_has_a_panel_with_a_line_for_each_quantity(figure):
    assert [axes.get_xlabel() for axes in figure.axes] == ["width\nstandard", "width\nmuP"]
    for axes, expected in zip(figure.axes, ([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]), strict=True):
        assert len(axes.lines) == len(QUANTITIES)
        for line in axes.lines:
            np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)  # powers of two


def test_the_slope_stands_at_the_end_of_each_line(figure):
    for axes, slope in zip(figure.axes, ("+1.00", "+0.00"), strict=True):
        assert [text.get_text() for text in axes.texts] == [slope] * len(QUANTITIES)


def test_labels_stand_apart_in_their_order():
    places = _apart([1.0, 1.0, 0.1, np.nan], 1.5)
    assert places[:3].tolist() == [1.0, 1.5, 0.1]


def test_it_is_written_as_png_svg_and_pdf(figure, tmp_path: Path):
    save(figure, tmp_path, "width")
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".pdf"}
