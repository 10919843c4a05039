"""`scaling train`: one run, all of it from options."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from launch.launch_command import LaunchOptions, dry_run, prepared, train_all
from launch.options import console
from launch.source_option import SOURCES
from scaling.config import (
    DataConfig,
    NextToken,
    ObjectiveConfig,
    OptimConfig,
    Precision,
    RunConfig,
    ScheduleConfig,
    TransformerConfig,
    from_dict,
    lengths,
    run_id,
)
from scaling.models.published import published
from scaling.plan import Cell, Study
from scaling.plan_file import write_plan
from scaling.provenance import STUDY
from scaling.sweeps import round_tokens


@dataclass(frozen=True, kw_only=True)
class TrainOptions(LaunchOptions):
    tokens: float = 1e6
    """To train on; rounded to whole steps."""
    warmup_fraction: float = 0.02
    """Of the tokens."""
    shape: str | None = None
    """A published model in place of `model`, such as gpt-2; `scaling models` lists them."""
    config: Path | None = None
    """A run's config.json, or one of your own like it, in place of all options below."""
    model: tyro.conf.AvoidSubcommands[TransformerConfig] = TransformerConfig(
        vocab=DataConfig().vocab, dim=64, layers=4, heads=4
    )
    objective: ObjectiveConfig = NextToken()
    data: tyro.conf.AvoidSubcommands[DataConfig] = DataConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    batch: int = 16
    """Sequences a step."""
    precision: Precision = "float32"
    seed: int = 0

    def study(self) -> Study:
        """A study of one run."""
        run = self._read() if self.config else self._made()
        return Study(
            name=f"train-{run_id(run)}",
            question="One run.",
            published="",
            shows="",
            cannot_show="",
            forecast_flops=0.0,
            cells=(Cell(run=run),),
        )

    def _read(self) -> RunConfig:
        """The run of a file; its data are looked for by their source, and its trunk is not needed."""
        try:
            values = json.loads(self.config.read_bytes())
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.config}: not whole JSON ({error})") from None
        run = from_dict(RunConfig, values, str(self.config))
        return replace(run, data=replace(run.data, content=""), trunk=None)

    def _made(self) -> RunConfig:
        """The tokenizer and the objective decide the model's vocabulary and its special tokens."""
        model = published(self.shape) if self.shape else self.model
        found = lengths(model, self.objective)
        data = replace(self.data, specials=max(self.data.specials, found.specials))
        step = self.batch * found.text
        tokens = round_tokens(self.tokens, step)
        warmup = round_tokens(self.warmup_fraction * tokens, step)
        return RunConfig(
            model=replace(model, vocab=data.total_vocab),
            objective=self.objective,
            data=data,
            tokens=tokens,
            batch=self.batch,
            optim=self.optim,
            schedule=replace(self.schedule, warmup_tokens=self.schedule.warmup_tokens or warmup),
            precision=self.precision,
            seed=self.seed,
        )


def train(arguments: list[str]) -> None:
    """Train one run described by options; prints its record's path and loss."""
    options = tyro.cli(TrainOptions, args=arguments, prog="scaling train", description=train.__doc__, registry=SOURCES)
    study = options.study()
    if options.dry_run:
        return dry_run(study, options)
    from scaling.parallel.hosts import cluster
    from scaling.record import RunDirectory, read_record

    if cluster() is None:
        study, _ = train_all(study, options)
    elif (study := _train_together(study, options)) is None:
        return  # the first process says how it went
    path = RunDirectory(options.workspace.runs / run_id(study.runs[0])).record
    record = read_record(path)
    if record.heldout:
        loss, bits = record.heldout, record.heldout.bits_per_byte
        console.print(
            f"held-out loss {loss.loss:.4f} ± {loss.loss_se:.4f} nats/token"
            + ("" if bits is None else f", {bits:.4f} ± {loss.bits_per_byte_se:.4f} bits/byte")
        )
    cost = record.cost
    if cost.goodput is not None:
        used = "" if cost.mfu is None else f"; {cost.mfu:.1%} of the hardware's peak FLOP/s while training"
        console.print(f"{cost.goodput:.0%} of {cost.wall_seconds:,.0f} s went into training steps{used}")
    if cost.tokens_per_second is not None and cost.data_seconds is not None:
        console.print(f"{cost.tokens_per_second:,.0f} tokens/s; making batches took the host {cost.data_seconds:.2f} s")
    console.print(f"{record.status}; record: {path}", soft_wrap=True)


def _train_together(study: Study, options: LaunchOptions) -> Study | None:
    """Train a study of one run as one of several processes; None in all but the first."""
    from launch.together import train_together

    placement = options.placement.over(study.placement)
    study = replace(prepared(study, options.workspace), placement=placement)
    os.environ[STUDY] = study.name
    if not train_together(study.runs[0], options.workspace, placement, console):
        return None
    write_plan(study, options.workspace)
    return study
