import gzip
import re
import sys

import pytest

from scaling.config import Source
from scaling.data.sources import DataError, documents
from scaling.data.sources.pages import decoded

SENTENCES = [
    "Losses of language models fall as a power law of the compute that is spent on them, over many decades.",
    "The exponent says how much is gained by a doubling, and it is small: patience and devices are both needed.",
    "Whoever fits such a curve must know where its points lie best, since runs at the edge weigh most.",
]
NAVIGATION = ("Home", "Log in", "Subscribe now", "Our other articles")


def page(subject, charset="utf-8", words=SENTENCES):
    links = "".join(f'<li><a href="/{link}">{link}</a></li>' for link in NAVIGATION)
    body = "".join(f"<p>{subject}: {sentence}</p>" for sentence in words)
    return (
        f"<!doctype html><html><head><meta charset={charset}><title>{subject}</title><style>p {{color: red}}</style>"
        f"<script>track('me')</script></head><body><nav><ul>{links}</ul></nav><main><article><h1>{subject}</h1>{body}"
        "</article></main><footer>© Somebody, all rights reserved</footer></body></html>"
    )


def found(kind, path, **options):
    return list(documents(Source(kind=kind, path=str(path), **options)))


def answer(url, content, status="200 OK", headers="Content-Type: text/html", packed=False):
    """A record of a WARC file with what a server answered."""
    http = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + content
    return record("response", url, http, packed, "Content-Type: application/http; msgtype=response\r\n")


def record(kind, url, content, packed=False, headers=""):
    length = f"Content-Length: {len(content)}"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n{headers}{length}\r\n\r\n"
    written = head.encode() + content + b"\r\n\r\n"
    return gzip.compress(written, mtime=0) if packed else written


def test_the_text_of_pages_is_found_and_their_navigation_is_left_out(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.html").write_text(page(f"Number {number} é"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no page")
    texts = {document.name: document.text for document in found("html", tmp_path)}
    assert list(texts) == [f"{number}.html" for number in range(10)]
    wanted = sum(f"Number {n} é: {s}" in text for n, text in enumerate(texts.values()) for s in SENTENCES)
    unwanted = sum(words in text for text in texts.values() for words in (*NAVIGATION, "rights", "track", "color"))
    # Recall and false positives: all thirty paragraphs, none of the 70 pieces of furniture.
    assert (wanted, unwanted) == (30, 0)


@pytest.mark.parametrize(
    ("encoded", "declared"),
    [
        (page("Größe").encode(), "iso-8859-1"),  # valid UTF-8, whatever the server says
        (page("Größe", "").encode(), ""),
        (page("Größe", "iso-8859-1").encode("latin-1"), ""),
        (page("Größe", '"windows-1252"').encode("cp1252"), "utf-8"),
        (page("Größe", "nonsense").encode("latin-1"), "iso-8859-15"),
        (page("Größe").encode("utf-16"), ""),
        (page("Größe").encode("utf-8-sig"), ""),
    ],
)
def test_a_page_is_read_in_the_encoding_it_is_in(encoded, declared):
    assert "Größe" in decoded(encoded, declared)
    assert not decoded(encoded, declared).startswith("\ufeff")


def test_japanese_in_seven_bits_is_not_taken_for_utf8():
    encoded = page("日本語", "iso-2022-jp").replace("©", "").encode("iso-2022-jp")
    assert "日本語" in decoded(encoded)


@pytest.mark.parametrize("label", ["zlib", "punycode", "unicode_escape", "\0", "x" * 99])
def test_what_no_page_is_written_in_is_not_decoded(label):
    assert decoded(b"\\ud800 plain", label) == "\\ud800 plain"
    with pytest.raises(UnicodeError):
        decoded(b"\xff\xfe\xfd"[::-1], label)


