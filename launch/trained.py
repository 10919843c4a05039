"""What is trained in a workspace, for studies whose next runs depend on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scaling.config import DataConfig
from scaling.record import OPEN, RunDirectory, read_record
from scaling.sweeps.steps import Trained
from scaling.workspace import Workspace


def trained(workspace: Workspace) -> Trained:
    """Losses and data of a workspace, read when they are asked for."""

    def prepared(data: DataConfig) -> DataConfig:
        from scaling.data.prepare import pinned

        return pinned(data, workspace.root) or data

    return Trained(losses=Losses(workspace=workspace), prepared=prepared)


@dataclass(frozen=True, kw_only=True)
class Losses(Mapping[str, float | None]):
    """Held-out losses by run id; None for a run that diverged. Those that failed, were stopped or wait have none."""

    workspace: Workspace

    def __getitem__(self, name: str) -> float | None:
        path = RunDirectory(self.workspace.runs / name).record
        record = read_record(path) if path.exists() else None
        if record is None or record.status in OPEN:
            raise KeyError(name)
        return record.heldout.loss if record.heldout else None

    def __iter__(self) -> Iterator[str]:
        names = (path.parent.name for path in self.workspace.runs.glob("*/record.json"))
        return (name for name in names if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
