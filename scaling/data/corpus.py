"""Documents as a TFDS data set: array_record files, no TensorFlow.

The train and validation splits are drawn by hash of a document's name, so
that a document stays in its split whatever else the corpus holds.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from scaling.config import Source, from_dict
from scaling.data.sources import DataError, Document, documents
from scaling.data.sources.skips import Skipped, Skips, told

SPLITS = ("train", "validation")
SUMMARY = "summary.json"
FEATURES = ("text", "name", "url", "language", "licence", "sha256")
PROMPT = "prompt_characters"  # a feature of sources whose documents begin with a prompt
REPORT_SECONDS = 2.0  # between two lines of progress

Walk = Callable[[], Iterator[Document]]

STDLIB: Walk = partial(documents, Source())


def is_validation(name: str, fraction: float) -> bool:
    """Whether a document is held out: a share `fraction` of all names is."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < fraction * 2**64


class _LocalInfo(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Nothing is known elsewhere; TFDS would leave an empty folder behind in the system's temporary one."""


class Corpus(tfds.core.GeneratorBasedBuilder):
    """The documents of a source, with features text, name, url, language, licence and sha256 (of the text)."""

    VERSION = tfds.core.Version("1.1.0")
    # Nothing is downloaded. TFDS would look for checksums with importlib_resources, which it does not require.
    url_infos = None

    def __init__(
        self,
        *,
        walk: Walk = STDLIB,
        validation_fraction: float = 0.05,
        report: Callable[[str], None] = lambda line: None,
        prompts: bool = False,
        **options: Any,
    ) -> None:
        self.walk = walk
        self.validation_fraction = validation_fraction
        self.report = report
        self.prompts = prompts
        self.skips = Skips()
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        text, count = tfds.features.Text(), tfds.features.Scalar(np.int64)
        features = dict.fromkeys(FEATURES, text) | ({PROMPT: count} if self.prompts else {})
        return _LocalInfo(
            builder=self,
            description="Text documents and a split of them by hash of the name.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # the order of the documents is part of the content
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        # The source is read once: documents that are held out wait in a file for their split's turn.
        aside = Path(self.data_dir) / "aside.jsonl"
        return {"train": self._generate_examples(aside), "validation": self._put_aside(aside)}

    def _generate_examples(self, aside: Path) -> Iterator[tuple[int, dict[str, str]]]:
        shown = time.monotonic()
        with aside.open("w", encoding="utf-8") as file:
            for index, document in enumerate(self.skips.fit(self.walk())):
                if time.monotonic() - shown > REPORT_SECONDS:
                    shown = time.monotonic()
                    self.report(f"reading documents: {index}")
                example = _example(document) | ({PROMPT: document.prompt_characters} if self.prompts else {})
                if is_validation(document.name, self.validation_fraction):
                    file.write(json.dumps([index, example]) + "\n")
                else:
                    yield index, example

    def _put_aside(self, aside: Path) -> Iterator[tuple[int, dict[str, str]]]:
        with aside.open(encoding="utf-8") as file:
            for line in file:
                index, example = json.loads(line)
                yield index, example
        aside.unlink()

    def _log_download_bytes(self) -> None:
        """Nothing is downloaded: TFDS would print that its size is unknown."""

    def _log_download_done(self) -> None:
        """`prepare` says what was done."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a built corpus holds."""

    content: str  # SHA-256 over the documents in order, their names and their split
    documents: dict[str, int]  # by split
    bytes: dict[str, int]  # by split, of UTF-8
    skipped: dict[str, Skipped]  # documents left out, by fault


def build_corpus(
    folder: Path,
    walk: Walk,
    validation_fraction: float,
    report: Callable[[str], None],
    where: str,
    prompts: bool = False,
) -> Summary:
    """Write a corpus into `folder`, read it back, and sum it up in summary.json.

    walk: the documents, the same ones at each call. where: what they are, for errors. prompts: whether each says how
    much of it is its prompt. Raises DataError if either split is left without text.
    """
    _require_text(walk, validation_fraction, where)
    tfds.disable_progress_bar()  # `report` says it
    builder = Corpus(
        walk=walk, validation_fraction=validation_fraction, report=report, prompts=prompts, data_dir=str(folder)
    )
    builder.download_and_prepare()
    shutil.rmtree(folder / "downloads")  # TFDS makes it though nothing is downloaded
    summary = _summary(folder, builder.skips.by_fault)
    (folder / SUMMARY).write_text(json.dumps(asdict(summary), indent=1), encoding="utf-8")
    return summary


def read_corpus(folder: Path) -> dict[str, grain.MapDataset]:
    """The splits of a corpus; an element is a dict of bytes: text, name and sha256; a number: prompt_characters."""
    builder = tfds.builder_from_directory(folder / Corpus.name / str(Corpus.VERSION))
    return {split: grain.MapDataset.source(builder.as_data_source(split=split)) for split in SPLITS}


def read_summary(folder: Path) -> Summary:
    return from_dict(Summary, json.loads((folder / SUMMARY).read_text(encoding="utf-8")), str(folder / SUMMARY))


def in_order(examples: grain.MapDataset) -> Iterator[dict[str, bytes]]:
    """Every element once, first to last, read ahead by a few threads."""
    return iter(examples.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=64)))


def _require_text(walk: Walk, validation_fraction: float, where: str) -> None:
    """Stop early when a split would be empty; reads no further than the first text of each."""
    found, skips = dict.fromkeys(SPLITS, 0), Skips()
    for document in skips.fit(walk()):
        found[SPLITS[is_validation(document.name, validation_fraction)]] += 1
        if all(found.values()):
            return
    if not any(found.values()):
        skipped = "; ".join(told(skips.by_fault)) or "nothing"
        raise DataError(f"{where}: empty corpus, no text in it (skipped: {skipped}); mend Source.path")
    (empty,) = (split for split in SPLITS if not found[split])
    raise DataError(
        f"{where}: all {sum(found.values())} documents fall outside the {empty} split, by hash of their names; "
        f"give more documents, or change DataConfig.validation_fraction={validation_fraction}"
    )


def _example(document: Document) -> dict[str, str]:
    known = {name: getattr(document, name) for name in FEATURES[:-1]}
    return known | {"sha256": hashlib.sha256(document.text.encode()).hexdigest()}


def _summary(folder: Path, skipped: dict[str, Skipped]) -> Summary:
    digest, counts, sizes = hashlib.sha256(), {}, {}
    for split, examples in read_corpus(folder).items():
        counts[split], sizes[split] = len(examples), 0
        for example in in_order(examples):
            sizes[split] += len(example["text"])
            prompt = [str(example[PROMPT]).encode()] if PROMPT in example else []
            digest.update(b"\0".join([split.encode(), example["name"], example["sha256"], *prompt]) + b"\n")
    return Summary(
        content=digest.hexdigest(),
        documents=counts,
        bytes=sizes,
        skipped=skipped,
    )
