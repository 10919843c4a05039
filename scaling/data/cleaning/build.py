"""From the configuration of a cleaning step to its work."""

from functools import cache

from scaling.config.cleaning import CleaningStep, Lengths
from scaling.config.cleaning_duplicates import (
    Decontaminate,
    DuplicateLines,
    DuplicateParagraphs,
    DuplicateSubstrings,
    DuplicateURLs,
    ExactDuplicates,
    NearDuplicates,
)
from scaling.config.cleaning_heuristics import C4, GopherQuality, GopherRepetition, Language, PrivateData
from scaling.config.cleaning_quality import Perplexity, QualityClassifier
from scaling.data.cleaning import gopher
from scaling.data.cleaning.c4 import c4
from scaling.data.cleaning.contract import Global, Local
from scaling.data.cleaning.decontaminate import decontaminate
from scaling.data.cleaning.duplicates import duplicate_urls, exact_duplicates
from scaling.data.cleaning.language import language
from scaling.data.cleaning.near import near_duplicates
from scaling.data.cleaning.perplexity import perplexity
from scaling.data.cleaning.private_data import private_data
from scaling.data.cleaning.quality import quality_classifier
from scaling.data.cleaning.repeated import duplicate_lines, duplicate_paragraphs
from scaling.data.cleaning.repetition import repetition
from scaling.data.cleaning.substrings import duplicate_substrings


@cache  # a worker process builds a step once, whatever lists and models it reads
def work(step: CleaningStep) -> Local | Global:
    """What a step does."""
    match step:
        case C4():
            return c4(step)
        case Decontaminate():
            return decontaminate(step)
        case DuplicateLines():
            return duplicate_lines(step)
        case DuplicateParagraphs():
            return duplicate_paragraphs(step)
        case DuplicateSubstrings():
            return duplicate_substrings(step)
        case DuplicateURLs():
            return duplicate_urls(step)
        case ExactDuplicates():
            return exact_duplicates(step)
        case GopherQuality():
            return gopher.quality(step)
        case GopherRepetition():
            return repetition(step)
        case Language():
            return language(step)
        case Lengths():
            return gopher.lengths(step)
        case NearDuplicates():
            return near_duplicates(step)
        case Perplexity():
            return perplexity(step)
        case PrivateData():
            return private_data(step)
        case QualityClassifier():
            return quality_classifier(step)
    raise AssertionError(step)
