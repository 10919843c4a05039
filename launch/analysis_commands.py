"""Fit and report what has been trained, here or elsewhere; the catalogue of laws; the published data sets."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from launch.analysing import (
    FitOptions,
    analyse_source,
    asks_mixture,
    catalogue,
    compare_study,
    compares_arms,
    find_law,
    fit_table,
    is_surface,
    known_worlds_of,
    source_of,
    study_of_mixtures,
)
from launch.oracle_command import print_oracle, report_oracle
from scaling.disk import check_can_make, write_atomic

console = Console()


@dataclass(frozen=True, kw_only=True)
class ReportOptions(FitOptions):
    out: Path | None = None
    """Folder to write into; default: reports/<name> below the root."""
    forms: tuple[str, ...] = ()
    """Laws to compare on held-out budgets; default: chinchilla kernel kaplan_offset."""


@dataclass(frozen=True, kw_only=True)
class PublishedOptions:
    folder: Path = Path("../shared/published")
    """Where the published tables lie."""
    only: str | None = None
    """One data set, such as epoch_chinchilla."""
    write: Path | None = None
    """Write the result as Markdown, too."""


def fit(arguments: list[str]) -> None:
    """The law from the records of a study, or from a table of runs trained elsewhere."""
    source, options = source_of("fit", FitOptions, arguments)
    if asks_mixture(source, options):
        return _fit_mixture(str(source), options)
    if (worlds := known_worlds_of(source, options)) is not None:
        return print_oracle(worlds, options.workspace, as_json=options.json)
    if compares_arms(source, options):
        return _fit_arms(str(source), options)
    law = find_law(options.law)
    if not is_surface(law):
        found = fit_table(source, law, options)
        return print(found.to_json() if options.json else found.summary())
    from analysis.report.summary import summarise

    analysis, _ = analyse_source(source, options)
    if options.json:
        from analysis.report.export import to_json

        return print(json.dumps(to_json(analysis)))
    console.print(summarise(analysis), markup=False, highlight=False, soft_wrap=True)


def report(arguments: list[str]) -> None:
    """A page with plots, from the records there are, or from a table."""
    source, options = source_of("report", ReportOptions, arguments)
    write_report_of(source, options, options.out, options.forms)


def laws(arguments: list[str]) -> None:
    """The catalogue of laws; with a name, what that law says."""
    known = catalogue()
    if arguments:
        return print(find_law(arguments[0]).doc)
    width = max(map(len, known))
    for name, law in known.items():
        print(f"{name:<{width}}  {law.formula}   columns: {', '.join((*law.columns, law.target))}")
    print("\nMore are made in Python, with columns of your own: see `help(analysis.laws)`.")


def published(arguments: list[str]) -> None:
    """Fit every published data set by its published procedure, and compare."""
    options = tyro.cli(PublishedOptions, args=arguments, prog="scaling published", description=published.__doc__)
    from analysis.published import suite

    if not options.folder.is_dir():
        raise ValueError(f"--folder {options.folder}: no such folder; give the one that holds epoch_chinchilla.csv")
    checks = suite.run(options.folder, options.only)
    if options.write:
        write_atomic(options.write, suite.markdown(checks))
    console.print(suite.text(checks), markup=False, highlight=False, soft_wrap=True)


def write_report_of(
    source: str | Path, options: FitOptions, out: Path | None = None, forms: tuple[str, ...] = ()
) -> None:
    """Analyse thoroughly, write the report, print the result and where the page is."""
    check_can_make(out or options.workspace.reports)
    if asks_mixture(source, options):
        return _report_mixture(str(source), options, out)
    if (worlds := known_worlds_of(source, options)) is not None:
        return report_oracle(str(source), worlds, options.workspace, out)
    if compares_arms(source, options):
        return _report_arms(str(source), options, out)
    from analysis.report.fit_report import write_fit_report
    from analysis.report.report import write_report
    from analysis.report.summary import summarise

    law = find_law(options.law)
    if not is_surface(law):
        found, name = fit_table(source, law, options), Path(source).stem
        page = write_fit_report(name, found, out or options.workspace.reports / f"{name}-{options.law}")
        said = found.summary()
    else:
        analysis, what = analyse_source(source, options, thorough=True, forms=forms)
        page = write_report(what, analysis, out or options.workspace.reports / what.name)
        said = summarise(analysis)
    _told(said, page)


def _told(said: str, page: Path) -> None:
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    console.print(f"\nreport: {page}", soft_wrap=True, highlight=False)


def _fit_arms(study: str, options: FitOptions) -> None:
    from analysis.report.comparison_text import comparison_json, summarise_comparison

    found, _ = compare_study(study, options)
    if options.json:
        return print(json.dumps(comparison_json(found)))
    console.print(summarise_comparison(found), markup=False, highlight=False, soft_wrap=True)


def _report_arms(study: str, options: FitOptions, out: Path | None) -> None:
    from analysis.report.comparison_report import write_comparison
    from analysis.report.comparison_text import summarise_comparison

    found, what = compare_study(study, options)
    page = write_comparison(what, found, out or options.workspace.reports / study)
    _told(summarise_comparison(found), page)


def _fit_mixture(study: str, options: FitOptions) -> None:
    from analysis.report.mixing_text import mixing_json, summarise_mixing

    found, _ = study_of_mixtures(study, options)
    if options.json:
        return print(json.dumps(mixing_json(found)))
    console.print(summarise_mixing(found), markup=False, highlight=False, soft_wrap=True)


def _report_mixture(study: str, options: FitOptions, out: Path | None) -> None:
    from analysis.report.mixing_report import write_mixing
    from analysis.report.mixing_text import summarise_mixing

    found, what = study_of_mixtures(study, options)
    page = write_mixing(what, found, out or options.workspace.reports / study)
    _told(summarise_mixing(found), page)
