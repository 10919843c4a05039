"""What every study must keep to."""

from scaling.config import run_id
from scaling.hardware import HARDWARE
from scaling.plan import Study, price

MOST_HOURS = 1.0  # of one core: half an hour on two


def check(study: Study, name: str) -> None:
    """Its name is its file's, it says what it must, each run is planned once, and it fits half an hour on two cores."""
    assert study.name == name
    assert study.question.endswith("?")
    assert "arXiv:" in study.published and study.shows and study.cannot_show
    assert len({run_id(run) for run in study.runs}) == len(study.runs)
    assert all(cell.arm for cell in study.cells)
    planned = price(study, HARDWARE["cpu-core"])
    assert planned.total("hours") < MOST_HOURS
    assert all(prediction.fits for prediction in planned.predictions)
