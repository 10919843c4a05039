"""The engine: what it counts, that it may be cut and killed anywhere, and that nobody's number of workers shows."""

import multiprocessing
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scaling.config.cleaning import Lengths
from scaling.config.cleaning_duplicates import DuplicateLines, DuplicateURLs, ExactDuplicates, NearDuplicates
from scaling.config.cleaning_heuristics import GopherRepetition, PrivateData
from scaling.data.cleaning import engine, shards
from scaling.data.cleaning.account import ACCOUNT, lines, read_account, sums
from scaling.data.cleaning.parallel import PRELOADED, in_processes, on_ray, one_by_one
from scaling.data.sources import DataError, Document
from scaling.data.sources.skips import Skipped

pytest.importorskip("duckdb")
STEPS = (Lengths(least_words=3), PrivateData(), ExactDuplicates(), GopherRepetition())


def silent(line):
    pass


def texts(count: int) -> list[Document]:
    """Of ten documents one is short, one stands twice, one repeats itself, one names an address."""
    made = []
    for number in range(count):
        text = {
            1: "too short",
            2: f"this one came {number - 1} before",
            3: f"this one came {number - 2} before",
            5: "again and " * 30,
            7: f"write to user{number}@example.org please, {number}",
        }.get(number % 10, f"document {number} has its own few words é")
        made.append(Document(name=f"d{number:04d}", text=text, url=f"u{number}", language="en", licence="mine"))
    made[4] = Document(name="latin", text=None, fault="not UTF-8")
    return made


def cut(folder: Path, count: int = 60, shard_bytes: int = 400) -> Path:
    folder.mkdir(parents=True)
    shards.split(texts(count), folder, shard_bytes)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file that is left, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return cut(tmp_path_factory.mktemp("engine") / "documents")


