"""A document, and what makes one unfit to learn from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scaling.config import Source

# White space and backspace, by which manuals print bold letters, are part of texts.
CONTROLS = bytes(code for code in (*range(32), 127) if chr(code) not in "\b\t\n\v\f\r")
CONTROLS_SHARE = 0.01  # of a text's bytes: above it the text is binary


class DataError(ValueError):
    """Data that cannot be used; the message says where they are and how to mend them."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text and its name, unique within its source; `text` is None if it is not fit for use.

    What is not known of the others is "". url: where it was found. language:
    an ISO 639 code. licence: as its source names it. fault: why there is no
    text, in a few fixed words. detail: what is wrong and how to mend it, for
    faults that a wrong setting can cause.
    """

    name: str
    text: str | None
    prompt_characters: int = 0  # of the text's beginning; the rest is its completion
    url: str = ""
    language: str = ""
    licence: str = ""
    fault: str = ""
    detail: str = ""


def document(name: str, value: bytes | str | None, most_bytes: int, **facts: str) -> Document:
    """A document of that text if it is fit for use, else one with its first fault.

    null: there is no value. too long: above `most_bytes` of UTF-8. lone
    surrogates: half a character, which JSON can write. not UTF-8. empty:
    nothing but white space. binary: holds a zero byte, or more than one byte
    in a hundred is a control character.
    """
    if value is None:
        return faulty(name, "null")
    try:
        raw = value if isinstance(value, bytes) else value.encode()
    except UnicodeEncodeError:
        return faulty(name, "lone surrogates")
    if len(raw) > most_bytes:
        return faulty(name, "too long")
    try:
        text = value if isinstance(value, str) else raw.decode()
    except UnicodeDecodeError:
        return faulty(name, "not UTF-8")
    if not text or text.isspace():
        return faulty(name, "empty")
    if b"\0" in raw or len(raw) - len(raw.translate(None, CONTROLS)) > CONTROLS_SHARE * len(raw):
        return faulty(name, "binary")
    return Document(name=name, text=text, **facts)


def of_row(place: str, values: Mapping[str, Any], source: Source) -> Document:
    """The document that a row of a table is: the prompt, where the source names one, and the text behind it."""
    known, text = facts(place, values, source), values[source.field]
    if not source.prompt_field or text is None:
        return document(value=text, most_bytes=source.most_bytes, **known)
    if (prompt := values[source.prompt_field]) is None:
        return faulty(known["name"], "null")
    found = document(value=prompt + text, most_bytes=source.most_bytes, **known)
    if found.text is None:
        return found
    try:
        length = len(prompt if isinstance(prompt, str) else prompt.decode())
    except UnicodeDecodeError:
        return faulty(known["name"], "not UTF-8")
    rest = found.text[length:]
    return faulty(known["name"], "empty") if not rest or rest.isspace() else replace(found, prompt_characters=length)


def text_fields(source: Source) -> dict[str, str]:
    """The fields of a table that hold text, by the setting of Source that names them."""
    return {name: getattr(source, name) for name in ("field", "prompt_field") if getattr(source, name)}


def faulty(name: str, fault: str, detail: str = "") -> Document:
    return Document(name=name, text=None, fault=fault, detail=detail)


def named_fields(source: Source) -> dict[str, str]:
    """The fields of a table that the source names beside the text, by what they say of a document."""
    fields = {
        "name": source.id_field,
        "url": source.url_field,
        "language": source.language_field,
        "licence": source.licence_field,
    }
    return {fact: field for fact, field in fields.items() if field}


def facts(place: str, values: Mapping[str, Any], source: Source) -> dict[str, str]:
    """What the named fields of a row say of its document. `place` names it where they hold no id."""
    found = {fact: _fact(values.get(field)) for fact, field in named_fields(source).items()}
    return found | {"name": found.get("name") or place}


def _fact(value: Any) -> str:
    """As text; what is none, or not valid, counts as unknown."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    try:
        return value.decode() if isinstance(value, bytes) else value.encode().decode() if isinstance(value, str) else ""
    except UnicodeError:
        return ""
