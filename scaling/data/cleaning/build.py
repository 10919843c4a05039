"""From the configuration of a cleaning step to its work."""

from functools import cache

from scaling.config.cleaning import CleaningStep, ExactDuplicates, Lengths
from scaling.config.cleaning_heuristics import C4, GopherQuality, GopherRepetition, Language, PrivateData
from scaling.data.cleaning import exact, gopher
from scaling.data.cleaning.c4 import c4
from scaling.data.cleaning.contract import Global, Local
from scaling.data.cleaning.language import language
from scaling.data.cleaning.private_data import private_data
from scaling.data.cleaning.repetition import repetition


@cache  # a worker process builds a step once, whatever lists and models it reads
def work(step: CleaningStep) -> Local | Global:
    """What a step does."""
    match step:
        case C4():
            return c4(step)
        case ExactDuplicates():
            return exact.duplicates()
        case GopherQuality():
            return gopher.quality(step)
        case GopherRepetition():
            return repetition(step)
        case Language():
            return language(step)
        case Lengths():
            return gopher.lengths(step)
        case PrivateData():
            return private_data(step)
    raise AssertionError(step)
