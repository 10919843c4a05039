"""Small sound files of every format, and ways in which files get damaged."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

PHRASE = "the loss of a language model falls as a power law of its size größer 東京 — and so on, for many decades"
WORDS = PHRASE.split()


def prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def sound_files(rng: random.Random) -> dict[str, tuple[str, bytes]]:
    """Kind of source and content by file name; each gives at least one document."""
    texts = [prose(rng, 40) for _ in range(20)]
    jsonl = "".join(json.dumps({"text": text, "n": [1, {"x": None}]}) + "\n" for text in texts).encode()
    pages = [_page(prose(rng, 12), [prose(rng, 40) for _ in range(3)]) for _ in range(2)]
    records = [_answer(f"http://a.example/{number}", page.encode()) for number, page in enumerate(pages)]
    records.append(_record("conversion", "http://a.example/text", texts[0].encode()))
    files = {
        "a.jsonl": ("jsonl", jsonl),
        "a.jsonl.gz": ("jsonl", gzip.compress(jsonl)),
        "a.jsonl.bz2": ("jsonl", bz2.compress(jsonl)),
        "a.jsonl.xz": ("jsonl", lzma.compress(jsonl, preset=0)),
        "a.jsonl.zst": ("jsonl", zstandard.compress(jsonl)),
        "a.txt": ("text", "\n".join(texts).encode()),
        "a.txt.gz": ("folder", gzip.compress("\n".join(texts).encode())),
        "a.html": ("html", pages[0].encode()),
        "a.html.gz": ("html", gzip.compress(pages[1].encode())),
        "a.warc": ("warc", b"".join(records)),
        "a.warc.gz": ("warc", b"".join(map(gzip.compress, records))),
        "a.zip": ("text", _zipped(texts)),
        "a.tar": ("text", _tarred(texts)),
    }
    for compression in ("none", "snappy", "zstd", "gzip"):
        file = io.BytesIO()
        table = pa.table({"text": texts, "n": list(range(20))})
        pq.write_table(table, file, compression=compression, row_group_size=7, data_page_size=200)
        files[f"a-{compression}.parquet"] = ("parquet", file.getvalue())
    return files


def damaged(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """One to three kinds of damage to a file. `others`: files of which a piece may be put in its place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(DAMAGES)(rng, content, others)
    return content


def _truncated(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _beheaded(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    return content[rng.randrange(len(content) + 1) :]


def _flipped(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    bits = bytearray(content)
    for _ in range(rng.choice((1, 2, 5, 50)) if bits else 0):
        bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
    return bytes(bits)


def _encoded_otherwise(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    encoding = rng.choice(("utf-16", "utf-16-be", "utf-32", "cp1252", "shift_jis", "utf-7", "cp037", "utf-8-sig"))
    start, end = sorted((0, len(content)) if rng.random() < 0.5 else _cut(rng, content))
    piece = content[start:end].decode("utf-8", "replace").encode(encoding, "replace")
    return content[:start] + piece + content[end:]


def _overwritten(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    start, end = _cut(rng, content)
    length = end - start
    filling = rng.choice((b"\0" * length, b"\xff" * length, b"\n" * length, rng.randbytes(length), b"9" * length))
    return content[:start] + filling + content[end:]


def _moved(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    start, end = _cut(rng, content)
    place = rng.randrange(len(content) + 1)
    return content[:place] + content[start:end] * rng.randrange(4) + content[place:]


def _mixed(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def _random(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 3, 100, 5000)))


DAMAGES = (_truncated, _beheaded, _flipped, _flipped, _encoded_otherwise, _overwritten, _moved, _mixed, _random)


def _cut(rng: random.Random, content: bytes) -> tuple[int, int]:
    start, end = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    return start, min(end, start + rng.choice((4, 64, 10_000)))


def _page(title: str, paragraphs: list[str]) -> str:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        f"<html><head><meta charset='utf-8'><title>{title}</title></head><body><main><h1>{title}</h1>{body}"
        "</main></body></html>"
    )


def _answer(url: str, content: bytes) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n\r\n"
    return _record("response", url, http + gzip.compress(content))


def _record(kind: str, url: str, content: bytes) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content + b"\r\n\r\n"


def _zipped(texts: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number:02d}.txt", text)
    return file.getvalue()


def _tarred(texts: list[str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, text in enumerate(texts):
            member = tarfile.TarInfo(f"{number:02d}.txt")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()
