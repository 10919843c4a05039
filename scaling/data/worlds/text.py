"""The documents of a world, each by its number, and whether a line that someone wrote is right."""

from collections.abc import Iterator

from scaling.config.worlds import ArithmeticWorld, CopyingWorld, HierarchyWorld, RetrievalWorld, World, ZipfWorld
from scaling.data.worlds import hierarchy, tasks, zipf

VERSION = 1  # of the documents: raise it when the same world gives another text, and prepared data are made anew


def document(world: World, index: int) -> tuple[str, str]:
    """Name and text of one document, drawn without those before it. IndexError outside the world."""
    if not 0 <= index < world.documents:
        raise IndexError(f"document {index} of {type(world).__name__}(documents={world.documents}): there is none")
    name = f"{world.kind}-{index:09d}"
    match world:
        case ZipfWorld():
            return name, zipf.text(world, index)
        case HierarchyWorld():
            return name, hierarchy.text(world, index)
        case CopyingWorld():
            return name, tasks.copying(world, index)
        case RetrievalWorld():
            return name, tasks.retrieval(world, index)
        case ArithmeticWorld():
            return name, tasks.arithmetic(world, index)


def documents(world: World) -> Iterator[tuple[str, str]]:
    """All of them, in order."""
    return (document(world, index) for index in range(world.documents))


def solves(world: HierarchyWorld | CopyingWorld | RetrievalWorld | ArithmeticWorld, line: str) -> bool:
    """Whether a line, without its end, is one that the world could hold: its answer is checked, not looked up."""
    if isinstance(world, HierarchyWorld):
        return hierarchy.parses(world, line)
    return tasks.right(world, line)
