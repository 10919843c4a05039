"""`scaling oracle`: the whole lab on worlds whose law is known, and what it found beside the truth."""

import json
from pathlib import Path

from launch.options import console
from launch.oracle_worlds import read_arms
from scaling.config import RunConfig
from scaling.workspace import Workspace


def oracle(arguments: list[str]) -> None:
    """Plan, train, and fit worlds with known answers; compare exponents, floor and losses with the truth."""
    from launch.launch_command import launch

    launch(["oracle", *arguments])


def print_oracle(arms: dict[str, list[RunConfig]], workspace: Workspace, *, as_json: bool) -> None:
    """Judge a study of known worlds and print what was found."""
    from analysis.oracle import judged
    from analysis.report.oracle_report import markdown

    found = judged(read_arms(arms, workspace))
    if as_json:
        return print(json.dumps(found))
    console.print(markdown(found), markup=False, highlight=False, soft_wrap=True)


def report_oracle(study: str, arms: dict[str, list[RunConfig]], workspace: Workspace, out: Path | None = None) -> None:
    """Judge a study of known worlds, print what was found, and write it down."""
    from analysis.oracle import judged
    from analysis.report.oracle_report import markdown, write_oracle

    found = judged(read_arms(arms, workspace))
    path = write_oracle(study, found, out or workspace.reports / study)
    console.print(markdown(found), markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {path}", soft_wrap=True, highlight=False)
