"""Speed and memory of the whole cleaning engine, as JSON.

    python -m benchmarks.cleaning speed [--processes 2] [--tries 3]      over the standard library
    python -m benchmarks.cleaning memory [--megabytes 100 1000]          over generated documents of each size

Speed is what a user waits for, the start of the processes included; every try
is a command of its own. They start while the source is cut, or, when it is cut
already, while nothing else is done: both are measured.
Memory is the peak of the process that leads and of the largest worker; the
documents lie as JSON lines in a temporary folder, written by another process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Workers import this file anew: it imports nothing that cleaning does not.
from benchmarks.dedup import generated
from benchmarks.machine import command, machine, save
from scaling.config import Source
from scaling.config.cleaning import CleaningStep
from scaling.config.cleaning_duplicates import (
    DuplicateLines,
    DuplicateParagraphs,
    DuplicateSubstrings,
    ExactDuplicates,
    NearDuplicates,
)
from scaling.config.cleaning_heuristics import GopherQuality, GopherRepetition, PrivateData
from scaling.data.cleaning import shards
from scaling.data.cleaning.engine import clean
from scaling.data.cleaning.parallel import MapShards, in_processes
from scaling.data.sources import documents

RECIPES: dict[str, tuple[CleaningStep, ...]] = {
    "quality and duplicate documents": (GopherQuality(), GopherRepetition(), ExactDuplicates(), NearDuplicates()),
    "duplicate documents alone": (ExactDuplicates(), NearDuplicates()),
    "quality, private data and all kinds of duplicates": (
        GopherQuality(),
        GopherRepetition(),
        PrivateData(),
        ExactDuplicates(),
        NearDuplicates(),
        DuplicateParagraphs(),
        DuplicateLines(),
        DuplicateSubstrings(),
    ),
}
MAIN = "quality and duplicate documents"
FILE_BYTES = 50_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "memory", "write", "clean", "once"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--recipe", choices=RECIPES, nargs="+", default=list(RECIPES))
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100, 1000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    match options.what:
        case "speed":
            found = {recipe: speed(recipe, options) for recipe in options.recipe}
        case "memory":
            found = memory(options)
        case "write":
            return write(options.folder, options.megabytes[0])
        case "clean":
            return print(json.dumps(peaks(options.folder, options.processes)))
        case "once":
            return print(json.dumps(once(RECIPES[options.recipe[0]], options.processes, options.folder)))
    packages = {name: version(name) for name in ("duckdb", "rensa", "pyarrow", "numpy")}
    result = {"command": command(), options.what: found, "machine": machine() | {"cleaning": packages}}
    print(json.dumps(result, indent=1))
    save(result, options.out)


def speed(recipe: str, options: argparse.Namespace) -> dict[str, Any]:
    """Megabytes a second of a recipe, the best of several tries."""
    tries, given = {"": [], "of_cut_source": []}, ["--processes", str(options.processes), "--recipe", recipe]
    for _ in range(options.tries):
        with tempfile.TemporaryDirectory() as folder:
            for found in tries.values():  # the first of them cuts
                found.append(json.loads(_part("once", *given, "--folder", folder)))
    first = tries[""][0]
    size = first["text_bytes"]

    def rate(found: Sequence[dict[str, Any]], *parts: str) -> float:
        return round(size / min(sum(once[part] for part in parts) for once in found) / 1e6, 1)

    return {
        "steps": [step.kind for step in RECIPES[recipe]],
        "text_bytes": size,
        "documents": first["documents"],
        "processes": options.processes,
        "mb_per_second_cutting": rate(tries[""], "cutting"),
        "mb_per_second_cleaning": rate(tries[""], "cleaning"),
        "mb_per_second_cutting_and_cleaning": rate(tries[""], "cutting", "cleaning"),
        "mb_per_second_cleaning_a_cut_source": rate(tries["of_cut_source"], "cutting", "cleaning"),
    }


def once(steps: Sequence[CleaningStep], processes: int, folder: Path) -> dict[str, Any]:
    """Seconds of cutting the standard library, unless `folder` holds its shards, and of cleaning it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as name, in_processes(processes) as map_shards:
        if not (folder / "source").exists():
            (folder / "source").mkdir()
            shards.split(documents(Source()), folder / "source")
        cut = time.perf_counter()
        account = clean(folder / "source", steps, Path(name, "cleaned"), lambda line: None, map_shards)
        cleaned = time.perf_counter()
    return {
        "cutting": cut - started,
        "cleaning": cleaned - cut,
        "text_bytes": account.before.total.bytes,
        "documents": [account.before.total.documents, account.after.total.documents],
    }


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Peaks for each size, and how far they are apart."""
    found = {}
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            _part("write", "--folder", folder, "--megabytes", str(megabytes))
            found[f"{megabytes:g} MB"] = json.loads(
                _part("clean", "--folder", folder, "--processes", str(options.processes))
            )
    apart = {
        part: round(max(peak[part] for peak in found.values()) / min(peak[part] for peak in found.values()), 3)
        for part in ("leader_megabytes", "worker_megabytes")
    }
    return {"steps": [step.kind for step in RECIPES[MAIN]], "processes": options.processes} | found | {"apart": apart}


def write(folder: Path, megabytes: float) -> None:
    """Generated documents as files of JSON lines, in `folder`/texts."""
    file, left = None, 0
    (folder / "texts").mkdir()
    for number, text in enumerate(generated(megabytes)):
        if left <= 0:
            file = (folder / "texts" / f"{number:09d}.jsonl").open("w", encoding="utf-8")
            left = FILE_BYTES
        left -= file.write(json.dumps({"text": text}) + "\n")


def peaks(folder: Path, processes: int) -> dict[str, Any]:
    """Cut and clean what lies in a folder; peak memory of this process and of the largest worker."""
    started, notes = time.perf_counter(), folder / "notes"
    (folder / "source").mkdir()
    notes.mkdir()
    with in_processes(processes) as map_shards:
        source = Source(kind="jsonl", path=str(folder / "texts"))
        shards.split(documents(source), folder / "source")
        account = clean(
            folder / "source", RECIPES[MAIN], folder / "cleaned", lambda line: None, _noting(map_shards, notes)
        )
    return {
        "leader_megabytes": _peak(),
        "worker_megabytes": max(float(note.read_text()) for note in notes.iterdir()),
        "documents": [account.before.total.documents, account.after.total.documents],
        "text_bytes": account.before.total.bytes,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _noting(map_shards: MapShards, notes: Path) -> MapShards:
    """The same, and every process writes down its peak after every shard."""

    def run(work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        yield from map_shards(partial(_noted, work, notes), jobs)

    return run


def _noted(work: Callable[[Any], None], notes: Path, job: Any) -> None:
    work(job)
    (notes / str(os.getpid())).write_text(str(_peak()))


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


def _part(*arguments: str) -> str:
    whole = [sys.executable, "-m", "benchmarks.cleaning", *arguments]
    # As after any installation, modules are compiled once, not in every process of every try.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(whole, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


if __name__ == "__main__":
    main()
