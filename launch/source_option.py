"""A source in one word of the command line, where most runs have none: KIND:PATH."""

from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from scaling.config import Source, from_dict

SOURCES = ConstructorRegistry()


@SOURCES.primitive_rule
def _source_or_none(asked: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Without it tyro would offer every field of the source, for which a default of None leaves no place."""
    if asked.type != Source | None:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="KIND:PATH",
        instance_from_str=lambda words: source(words[0]),
        is_instance=lambda value: value is None or isinstance(value, Source),
        str_from_instance=_words,
    )


def source(text: str) -> Source | None:
    """The source that a word names: folder:/texts, jsonl:s3://bucket/evaluation.jsonl, stdlib; None by that word."""
    kind, _, path = text.partition(":")
    return None if text == "None" else from_dict(Source, {"kind": kind, "path": path}, text)


def _words(value: Any) -> list[str]:
    return ["None" if value is None else f"{value.kind}:{value.path}".rstrip(":")]
