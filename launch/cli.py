"""The command line: `scaling COMMAND ...`.

The one place that may import everything; each command imports what it needs
when it is called, so that help is quick.
"""

import importlib
import os
import shlex
import signal
import sys
from typing import NoReturn

from launch.worker import RESUME_ME
from scaling.disk import REFUSED, DiskFull, is_full

USAGE = """\
usage: scaling COMMAND [...]

A laboratory for neural scaling laws: state a question, plan and price the runs, train them, fit the law.

  scaling plan STUDY      the runs of a study and their price; trains nothing
  scaling launch STUDY    train what is not trained yet, then fit and report
  scaling status STUDY    how far each run is, what it took beside the plan, how long it will take; `watch` goes on
  scaling run PLAN RUN    one run of a launched study, as every backend executes it
  scaling cancel STUDY    stop its runs at a checkpoint; `retry` forgives failed ones, `clean` frees disk
  scaling export STUDY OUT  everything of every run as one table
  scaling compare RUN RUN   two runs side by side
  scaling pull URL          records and curves from an object store, to look at and fit here
  scaling sync [STUDY]      send what was tracked offline to wandb's server
  scaling serve STUDY     a live page of it in the browser: runs, curves, the law so far
  scaling train           one run, all of it from options
  scaling data prepare    tokenize a corpus; `scaling data show` describes a prepared one
  scaling data clean      run a recipe of cleaning steps over a corpus; `scaling data report` shows what it did
  scaling data contamination RUN  was the run trained on this list of examples, in this order?
  scaling models          the published shapes by name, with their parameters
  scaling convert IN OUT  a model of the transformers library to ours, or ours to theirs
  scaling coord-check     do activations and updates keep their size as width or depth grows?
  scaling oracle          the whole lab on worlds whose law is known: is it found, and do the intervals hold it?
  scaling check-parallel STUDY  does a step spread over devices compute what it computes on one?

From a study's records, or a TABLE of anybody's runs (CSV, Parquet, JSONL, a wandb export, a folder of runs):

  scaling fit TABLE       the law, with intervals and warnings
  scaling report TABLE    a page with plots
  scaling optimum TABLE   how to spend a budget: size, tokens, loss; with inference, a data cap or a given size
  scaling arms TABLE      corpora, recipes or architectures compared: shared exponents, what one is worth in compute
  scaling next TABLE      what to train next for a budget
  scaling forecast TABLE  write down what a larger run will reach; `scaling score` compares, `scaling ledger` sums up
  scaling laws            the catalogue of laws
  scaling published       fit every published data set by its published procedure

Every command answers --help. Studies (files in experiments/):

{studies}
"""

COMMANDS = {  # their functions, imported when they are called: status should not wait for what fits
    "plan": "plan_command.plan",
    "launch": "launch_command.launch",
    "run": "run_command.run",
    "status": "state_commands.status",
    "watch": "state_commands.watch",
    "cancel": "cancel_commands.cancel",
    "retry": "cancel_commands.retry",
    "clean": "clean_command.clean",
    "export": "export_command.export",
    "compare": "compare_command.compare",
    "pull": "pull_command.pull",
    "sync": "sync_command.sync",
    "serve": "serve_command.serve",
    "train": "train_command.train",
    "data": "data_command.data",
    "models": "models_command.models",
    "oracle": "oracle_command.oracle",
    "convert": "convert_command.convert",
    "coord-check": "coordinate_command.coord_check",
    "check-parallel": "parallel_command.check_parallel",
    "fit": "analysis_commands.fit",
    "report": "analysis_commands.report",
    "optimum": "decision_commands.optimum",
    "arms": "decision_commands.arms",
    "next": "decision_commands.next_runs",
    "forecast": "decision_commands.forecast",
    "score": "decision_commands.score",
    "ledger": "decision_commands.ledger",
    "laws": "analysis_commands.laws",
    "published": "analysis_commands.published",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM came: like Ctrl-C, but whoever sent it is told that there is more to do."""


def main() -> None:
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        return _usage()
    if command not in COMMANDS:
        _refuse(
            f"scaling: no command {command!r}; there are: {', '.join(COMMANDS)}. `scaling --help` says what they do"
        )
    module, _, function = COMMANDS[command].partition(".")
    call = getattr(importlib.import_module(f"launch.{module}"), function)
    signal.signal(signal.SIGTERM, _terminate)
    os.environ.setdefault("SCALING_COMMAND", shlex.join(["scaling", *sys.argv[1:]]))  # for the records
    try:
        call(arguments)
    except (ValueError, OSError) as error:  # what a user can mend; anything else is ours and shows its trace
        _refuse(f"scaling {command}: {_with_help(error)}")
    except Terminated:
        print("stopped; what is trained is kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(RESUME_ME)
    except KeyboardInterrupt:
        sys.exit("\nstopped; what is trained is kept, and the same command goes on from there")


def _with_help(error: Exception) -> str:
    """What the system says of a disk that is full or may not be written does not say what to do."""
    if isinstance(error, DiskFull):
        return str(error)
    if is_full(error):
        return f"{error}: free some space (df -h shows where) and give the same command again; what is written is kept"
    if isinstance(error, OSError) and error.errno in REFUSED:
        return f"{error}: make it writable for this user, or choose another place"
    return str(error)


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _refuse(text: str) -> NoReturn:
    """One sentence, and the exit code of a wrong command line."""
    print(text, file=sys.stderr)
    sys.exit(2)


def _usage() -> None:
    from launch.studies import names, summary

    print(USAGE.format(studies="\n".join(f"  {name:15}{summary(name)}" for name in names())))


if __name__ == "__main__":
    main()