@pytest.fixture(scope="module")
def cleaned(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cleaned")
    engine.clean(source, STEPS, folder, silent, one_by_one)
    return folder


def passes(*steps):
    return [([s.kind for s in walk.steps], [s.kind for s in walk.sketched]) for walk in engine.passes(steps)]


def test_steps_make_passes_that_a_global_one_parts():
    assert passes(*STEPS) == [
        (["lengths", "private_data"], ["exact_duplicates"]),
        (["exact_duplicates", "gopher_repetition"], []),
    ]
    assert passes(ExactDuplicates(), DuplicateLines(), ExactDuplicates(), Lengths()) == [
        ([], ["exact_duplicates"]),
        (["exact_duplicates"], ["duplicate_lines"]),
        (["duplicate_lines"], ["exact_duplicates"]),
        (["exact_duplicates", "lengths"], []),
    ]
    assert passes() == [([], [])]


def test_global_steps_in_a_row_that_only_drop_documents_share_a_pass(source, tmp_path):
    steps = (DuplicateURLs(), NearDuplicates(words=2, threshold=0.5), ExactDuplicates())
    kinds = ["duplicate_urls", "near_duplicates", "exact_duplicates"]
    assert passes(*steps) == [([], kinds), (kinds, [])]
    together = engine.clean(source, steps, tmp_path / "together", silent, one_by_one)
    given, tallies = source, []
    for number, step in enumerate(steps):
        alone = engine.clean(given, [step], tmp_path / str(number), silent, one_by_one)
        given = tmp_path / str(number) / "documents"
        tallies += [made.tally for made in alone.steps]
    assert list(shards.walk(tmp_path / "together" / "documents")) == list(shards.walk(given))
    assert [made.tally for made in together.steps] == tallies
    assert together.after.total.documents < together.before.total.documents


def test_what_is_left_is_what_the_rules_leave(cleaned):
    left = list(shards.walk(cleaned / "documents"))
    numbers = [n for n in range(60) if n % 10 not in (1, 3, 5) and n != 4]
    assert [document.name for document in left] == [f"d{n:04d}" for n in numbers]
    assert left[1] == Document(name="d0002", text="this one came 1 before", url="u2", language="en", licence="mine")
    assert left[3].text == "write to <e-mail address> please, 7"


def test_the_account_counts_by_reason_with_examples(source, cleaned, tmp_path):
    account = read_account(cleaned)
    assert account == engine.clean(source, STEPS, tmp_path, silent, one_by_one)  # of the first run and of a later one
    assert account.skipped == {"not UTF-8": Skipped(documents=1, names=["latin"])}
    first, private, same, repeated = (step.tally for step in account.steps)
    assert (first.given.documents, first.kept.documents) == (59, 53)
    assert first.dropped["too few words"].documents == 6
    assert first.dropped["too few words"].lost_bytes == 6 * len("too short")
    assert [example["name"] for example in first.dropped["too few words"].examples] == ["d0001", "d0011", "d0021"]
    assert [example["name"] for example in first.unchanged] == ["d0000", "d0002", "d0003"]
    assert private.counts == {"e-mail addresses": 6} and private.changed["masked"].documents == 6
    assert (
        same.dropped["same text as an earlier document"].documents == 6 + 5
    )  # of six pairs, and of six that repeat themselves
    assert repeated.kept == account.after.total
    assert account.before.total == first.given
    assert sum(account.after.by_half.values()) == account.after.total.documents
    assert [s.documents_kept for s in sums(account)][-1] == account.after.total.documents
    assert lines(account)[0].startswith("cleaning 1, lengths: 53 of 59 documents")


def test_nothing_private_stands_in_the_account(cleaned):
    text = (cleaned / ACCOUNT).read_text()
    assert "@example.org" not in text and "<e-mail address>" in text


def test_nothing_is_left_between_source_and_result(cleaned):
    assert sorted(path.name for path in cleaned.iterdir()) == [ACCOUNT, "documents"]
    assert all(path.suffix == ".parquet" for path in (cleaned / "documents").iterdir())


def test_cleaning_what_is_clean_does_nothing(source, cleaned):
    before = content(cleaned)
    engine.clean(source, STEPS, cleaned, silent, None)
    assert content(cleaned) == before


@pytest.mark.parametrize("shard_bytes", [1, 150, 10_000_000])
def test_the_size_of_shards_does_not_show(cleaned, tmp_path, shard_bytes):
    source = cut(tmp_path / "documents", shard_bytes=shard_bytes)
    engine.clean(source, STEPS, tmp_path / "out", silent, one_by_one)
    assert list(shards.walk(tmp_path / "out" / "documents")) == list(shards.walk(cleaned / "documents"))
    assert (tmp_path / "out" / ACCOUNT).read_bytes() == (cleaned / ACCOUNT).read_bytes()


def test_two_processes_leave_the_bytes_that_one_does(source, cleaned, tmp_path):
    with in_processes(2) as map_shards:
        engine.clean(source, STEPS, tmp_path, silent, map_shards)
    assert content(tmp_path) == content(cleaned)


# In a process of its own: Ray reads its environment once, when it is imported.
BY_RAY = """
import sys
from pathlib import Path
import ray
from scaling.data.cleaning import engine
from scaling.data.cleaning.parallel import on_ray
from test_engine import STEPS, silent
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
with on_ray() as map_shards:
    engine.clean(Path(sys.argv[1]), STEPS, Path(sys.argv[2]), silent, map_shards)
"""


@pytest.mark.skipif(
    not (find_spec("ray") and find_spec("pandas")), reason="needs Ray Data: pip install 'scaling-lab[ray]'"
)
def test_ray_leaves_the_bytes_that_one_process_does(source, cleaned, tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    wait = {"RAY_raylet_start_wait_time_s": "150"}  # of a busy machine
    environment = kept | wait | {"PYTHONPATH": paths, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", BY_RAY, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert content(tmp_path / "out") == content(cleaned)


def test_killed_at_any_file_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """From all that lies on the disk before and after each of the calls that make files whole, with three shards."""
    source, out, left = cut(tmp_path / "documents", 24), tmp_path / "out", []

    def keep():
        found = {str(path.relative_to(out)) for path in out.rglob("*")}, content(out)
        if not left or left[-1] != found:
            left.append(found)
            if out.exists():
                shutil.copytree(out, tmp_path / f"left-{len(left)}")

    def watched(real):
        def call(*arguments, **options):
            keep()
            result = real(*arguments, **options)
            keep()
            return result

        return call

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (Path, "rename"), (Path, "mkdir"), (engine, "_remove")):
            patch.setattr(module, name, watched(getattr(module, name)))
        engine.clean(source, STEPS, out, silent, one_by_one)
    assert len(shards.shards(source)) == 3 and len(left) > 40
    for place in range(1, len(left) + 1):
        engine.clean(source, STEPS, tmp_path / f"left-{place}", silent, one_by_one)
        assert content(tmp_path / f"left-{place}") == content(out), place


RUN = """
import sys, time
from pathlib import Path
from scaling.data.cleaning import engine
from scaling.data.cleaning.parallel import PRELOADED, in_processes
from test_engine import STEPS, silent

if __name__ == "__main__":
    print("begun", flush=True)
    with in_processes(2) as map_shards:
        engine.clean(Path(sys.argv[1]), STEPS, Path(sys.argv[2]), silent, map_shards)
"""


def test_a_process_that_is_really_killed_leaves_no_worker_and_is_gone_on_with(source, cleaned, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    folder = tmp_path / "out"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    command = [sys.executable, str(script), str(source), str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True)
    until = time.monotonic() + 100
    while not list(folder.rglob("0*.json")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _alive(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(process.pid)
    engine.clean(source, STEPS, folder, silent, one_by_one)
    assert content(folder) == content(cleaned)


def _alive(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def test_an_error_in_a_worker_names_the_file(tmp_path):
    source = cut(tmp_path / "documents")
    path = shards.shards(source)[3]
    path.write_bytes(path.read_bytes()[:-10])
    with in_processes(2) as map_shards, pytest.raises(DataError, match=r"000003\.parquet: not a whole shard"):
        engine.clean(source, STEPS, tmp_path / "out", silent, map_shards)


def test_a_worker_that_dies_is_said_and_not_waited_for():
    with in_processes(2) as map_shards, pytest.raises(DataError, match=r"was killed, most likely for want of memory"):
        list(map_shards(os._exit, [9, 9]))


def test_a_worker_that_starts_while_another_dies_is_not_waited_for_either(monkeypatch):
    kind = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn").Process
    start, begun = kind.start, []

    def slow_second(process):
        start(process)
        begun.append(process)
        if len(begun) == 2:
            time.sleep(1.0)  # the first has died meanwhile, and the pool is broken before it knows of the second

    monkeypatch.setattr(kind, "start", slow_second)
    with in_processes(2) as map_shards, pytest.raises(DataError, match=r"was killed, most likely for want of memory"):
        list(map_shards(operator.call, [partial(os._exit, 9), partial(time.sleep, 0.2)]))
    assert len(begun) == 2 and not any(process.is_alive() for process in begun)


@pytest.mark.parametrize("name", PRELOADED)
def test_what_workers_have_imported_can_be_imported(name):
    assert import_module(name).__name__ == name  # the server says nothing of one that cannot


def test_no_processes_are_refused():
    with pytest.raises(DataError, match="0 processes cannot clean documents"), in_processes(0):
        pass


def test_ray_that_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"pip install 'scaling-lab\[ray\]'"), on_ray():
        pass


def test_an_empty_source_and_steps_that_drop_all_leave_an_account(tmp_path):
    (tmp_path / "documents").mkdir()
    shards.split([], tmp_path / "documents")
    account = engine.clean(tmp_path / "documents", STEPS, tmp_path / "none", silent, one_by_one)
    assert account.after.total.documents == 0
    source = cut(tmp_path / "some")
    account = engine.clean(source, (Lengths(least_words=999), *STEPS), tmp_path / "all", silent, one_by_one)
    assert account.after.total.documents == 0 and list(shards.walk(tmp_path / "all" / "documents")) == []


def test_cutting_goes_on_after_the_shards_that_are_there(tmp_path):
    whole = cut(tmp_path / "whole", shard_bytes=200)
    part = cut(tmp_path / "part", shard_bytes=200)
    for path in shards.shards(part)[3:]:
        path.unlink()
    shards.split(texts(60), part, 200)
    assert content(part) == content(whole) and len(shards.shards(whole)) > 5
    assert pq.read_table(shards.shards(whole)[0]).schema == shards.SCHEMA


def test_a_pass_of_another_version_is_said(source, tmp_path):
    done = tmp_path / "work" / "pass-0.json"
    done.parent.mkdir()
    done.write_text('{"steps": [], "before": {}}')
    (done.parent / "pass-1.json").write_text("{}")
    with pytest.raises(DataError, match=r"pass-0\.json: of another version .*; delete .* and clean again"):
        engine.clean(source, STEPS, tmp_path, silent, one_by_one)


def test_a_damaged_account_is_said(tmp_path):
    with pytest.raises(DataError, match="no cleaned documents here; run `scaling data clean`"):
        read_account(tmp_path)
    (tmp_path / ACCOUNT).write_text("{")
    with pytest.raises(DataError, match=r"cleaning\.json: damaged .*; delete .* and clean again"):
        read_account(tmp_path)
