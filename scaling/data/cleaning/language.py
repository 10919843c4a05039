"""Which language a document is written in."""

from functools import cache
from typing import Any

from scaling.config.cleaning_heuristics import Language
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import DataError, Document

PIECES = 4


def language(rule: Language) -> Local:
    """Drops documents in other languages, and those whose language is not sure enough; counts documents a language."""
    keep = frozenset(rule.keep)

    def judge(document: Document) -> Verdict:
        code, probability = identify(sample(document.text, rule.characters))
        counts = {f"documents in {code}": 1}
        if code not in keep:
            return Verdict(text=None, reason="another language", counts=counts)
        if probability < rule.least_probability:
            return Verdict(text=None, reason="language not sure", counts=counts)
        return Verdict(text=document.text, counts=counts)

    unknown = sorted(keep - set(_model().labels))
    if unknown:
        raise DataError(f"Language.keep={rule.keep}: the model knows no {', '.join(unknown)}; write ISO 639-1 codes")
    return judge


def identify(text: str) -> tuple[str, float]:
    """The likeliest language as its ISO 639-1 code, and its probability; "und" where there is nothing to go by."""
    if not text.strip():
        return "und", 0.0
    code, probability = _model().classify(text)
    return code, float(probability)


def sample(text: str, characters: int) -> str:
    """So many characters of a text, in pieces from all parts of it: a beginning is often a heading or a licence."""
    if len(text) <= characters:
        return text
    size = max(1, characters // PIECES)
    starts = [part * (len(text) - size) // (PIECES - 1) for part in range(PIECES)]
    return " ".join(text[start : start + size] for start in starts)


@cache  # 0.3 s and 30 MB, once a process
def _model() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise DataError("Language needs the package py3langid: pip install 'scaling-lab[data]'") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
