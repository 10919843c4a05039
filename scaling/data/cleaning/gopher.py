"""The rules by which MassiveText's web pages were chosen (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1)."""

from scaling.config.cleaning import Lengths
from scaling.data.cleaning.contract import Local, Verdict
from scaling.data.sources import Document


def lengths(rule: Lengths) -> Local:
    """Drops documents of too few or too many words; a word is what stands between white space."""

    def judge(document: Document) -> Verdict:
        words = len(document.text.split())
        if words < rule.least_words:
            return Verdict(text=None, reason="too few words")
        if words > rule.most_words:
            return Verdict(text=None, reason="too many words")
        return Verdict(text=document.text)

    return judge
