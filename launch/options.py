"""What the commands' options have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from launch import studies
from scaling.hardware import HARDWARE
from scaling.plan import Study
from scaling.workspace import Workspace

console = Console()

DEVICES = Literal[tuple(HARDWARE)]


@dataclass(frozen=True, kw_only=True)
class WhereOptions:
    root: Path = Path()
    """Folder that holds runs/, datasets/, studies/ and reports/."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)


def study_of(command: str, options: type, arguments: list[str]) -> tuple[Any, Study]:
    """A command's options and the study that its first argument names. Raises ValueError where it names none."""
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"which study? one of: {', '.join(studies.names())}. Then --help shows its options")
    return studies.parse(arguments[0], options, arguments[1:], prog=f"scaling {command}")
