"""`scaling pull`: bring records and curves from an object store, so that status, fit and report find them here."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import takewhile

import tyro

from launch.options import WhereOptions, console
from launch.stored import AT_ONCE, fetched_plan
from scaling.disk import write_atomic
from scaling.lease import claim_name, holder
from scaling.mirror.bucket import Bucket, bucket_of
from scaling.mirror.mirror import of_run
from scaling.mirror.runs import RECORD, fetch_files, fetch_outcome, look, steps_here
from scaling.plan_file import read_plan
from scaling.record import RunDirectory
from scaling.workspace import Workspace


def pull(arguments: list[str]) -> None:
    """Bring the plans, records and curves of a store's studies below ROOT; checkpoints and data stay there.

    `scaling pull URL [STUDY...]`: these studies, or all there are. Of runs under way it brings what they pushed last.
    """
    words = list(takewhile(lambda word: not word.startswith("-"), arguments))
    if not words:
        raise ValueError("from where? scaling pull URL [STUDY...], such as scaling pull s3://bucket/lab chinchilla")
    url, *studies = words
    options = tyro.cli(WhereOptions, args=arguments[len(words) :], prog="scaling pull URL", description=pull.__doc__)
    store = bucket_of(url)
    there = sorted(name.removesuffix(".json") for name in (store / "studies").names() if name.endswith(".json"))
    unknown = [name for name in studies if name not in there]
    if unknown or not there:
        raise ValueError(f"{url}: no study {unknown[0] if unknown else ''}; there are: {', '.join(there) or 'none'}")
    for study in studies or there:
        plan = read_plan(fetched_plan(f"{url.rstrip('/')}/studies/{study}.json", options.workspace))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            counts = Counter(pool.map(lambda name: bring(store, options.workspace, name), plan.runs))
        said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        console.print(f"{study}: {len(plan.runs)} runs: {said}", highlight=False, soft_wrap=True)


def bring(store: Bucket, workspace: Workspace, name: str) -> str:
    """What of a run was brought: trained, under way, or nothing."""
    there, directory = of_run(store, name), RunDirectory(workspace.runs / name)
    if fetch_outcome(there, directory):
        return "trained"
    held = holder(directory.path)
    if steps_here(directory) or (held is not None and held.is_here):
        return "begun here, and left alone"
    found = look(there)
    if not found.holders:
        return "not begun"
    last = found.holders[-1]
    if RECORD not in found.files(last):
        directory.record.unlink(missing_ok=True)  # of a failure that somebody has begun to mend
    fetch_files(there, directory, last)
    for claim in directory.path.glob("lease-*.json"):
        claim.unlink()
    held = holder(there)
    if held is not None:  # whoever looks on here is to see that somebody trains it, though not in this folder
        claim = asdict(replace(held, machine=f"{held.machine}, on {store}"))
        write_atomic(directory.path / claim_name(held.number), json.dumps(claim))
    return "begun"
