"""Documents with the same text or address: the first stays."""

import pytest

from scaling.config.cleaning_duplicates import DuplicateURLs, ExactDuplicates
from scaling.data.cleaning.contract import Placed
from scaling.data.cleaning.duplicates import duplicate_urls, exact_duplicates, normal_url
from scaling.data.sources import Document
from tests.data.cleaning.runner import kept, placed, run


def test_of_the_same_text_only_the_first_stays_and_no_other_text_goes(tmp_path):
    texts = [f"text {number % 83}" for number in range(200)] + ["text 0 ", "Text 0", ""]
    verdicts = run(exact_duplicates(ExactDuplicates()), placed(texts), tmp_path / "run")
    assert kept(verdicts) == [*range(83), 200, 201, 202]  # recall 117 of 117, no false positive
    assert {verdict.reason for verdict in verdicts if verdict.text is None} == {"same text as an earlier document"}
    assert all(verdict.text in (None, text) for verdict, text in zip(verdicts, texts, strict=True))


@pytest.mark.parametrize(
    "same",
    [
        ("http://example.com", "https://Example.COM/", "https://example.com:443/#top", " http://example.com:80 "),
        ("https://a.org/x/../b/./c?q=%7Eme", "https://a.org/b/c?q=~me"),
        ("https://a.org/%c3%a9", "https://a.org/é", "https://a.org/%C3%A9"),
        ("https://a.org/d/..", "https://a.org/d/../", "https://a.org"),
    ],
)
def test_ways_to_write_an_address_have_one_normal_form(same):
    assert len({normal_url(url) for url in same}) == 1


def test_different_addresses_have_different_normal_forms():
    urls = ["a.org/x", "a.org/X", "a.org/x/", "a.org/x?p=1", "a.org/x?p=2", "a.org:8080/x", "b.a.org/x", "a.org/x%2Fy"]
    assert len({normal_url(f"https://{url}") for url in [*urls, "a.org/x/y"]}) == 9


@pytest.mark.parametrize("url", ["//[bad", "http://host:port/", "no address", "mailto:a@b.c"])
def test_what_is_no_address_is_left_as_it_is(url):
    assert normal_url(url) == url


def test_of_one_address_the_first_stays_and_documents_without_one_all_stay(tmp_path):
    urls = ["https://a.org", "", "http://a.org/", "https://b.org", "", "https://a.org/#x"]
    documents = [
        Placed(index=index, document=Document(name=str(index), text="same text", url=url))
        for index, url in enumerate(urls)
    ]
    verdicts = run(duplicate_urls(DuplicateURLs()), documents, tmp_path / "run", shard=2)
    assert kept(verdicts) == [0, 1, 3, 4]
    assert verdicts[2].reason == "same address as an earlier document"
