"""What launchers do with an object store before and after runs are trained: plans, data, records."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scaling.config import DataConfig, run_id
from scaling.lease import CANCEL
from scaling.mirror.bucket import Bucket, bucket_of
from scaling.mirror.mirror import of_run, publish
from scaling.mirror.runs import done_by, fetch_outcome
from scaling.plan import Study
from scaling.record import RunDirectory, read_record
from scaling.workspace import Workspace

AT_ONCE = 16  # questions to a store

Say = Callable[[str], None]


def level(store: Bucket, workspace: Workspace, names: Collection[str], say: Say) -> None:
    """Bring here what is trained on the store, and put there what is trained here."""

    def one(name: str) -> tuple[int, int]:
        directory = RunDirectory(workspace.runs / name)
        if fetch_outcome(of_run(store, name), directory):
            return 1, 0
        trained = directory.record.exists() and read_record(directory.record).status != "failed"
        return 0, int(trained and publish(store, directory))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, names))
    there, put = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0)
    if there or put:
        say(f"{there} of {len(names)} runs are trained on {store}; {put} trained here are put there")


def tell(store: Bucket, directory: RunDirectory, say: Say) -> None:
    """Put the record of a run that failed here on the store; where that cannot be, it is tried again by a launch."""
    try:
        publish(store, directory)
    except OSError as error:
        say(f"{directory.path.name}: its failure could not be put on the store ({error})")


def drop_cancels(store: Bucket, names: Collection[str]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: of_run(store, name).remove(CANCEL), names))


def ask_to_stop(store: Bucket, names: Collection[str]) -> int:
    """Ask whoever trains runs on the store to write a checkpoint and stop; how many are asked: those not trained."""

    def one(name: str) -> bool:
        there = of_run(store, name)
        if done_by(there) is not None:
            return False
        there.rewrite(CANCEL, b"")
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(one, names))


def fetched_plan(url: str, workspace: Workspace) -> Path:
    """A plan file from its URL. Raises ValueError where there is none."""
    folder, _, name = url.rpartition("/")
    path = workspace.studies / name
    try:
        bucket_of(folder).download(name, path)
    except FileNotFoundError:
        raise ValueError(f"{url}: there is no such plan; `scaling launch STUDY --store URL` puts it there") from None
    return path


def on_store(study: Study, plan: Path, store: Bucket, workspace: Workspace, say: Say) -> None:
    """Put what a study's runs need on the store, and take requests to stop them back."""
    put_data(study.datasets, store, workspace.root, say)
    say(f"the plan is {put_plan(plan, store)}")
    drop_cancels(store, {run_id(run) for run in study.runs})


def put_plan(path: Path, store: Bucket) -> str:
    """Its URL."""
    there = store / "studies"
    there.upload(path, path.name)
    return f"{there}/{path.name}"


def fetch_missing_data(data: DataConfig, store: Bucket, root: Path, say: Say) -> None:
    from scaling.data.prepare import pinned
    from scaling.mirror.datasets import fetch_data

    if pinned(data, root) is None:
        fetch_data(data, store, root, say)


def put_data(study_data: Collection[DataConfig], store: Bucket, root: Path, say: Say) -> None:
    """Put prepared data on the store, where they are not there yet."""
    from scaling.data.prepare import prepare
    from scaling.mirror.datasets import push_data

    for data in study_data:
        tokens = prepare(data, root, lambda line: None)
        if push_data(data, tokens, store):
            say(f"{os.path.relpath(tokens.path, root)} is put on {store}")
