"""Documents in web pages: HTML files, and the pages of WARC archives."""

import codecs
import logging
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from scaling.config import Source
from scaling.data.sources.document import DataError, Document, document, faulty
from scaling.data.sources.places import DAMAGE, File, at_most, place, until_damage

HTML_TYPES = ("text/html", "application/xhtml+xml")
DECLARED_WITHIN = 4096  # bytes of a page; browsers look at 1024
PIECE_BYTES = 1 << 16
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([\w.:-]{1,40})""", re.IGNORECASE)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
# Of all that Python can decode: what pages are written in. Others, such as punycode, take quadratic time.
_CODECS = ("utf-8", "utf-16", "cp", "iso8859", "iso2022", "koi8", "gb", "big5", "euc", "shift_jis", "hz", "mac", "tis")
_SEVEN_BITS = ("iso2022", "hz")  # their bytes are valid UTF-8 and mean something else


def html_files(source: Source) -> Iterator[Document]:
    """A file is a page."""
    for file in place(source).files():
        yield from until_damage(file, _page_file(file, source.most_bytes))


def warc_pages(source: Source) -> Iterator[Document]:
    """A page that a server answered with, or a record of text that was extracted before (WET), is a document.

    Records of other types, answers with another status than 2xx and answers
    that are not HTML are no documents. What follows damage in a file is lost.
    """
    for file in place(source).files():
        yield from until_damage(file, _records(file, source.most_bytes))


def page_text(html: str) -> str | None:
    """The main text of a page, without navigation and comments, by trafilatura; None if it has none."""
    try:
        import trafilatura
    except ImportError:
        raise DataError("web pages need the package trafilatura: pip install 'scaling-lab[data]'") from None
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # pages without text are counted
    return trafilatura.extract(html, include_comments=False)


def decoded(page: bytes, declared: str = "") -> str:
    """A page as text. Raises UnicodeError if it is in no known encoding.

    UTF-8 if it is valid UTF-8, as hardly any page in another encoding is; else
    what a byte order mark, the server (`declared`) or the page itself says.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if page.startswith(mark):
            return page.decode(name)
    meta = _META.search(page[:DECLARED_WITHIN])
    labels = [declared, meta.group(1).decode("ascii", "replace") if meta else ""]
    names = [name for name in map(_codec, labels) if name]
    if not names or not names[0].startswith(_SEVEN_BITS):
        names = ["utf-8", *names]
    for name in names[:-1]:
        try:
            return page.decode(name)
        except UnicodeError:
            continue
    return page.decode(names[-1])


def _codec(label: str) -> str:
    """Python's name of an encoding; "" if it is unknown or none that pages are written in."""
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return ""
    if name in ("iso8859-1", "ascii"):
        return "cp1252"  # as browsers read these two
    return name if name.startswith(_CODECS) else ""


def _page_file(file: File, most_bytes: int) -> Iterator[Document]:
    with file.open() as stream:
        page = at_most(stream, most_bytes)
    yield _page(file.name, page, most_bytes)


def _page(name: str, page: bytes, most_bytes: int, declared: str = "", url: str = "") -> Document:
    if len(page) > most_bytes:
        return faulty(name, "too long")
    if not page.strip():
        return faulty(name, "empty")
    try:
        html = decoded(page, declared)
    except UnicodeError:
        return faulty(name, "unknown encoding")
    text = page_text(html)
    return faulty(name, "no main text") if not text else document(name, text, most_bytes, url=url)


def _records(file: File, most_bytes: int) -> Iterator[Document]:
    try:
        from warcio.archiveiterator import ArchiveIterator
    except ImportError:
        raise DataError("WARC archives need the package warcio: pip install 'scaling-lab[data]'") from None

    class Quiet(ArchiveIterator):
        INC_RECORD = ""  # warcio would print pieces of pages

    with file.open() as stream:
        archive = Quiet(_Unmistaken(stream), verify_http=False)
        for number, record in enumerate(iter(lambda: _next(archive), None)):
            if not (record.rec_headers.get_header("Content-Length") or "").isdecimal():
                raise EOFError("a record has no length")
            found = _record(f"{file.name}:{number}", record, most_bytes)
            while record.raw_stream.read(PIECE_BYTES):
                pass
            # What is left of the limit is missing.
            if record.raw_stream.limit or archive.err_count:
                raise EOFError("a record does not end where it says")
            if found is not None:
                yield found
        if archive.next_line:  # the beginning of a record, which warcio takes for the end
            raise EOFError("the last record has no length")


def _next(archive: Any) -> Any:
    try:
        return next(archive, None)
    except (DataError, OSError, *DAMAGE):
        raise
    except Exception as error:  # warcio stumbles in many ways over what is no record
        raise EOFError("no record where one should begin") from error


class _Unmistaken:
    """A stream whose truncation is no EOFError, which warcio takes for the end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        try:
            return self._stream.read1(size)  # no further than to what is there: damage behind it comes later
        except EOFError as error:
            raise zlib.error(str(error)) from None


def _record(name: str, record: Any, most_bytes: int) -> Document | None:
    """The document in a record of a WARC file, if there is one."""
    url, http = record.rec_headers.get_header("WARC-Target-URI") or "", record.http_headers
    if record.rec_type == "conversion":
        languages = record.rec_headers.get_header("WARC-Identified-Content-Language") or ""
        text = at_most(record.raw_stream, most_bytes)
        return document(name, text, most_bytes, url=url, language=languages.partition(",")[0])
    if record.rec_type != "response" or http is None or not (http.get_statuscode() or "").startswith("2"):
        return None
    type_ = http.get_header("content-type") or ""
    if type_.partition(";")[0].strip().lower() not in HTML_TYPES:
        return None
    charset = _CHARSET.search(type_)
    compression = http.get_header("content-encoding") or ""
    http.remove_header("content-encoding")  # warcio would take half a page for a whole one
    try:
        page = _unpacked(at_most(record.content_stream(), most_bytes), compression, most_bytes)
    except zlib.error:
        return faulty(name, "damaged page")
    return _page(name, page, most_bytes, charset.group(1) if charset else "", url)


def _unpacked(page: bytes, compression: str, most_bytes: int) -> bytes:
    """A page as its server had it. Many archives hold it so, whatever its headers say."""
    packed = compression.lower() in ("gzip", "x-gzip", "deflate") and page[:1] in (b"\x1f", b"\x78")
    if not packed or len(page) > most_bytes:
        return page
    unpack = zlib.decompressobj(wbits=47)  # the header says whether it is gzip's or zlib's
    content = unpack.decompress(page, most_bytes + 1)
    if not unpack.eof and len(content) <= most_bytes:
        raise zlib.error("truncated")
    return content
