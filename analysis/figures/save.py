"""Figures as files: the same input gives the same bytes, as PNG, SVG and PDF."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fontTools import subset
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Fonts are embedded as TrueType, as journals ask. The typographic minus alone would embed a second one.
FILES = {"svg.hashsalt": "scaling", "svg.fonttype": "path", "pdf.fonttype": 42, "axes.unicode_minus": False}
DOTS = 160  # of the PNG, an inch


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write name.png, name.svg and name.pdf; returns the SVG's text.

    The files carry no date and no version: their bytes would change with them.
    """
    text = svg(figure)
    with rc_context(FILES):
        with _slim_fonts():
            FigureCanvasPdf(figure).print_pdf(
                folder / f"{name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None}
            )
        figure.set_dpi(DOTS)
        FigureCanvasAgg(figure).print_png(folder / f"{name}.png", metadata={"Software": None})
    (folder / f"{name}.svg").write_text(text, encoding="utf-8")
    return text


def svg(figure: Figure) -> str:
    """The SVG alone; the figure's layout is settled with it."""
    # `savefig` would solve the layout and draw twice for each format: most of the time of a report.
    text = io.StringIO()
    with rc_context(FILES):
        if figure.get_layout_engine():
            figure.get_layout_engine().execute(figure)
            figure.set_layout_engine("none")
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return text.getvalue()


@contextmanager
def _slim_fonts() -> Iterator[None]:
    """Embed fonts without the tables that join letters of other scripts.

    They are most of DejaVu Sans, nothing here uses them, and reading them would
    take half the time of a report. matplotlib has no option for it.
    """
    kept = getattr(subset.Options, "_drop_tables_default", None)
    if kept is None:
        yield  # a fontTools that calls it otherwise: right, only slower
        return
    subset.Options._drop_tables_default = [*kept, "GDEF", "GPOS", "GSUB"]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = kept
