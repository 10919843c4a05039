import sys

import pytest

from scaling.config.cleaning_heuristics import Language
from scaling.data.cleaning import language as module
from scaling.data.cleaning.language import identify, language, sample
from scaling.data.sources import DataError, Document

TEXTS = {
    "en": "The children went down to the river in the morning, because it was warm and they had nothing to do.",
    "de": "Die Kinder gingen am Morgen zum Fluss hinunter, weil das Wetter warm war und sie nichts zu tun hatten.",
    "fr": "Les enfants sont descendus à la rivière le matin, parce qu'il faisait chaud et ils n'avaient rien à faire.",
    "es": "Los niños bajaron al río por la mañana, porque hacía calor y no tenían nada que hacer en la casa.",
}
pytest.importorskip("py3langid")


def judged(text: str, **changes):
    return language(Language(**changes))(Document(name="d", text=text))


@pytest.mark.parametrize("code", TEXTS)
def test_sentences_are_known_by_their_language(code):
    assert identify(TEXTS[code])[0] == code
    assert judged(TEXTS[code], keep=(code,)).text == TEXTS[code]


def test_other_languages_are_dropped_and_counted():
    verdict = judged(TEXTS["de"])
    assert (verdict.text, verdict.reason, verdict.counts) == (None, "another language", {"documents in de": 1})
    assert judged(TEXTS["de"], keep=("en", "de")).text == TEXTS["de"]


def test_a_language_that_is_not_sure_is_dropped():
    probability = identify(TEXTS["en"])[1]
    assert judged(TEXTS["en"], least_probability=probability).reason == ""
    assert judged(TEXTS["en"], least_probability=min(1.0, probability + 1e-6)).reason == "language not sure"


def test_nothing_to_go_by_is_no_language():
    assert identify(" \n") == ("und", 0.0)
    assert judged("").reason == "another language"


def test_a_sample_comes_from_all_parts():
    text = "".join(letter * 1000 for letter in "abcdefghij")
    taken = sample(text, 400)
    assert taken == " ".join([text[:100], text[3300:3400], text[6600:6700], text[-100:]])
    assert sample("short", 400) == "short"


def test_an_unknown_language_is_refused():
    with pytest.raises(DataError, match=r"Language\.keep=\('english',\): the model knows no english"):
        language(Language(keep=("english",)))
    with pytest.raises(ValueError, match=r"Language\.keep=\(\): name at least one"):
        Language(keep=())


def test_without_the_package_an_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    module._model.cache_clear()
    with pytest.raises(DataError, match=r"pip install 'scaling-lab\[data\]'"):
        identify("some text")
