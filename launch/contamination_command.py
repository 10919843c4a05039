"""`scaling data contamination`: was a trained run trained on this list of examples, in this order?"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from launch.options import WhereOptions, console


@dataclass(frozen=True, kw_only=True)
class ContaminationOptions(WhereOptions):
    examples: Path
    """JSONL, a line an example, in the order in which the examples are published."""
    field: str = "text"
    """Field of an example that holds its text."""
    shards: int = 50
    shuffles: int = 25
    seed: int = 0


def contamination(arguments: list[str]) -> None:
    """Is the order of these examples likelier to the run than shuffled orders are? (Oren et al. 2023)

    `scaling data contamination RUN --examples FILE`: RUN is its id, the first letters of it, or its folder.
    """
    names = [word for word in arguments[:1] if not word.startswith("-")]
    options = tyro.cli(
        ContaminationOptions,
        args=arguments[len(names) :],
        prog="scaling data contamination RUN",
        description=contamination.__doc__,
    )
    if not names:
        raise ValueError("scaling data contamination RUN: give a run id, the first letters of it, or a run's folder")
    from launch.compare_command import find
    from scaling.config import Source
    from scaling.data.contamination import order_test
    from scaling.data.prepare import prepare
    from scaling.data.sources import documents
    from scaling.record import read_config
    from scaling.training.score import scorer

    directory = find(names[0], options.workspace)
    run = read_config(directory)
    source = Source(kind="jsonl", path=str(options.examples), field=options.field)
    examples = [document.text for document in documents(source) if document.text]
    score = scorer(run, prepare(run.data, options.root, console.print), directory)
    found = order_test(
        lambda order: score("\n".join(order)),
        examples,
        shards=options.shards,
        shuffles=options.shuffles,
        seed=options.seed,
    )
    console.print(
        f"{len(examples)} examples in {options.shards} shards: their order is {found.nats:+.3g} nats a shard likelier "
        f"than {options.shuffles} shuffled ones\nt = {found.statistic:.2f}, p = {found.p_value:.2g}",
        highlight=False,
    )
