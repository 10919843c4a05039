"""The account of a cleaning: what every step was given, dropped and changed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.config.identity import from_dict
from scaling.data.cleaning.tally import Sizes, Tally
from scaling.data.sources import DataError
from scaling.data.sources.skips import Skipped

if TYPE_CHECKING:
    from scaling.data.store import Cleaned

ACCOUNT = "cleaning.json"  # written last: a folder without it is not clean yet
FORMAT = 1


@dataclass(kw_only=True)
class StepAccount:
    """A step with all its fields, and what it did."""

    config: dict[str, Any]
    tally: Tally


@dataclass(kw_only=True)
class Account:
    """All steps in order. skipped: documents that were left out before the first of them, by fault."""

    format: int = FORMAT
    steps: list[StepAccount]
    before: Sizes
    after: Sizes
    skipped: dict[str, Skipped]


def read_account(folder: Path) -> Account:
    """The account of the cleaned documents in `folder`."""
    path = folder / ACCOUNT
    try:
        return from_dict(Account, json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise DataError(f"{folder}: no cleaned documents here; run `scaling data clean`") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); delete {folder} and clean again") from None


def sums(account: Account) -> "tuple[Cleaned, ...]":
    """The account in small, for the manifest of a store."""
    from scaling.data.store import Cleaned  # here, because workers need no store and would wait for its import

    return tuple(
        Cleaned(
            kind=step.config["kind"],
            documents=step.tally.given.documents,
            documents_kept=step.tally.kept.documents,
            documents_changed=sum(group.documents for group in step.tally.changed.values()),
            bytes=step.tally.given.bytes,
            bytes_kept=step.tally.kept.bytes,
        )
        for step in account.steps
    )


def lines(account: Account) -> list[str]:
    """The account for people, a line a step."""
    return [
        f"cleaning {number}, {step.kind}: {step.documents_kept:,} of {step.documents:,} documents, "
        f"{step.bytes_kept / 1e6:.1f} of {step.bytes / 1e6:.1f} MB stay"
        + (f"; {step.documents_changed:,} changed" if step.documents_changed else "")
        for number, step in enumerate(sums(account), start=1)
    ]
