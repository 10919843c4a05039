"""Where the stages of a data set lie, below a root.

    datasets/<name>-<key>/corpus/                  documents, as a TFDS data set
                          bpe-512/tokenizer/       learned from the train split
                          bpe-512/tokens/          the store
                          cleaned-<recipe>/        corpus and stores of what cleaning leaves

A mixture's parts each have such a folder with their corpus, shared with
whoever reads that source alone; the mixture's own has the other two stages, the
same for all weights. Held-out text of another source (`DataConfig.heldout`) is
the validation split of that source's own corpus, and the folder of the other
two stages is called by it.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from scaling.config import DataConfig
from scaling.data.cleaning.recipe import folder_key, recipe
from scaling.data.sources import fingerprint, readable_name
from scaling.data.store import FORMAT, MANIFEST, StoreError, read_manifest

HELDOUT = "heldout_"  # in the name of a folder, before a key of the source


def find_store(data: DataConfig, root: Path) -> Path | None:
    """The store of `data` if it exists.

    With `content` set, any store of that content serves, so that a run can be
    resumed after its source has changed or gone.
    """
    if not data.content:
        path = tokens_of(data, root)
        return path if (path / MANIFEST).exists() else None
    homes = ("*", "*/cleaned-*") if data.cleaning else ("*",)  # the first: where it was fetched from a bucket
    ends = ("", f"-{HELDOUT}*") if data.heldout else ("",)
    places = [f"{home}/{_learned(data)}{end}/tokens/{MANIFEST}" for home in homes for end in ends]
    found = [path for place in places for path in (root / "datasets").glob(place)]
    stores = [path.parent for path in sorted(found)]
    return next((store for store in stores if _holds(store, data)), None)


def _holds(store: Path, data: DataConfig) -> bool:
    try:
        found = read_manifest(store)
        return (found.content, found.recipe) == (data.content, recipe(data.cleaning))
    except StoreError:  # of another data set or version: it is not the one that is looked for
        return False


def folder_of(data: DataConfig, root: Path) -> Path:
    """Where the corpus and its stores lie."""
    home = home_of(data, root)
    return home / f"cleaned-{folder_key(data.cleaning)}" if data.cleaning else home


def home_of(data: DataConfig, root: Path) -> Path:
    """Where everything that is made of a source, or of the same sources, lies."""
    if data.mixture is None:
        facts, name = [FORMAT, fingerprint(data.source), data.validation_fraction], readable_name(data.source)
    else:
        homes = {name: home_of(part, root).name for name, part in parts_of(data).items()}
        facts, name = [FORMAT, list(homes.items())], "-".join(homes)[:40]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return root / "datasets" / f"{name}-{key[:12]}"


def parts_of(data: DataConfig) -> dict[str, DataConfig]:
    """What is read, each part as data of its own; a single source is one part without a name."""
    if data.mixture is None:
        return {"": data}
    return {part.name: replace(data, source=part.source, mixture=None, content="") for part in data.mixture.parts}


def heldout_of(data: DataConfig) -> DataConfig | None:
    """What the held-out text is the validation split of, where that is another source."""
    return None if data.heldout is None else replace(data, source=data.heldout, heldout=None, cleaning=(), content="")


def corpus_of(data: DataConfig, root: Path) -> Path:
    """Of one source."""
    return folder_of(data, root) / "corpus"


def tokenizer_of(data: DataConfig, root: Path) -> Path:
    return folder_of(data, root) / variant(data) / "tokenizer"


def tokens_of(data: DataConfig, root: Path) -> Path:
    return folder_of(data, root) / variant(data) / "tokens"


def variant(data: DataConfig) -> str:
    """The folder of a tokenizer and its tokens."""
    if data.heldout is None:
        return _learned(data)
    return f"{_learned(data)}-{HELDOUT}{fingerprint(data.heldout)[:12]}"


def _learned(data: DataConfig) -> str:
    """The tokenizer and its policies."""
    changed = [f"{name}_{value}" for name, value, default in _policies(data) if value != default]
    return "-".join([data.tokenizer, str(data.vocab), *changed])


def _policies(data: DataConfig) -> list[tuple[str, str, str]]:
    return [("digits", data.digits, DataConfig.digits), ("spaces", data.spaces, DataConfig.spaces)]
