"""The published models by name: what they hold and compute."""

import sys

from rich.console import Console
from rich.table import Table

from launch.show_plan import si

console = Console()


def models(arguments: list[str]) -> None:
    """Every named shape with its counts; with a name, its fields."""
    from scaling.config import to_dict
    from scaling.counts import params
    from scaling.models.published import names, published

    if arguments in (["--help"], ["-h"]):
        return print(
            "usage: scaling models [NAME]\n\nThe published shapes and their parameters, or one shape's fields."
        )
    if arguments:
        return _show(arguments[0], to_dict(published(arguments[0])))
    table = Table("name", "architecture", "layers", "dim", "heads", "parameters", "active", box=None, pad_edge=False)
    for name in names():
        shape = published(name)
        size = params(shape)
        numbers = (shape.layers, shape.dim, shape.heads, si(size.total), si(size.active))
        table.add_row(name, shape.architecture, *map(str, numbers))
    console.print(table)
    print("`scaling train --shape NAME` trains one; `scaling models NAME` shows its fields", file=sys.stderr)


def _show(name: str, fields: dict[str, object]) -> None:
    """Those fields that say something: None and False are left out."""
    print(name)
    for field, value in fields.items():
        if value is not None and value is not False:
            print(f"  {field} = {value}")
