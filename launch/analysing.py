"""What is analysed, and by which law: the options and sources that all commands of the analysis share."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from launch import studies
from scaling.workspace import Workspace

if TYPE_CHECKING:
    from analysis.comparison import Comparison
    from analysis.law import Law
    from analysis.mixing_study import MixtureStudy
    from analysis.tables.table import Manifest
    from scaling.config import RunConfig

Pairs = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    root: Path = Path()
    """Folder that holds runs/, studies/ and reports/."""
    law: str = "chinchilla"
    """What is fitted; `scaling laws` lists them."""
    column: Pairs = ()
    """A column that the table calls otherwise, as OURS=THEIRS, such as params=n_params; may be repeated."""
    where: Pairs = ()
    """Only rows with this value, as COLUMN=VALUE, such as corpus=web; may be repeated."""
    drop_incomplete: bool = False
    """Leave out rows with missing or infinite cells, and list them; otherwise they are an error."""
    trust_flops: bool = False
    """Accept FLOPs that are further than a factor 3 from 6 N D."""
    forecast_flops: float | None = None
    """Budget to speak about; default: the study's, or ten times the largest run."""
    bootstrap_seed: int = 0
    """Of the resampling behind the intervals."""
    json: bool = False
    """Print one JSON object, at full precision."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(root=self.root)

    def table(self, source: Path) -> Any:
        """The rows that are asked for, columns renamed."""
        import pyarrow.compute as pc

        from analysis.tables.read import frame, missing_column

        table = frame(source, dict(_pair("--column", text) for text in self.column))
        for name, value in (_pair("--where", text) for text in self.where):
            if name not in table.column_names:
                raise ValueError(f"--where {name}={value}: {missing_column(name, table.column_names)}")
            values = table[name]
            kept = table.filter(pc.equal(pc.cast(values, "string"), value))
            if not kept.num_rows:
                some = ", ".join(str(item) for item in pc.unique(values).to_pylist()[:8])
                raise ValueError(f"--where {name}={value}: no such row; {name} holds {some}")
            table = kept
        return table


def catalogue() -> dict[str, "Law"]:
    """Every law that needs no settings, by name."""
    from analysis import laws as package
    from analysis.law import Law

    return {name: getattr(package, name) for name in package.__all__ if isinstance(getattr(package, name), Law)}


def find_law(name: str) -> "Law":
    """A law of the catalogue; ValueError names those that look like it."""
    import difflib

    known = catalogue()
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ";"
        raise ValueError(f"no law {name!r}{meant} `scaling laws` lists all {len(known)}")
    return known[name]


def is_surface(law: "Law") -> bool:
    """Whether a law has a frontier: the loss over size and tokens."""
    return set(law.columns) == {"params", "tokens"} and law.target == "loss"


def analyse_source(
    source: str | Path,
    options: FitOptions,
    *,
    forecast_flops: float | None = None,
    thorough: bool = False,
    forms: tuple[str, ...] = (),
) -> tuple[Any, Any]:
    """Fit a study's records, or a table's runs; returns the analysis and the manifest."""
    from analysis.analyse import analyse
    from analysis.tables.table import Manifest, canonical, read_table

    if isinstance(source, Path):
        table, what = canonical(options.table(source), str(source)), Manifest(name=source.stem)
    else:
        table, what = read_table(options.workspace.runs), manifest_of(source, options)
        if what.arms:
            raise ValueError(
                f"study {source!r} compares arms ({', '.join(what.arms)}), and one law over all of them means nothing; "
                f"take one from its report: {options.workspace.reports / source}/table.csv --where arm=NAME"
            )
    found = analyse(
        table, law=find_law(options.law), forecast_flops=forecast_flops or options.forecast_flops,
        manifest=what,
        seed=options.bootstrap_seed, drop_incomplete=options.drop_incomplete, trust_flops=options.trust_flops,
        thorough=thorough, forms=[find_law(name) for name in forms] or None,
    )  # fmt: skip
    return found, what


def manifest_of(study: str, options: FitOptions) -> "Manifest":
    """What a launched study set out to do; ValueError where it was not launched here."""
    from analysis.tables.table import read_manifest

    path = options.workspace.studies / f"{study}.json"
    if not path.exists():
        where = options.workspace.root.absolute()
        raise ValueError(f"study {study!r} has not been launched in {where}: scaling launch {study}")
    return read_manifest(path)


def compares_arms(source: str | Path, options: FitOptions) -> bool:
    """Whether this is a study whose runs are compared as arms."""
    if isinstance(source, Path) or not manifest_of(source, options).arms:
        return False
    if options.law != FitOptions().law:
        raise ValueError(
            f"--law {options.law}: study {source!r} compares arms by power laws of their own; for another law, "
            f"scaling arms {options.workspace.reports / source}/table.csv --by arm --law {options.law}"
        )
    return True


def compare_study(study: str, options: FitOptions) -> tuple["Comparison", "Manifest"]:
    """The arms of a launched study side by side, and its manifest."""
    from analysis.comparison import compare_arms
    from analysis.tables.table import read_table

    what = manifest_of(study, options)
    found = compare_arms(
        read_table(options.workspace.runs), what, seed=options.bootstrap_seed,
        drop_incomplete=options.drop_incomplete, trust_flops=options.trust_flops,
    )  # fmt: skip
    return found, what


def study_of_mixtures(study: str, options: FitOptions) -> tuple["MixtureStudy", "Manifest"]:
    """The mixing law of a launched study, what larger runs say of it, and its manifest."""
    from analysis.mixing_study import study_mixture
    from analysis.tables.table import read_table

    what = manifest_of(study, options)
    return study_mixture(read_table(options.workspace.runs), what, seed=options.bootstrap_seed), what


def asks_mixture(source: str | Path, options: FitOptions) -> bool:
    """Whether this is a study that asks for the best mixture."""
    return not isinstance(source, Path) and manifest_of(source, options).best_mixture is not None


def known_worlds_of(source: str | Path, options: FitOptions) -> "dict[str, list[RunConfig]] | None":
    """The runs of each arm of a study of worlds whose law is known; None for every other source."""
    from scaling.plan_file import plan_path, read_plan

    if isinstance(source, Path):
        return None
    manifest_of(source, options)  # says where there is none
    from launch.oracle_worlds import known_worlds

    return known_worlds(read_plan(plan_path(options.workspace, source)))


def fit_table(source: str | Path, law: "Law", options: FitOptions) -> Any:
    """A law of other columns than size and tokens, fitted to a table."""
    import numpy as np
    import pyarrow as pa

    from analysis.fit import fit as fit_law
    from analysis.tables.read import numbers

    if not isinstance(source, Path):
        raise ValueError(f"--law {options.law} needs a table with columns {', '.join((*law.columns, law.target))}")
    table = options.table(source)
    if options.drop_incomplete:
        needed = [numbers(table, name).reshape(table.num_rows, -1) for name in (*law.columns, law.target)]
        whole = np.isfinite(np.concatenate(needed, axis=1)).all(1)
        if not whole.all():
            print(f"{(~whole).sum()} of {len(whole)} rows are incomplete and left out", file=sys.stderr)
        table = table.filter(pa.array(whole))
    return fit_law(law, table)


def source_of(command: str, options: type, arguments: list[str]) -> tuple[str | Path, Any]:
    """A study's name or a table's path, and the options."""
    first = arguments[0] if arguments else ""
    is_table = Path(first).exists() or _looks_like_a_path(first)
    if first and not first.startswith("-") and is_table and not first.endswith(studies.TOML):
        if not Path(first).exists():
            raise ValueError(f"{first}: no such file or folder; studies are {', '.join(studies.names())}")
        return Path(first), tyro.cli(options, args=arguments[1:], prog=f"scaling {command} TABLE")
    if not first or first.startswith("-"):
        raise ValueError(
            f"which study or table? A study is one of: {', '.join(studies.names())}; "
            "a table is a .csv, .parquet or .jsonl file, or a folder of runs. Then --help shows the options"
        )
    parsed, study = studies.parse(first, options, arguments[1:], prog=f"scaling {command}")
    return study.name, parsed


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or "." in text


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{option} {text}: write NAME=VALUE")
    return name, value
