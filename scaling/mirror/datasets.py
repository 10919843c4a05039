"""Prepared data on a store: put there once by their content, fetched where they are missing.

    datasets/<content>/<tokenizer>-<vocab>/<one who put it>/tokens, tokenizer
                                           whole.json    whose files count, with their sizes; created last, once

Two that put the same data at once write into folders of their own.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from scaling.config import DataConfig
from scaling.data.store import Store
from scaling.mirror.bucket import Bucket

WHOLE = "whole.json"
PARTS = ("tokenizer", "tokens")  # tokens last: a folder that has them is complete
AT_ONCE = 8  # files on their way


def push_data(data: DataConfig, store: Store, root: Bucket) -> bool:
    """Put prepared data there, unless they are; whether it did."""
    there, folder = _place(data, store.manifest.content, root), store.path.parent
    if there.read(WHOLE):
        return False
    mine = secrets.token_hex(4)
    paths = [path for part in PARTS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: there.upload(names[name], f"{mine}/{name}"), names))
    sizes = {name: path.stat().st_size for name, path in names.items()}
    try:
        there.create(WHOLE, json.dumps({"folder": mine, "sizes": sizes}).encode())
    except FileExistsError:  # another was quicker: these are not needed
        for name in names:
            there.remove(f"{mine}/{name}")
        return False
    return True


def fetch_data(data: DataConfig, root: Bucket, here: Path, report: Callable[[str], None]) -> bool:
    """Bring prepared data below `here`/datasets, where `prepare` finds them by their content; whether there are any.

    Raises OSError where what arrived is not what was put.
    """
    there = _place(data, data.content, root)
    text = there.read(WHOLE) if data.content else b""
    if not text:
        return False
    listed = json.loads(text)
    folder = here / "datasets" / f"fetched-{data.content[:12]}" / f"{data.tokenizer}-{data.vocab}"
    report(f"fetching {sum(listed['sizes'].values()) / 1e6:,.1f} MB of prepared data from {there}")
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            names = listed["sizes"]
            list(pool.map(lambda name: there.download(f"{listed['folder']}/{name}", part / name), names))
        wrong = [name for name, size in names.items() if (part / name).stat().st_size != size]
        if wrong:
            raise OSError(f"{there}/{listed['folder']}/{wrong[0]}: arrived cut short; remove {there}/{WHOLE} there")
        with suppress(OSError):  # another process was quicker
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _place(data: DataConfig, content: str, root: Bucket) -> Bucket:
    return root / "datasets" / content / f"{data.tokenizer}-{data.vocab}"
