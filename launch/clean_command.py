"""`scaling clean`: free the disk of what nobody will read again."""

from dataclasses import dataclass

import tyro
from rich.console import Console

from launch.cleaning import removable, remove
from launch.options import WhereOptions
from launch.planned import plan_from

console = Console()
MOST_LINES = 40


@dataclass(frozen=True, kw_only=True)
class CleanOptions(WhereOptions):
    dry_run: bool = False
    """Print what would go and stop."""


@dataclass(frozen=True, kw_only=True)
class CleanAllOptions(CleanOptions):
    orphans: bool = False
    """The whole folders of runs that are in no study, records included, too."""


def clean(arguments: list[str]) -> None:
    """Delete the checkpoints of finished runs whose branches have ended, and files of writes that were broken off.

    `scaling clean STUDY`, or `scaling clean --all` for every run in the workspace.
    """
    if "--all" in arguments:
        rest = [word for word in arguments if word != "--all"]
        options = tyro.cli(CleanAllOptions, args=rest, prog="scaling clean --all", description=clean.__doc__)
        only, orphans = None, options.orphans
    elif "--orphans" in arguments:
        raise ValueError("--orphans are runs of no study: scaling clean --all --orphans")
    else:
        plan, options = plan_from("clean", CleanOptions, arguments)
        only, orphans = set(plan.by_id), False
    found = list(removable(options.workspace, only, orphans=orphans))
    for item in found[:MOST_LINES]:
        console.print(f"{_bytes(item.size):>9}  {item.path}  ({item.what})", highlight=False, soft_wrap=True)
    if len(found) > MOST_LINES:
        console.print(f"and {len(found) - MOST_LINES} more", highlight=False)
    total = sum(item.size for item in found)
    if options.dry_run:
        return console.print(f"{_bytes(total)} in {len(found)} places would go", highlight=False)
    freed = remove(found, options.workspace)
    console.print(f"{_bytes(freed)} freed", highlight=False)


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
