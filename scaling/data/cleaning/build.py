"""From the configuration of a cleaning step to its work."""

from functools import cache

from scaling.config.cleaning import CleaningStep, ExactDuplicates, Lengths
from scaling.data.cleaning import exact, gopher
from scaling.data.cleaning.contract import Global, Local


@cache  # a worker process builds a step once, whatever lists and models it reads
def work(step: CleaningStep) -> Local | Global:
    """What a step does."""
    match step:
        case Lengths():
            return gopher.lengths(step)
        case ExactDuplicates():
            return exact.duplicates()
    raise AssertionError(step)