def test_faults_of_pages_are_named(tmp_path):
    (tmp_path / "a.html").write_bytes(b" \n")
    (tmp_path / "b.html").write_bytes(b"<p>\xe4\xf6 caf\xe9</p>")
    (tmp_path / "c.html").write_bytes(b"<html><head><title>t</title></head><body></body></html>")
    (tmp_path / "d.html").write_bytes(b"<p>" + b"x" * 5000)
    assert [document.fault for document in found("html", tmp_path, most_bytes=4000)] == [
        "empty",
        "unknown encoding",
        "no main text",
        "too long",
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_pages_of_an_archive_keep_their_urls_and_other_records_are_no_documents(tmp_path, packed):
    html = page("Deep").encode()
    languages = "WARC-Identified-Content-Language: deu,eng\r\n"
    records = [
        record("warcinfo", "", b"software: a crawler\r\n", packed),
        answer("http://a.example/1", html, packed=packed),
        answer("http://a.example/missing", html, "404 Not Found", packed=packed),
        answer("http://a.example/logo", b"\x89PNG", headers="Content-Type: image/png", packed=packed),
        answer("http://a.example/2", html, "200", "content-type: Application/XHTML+XML", packed=packed),
        answer(
            "http://a.example/3",
            page("Grün", "").encode("latin-1"),
            headers="Content-Type: text/html; charset=ISO-8859-1",
            packed=packed,
        ),
        record("conversion", "http://a.example/4", "Schon Text, größtenteils".encode(), packed, languages),
    ]
    name = "a.warc.gz" if packed else "a.warc"
    (tmp_path / name).write_bytes(b"".join(records))
    documents = found("warc", tmp_path)
    assert [(document.name, document.url) for document in documents] == [
        (f"{name}:{place}", f"http://a.example/{number}") for place, number in ((1, 1), (4, 2), (5, 3), (6, 4))
    ]
    assert [document.language for document in documents] == ["", "", "", "deu"]
    assert f"Deep: {SENTENCES[0]}" in documents[0].text and f"Grün: {SENTENCES[2]}" in documents[2].text
    assert documents[3].text == "Schon Text, größtenteils"


@pytest.mark.parametrize("packed", [False, True])
def test_every_truncation_of_an_archive_gives_the_whole_records_before_it(tmp_path, packed):
    name = "a.warc.gz" if packed else "a.warc"
    records = [record("conversion", f"http://{n}", f"{SENTENCES[n]}\n".encode(), packed) for n in range(3)]
    whole = b"".join(records)
    ends = [sum(map(len, records[:count])) for count in range(1, 4)]
    # The two line ends after a record, and the checksums of its compression, say nothing of the text.
    after = 16 if packed else 4
    for cut in range(2, len(whole)):
        (tmp_path / name).write_bytes(whole[:cut])
        least, most = sum(end <= cut for end in ends), sum(end - after <= cut for end in ends)
        try:
            rows = found("warc", tmp_path)
        except DataError as error:
            assert least == 0
            assert re.search(rf"{re.escape(name)}: damaged or truncated \(.*\); fetch it again", str(error))
            continue
        kept = [row.text for row in rows if not row.fault]
        assert least <= len(kept) <= most and kept == [f"{text}\n" for text in SENTENCES[: len(kept)]]
        if all(cut - end not in range(-after, 1) for end in ends):  # else it may have been cut between two records
            assert [row.fault for row in rows[len(kept) :]] == ["damaged file"]


@pytest.mark.parametrize("place", [200, 10_000])
def test_a_page_with_damaged_compression_is_skipped_and_the_next_is_used(tmp_path, place):
    headers = "Content-Type: text/html\r\nContent-Encoding: gzip"
    good = gzip.compress(page("Long", words=[f"{number**9}" for number in range(2000)]).encode())
    bad = good[:place] + b"damage" + good[place + 6 :]
    records = [answer("http://a.example", content, headers=headers) for content in (bad, good)]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    first, second = found("warc", tmp_path)
    assert first.fault == "damaged page"
    assert f"{1999**9}" in second.text


def test_pages_sent_in_chunks_are_put_together(tmp_path):
    html = page("Chunked").encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (html[:300], html[300:], b""))
    headers = "Content-Type: text/html\r\nTransfer-Encoding: chunked"
    (tmp_path / "a.warc").write_bytes(answer("http://a.example", chunks, headers=headers))
    (document,) = found("warc", tmp_path)
    assert all(f"Chunked: {sentence}" in document.text for sentence in SENTENCES)


@pytest.mark.parametrize(("package", "name"), [("trafilatura", "a.html"), ("warcio.archiveiterator", "a.warc")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, name):
    (tmp_path / name).write_text(page("x"))
    monkeypatch.setitem(sys.modules, package, None)
    named = package.partition(".")[0]
    with pytest.raises(DataError, match=rf"need the package {named}: pip install 'scaling-lab\[data\]'"):
        found(name[2:], tmp_path)


def test_nothing_of_a_page_is_printed_when_its_length_is_wrong(tmp_path, capfd):
    content = answer("http://a.example", page("Secret").encode()) * 2
    for wrong in (content.replace(b"Content-Length: ", b"Content-Length: 1", 1), content.replace(b"</html>", b"", 1)):
        (tmp_path / "a.warc").write_bytes(wrong)
        try:
            assert found("warc", tmp_path)[-1].fault == "damaged file"
        except DataError as error:  # nothing came before it
            assert re.search(r"a\.warc: damaged or truncated \(a record does not end where it says\)", str(error))
    assert capfd.readouterr() == ("", "")
