"""Every published data set fitted by its published procedure, and each number beside the published one.

The tables lie in a folder of their own and are read from there; nothing of them
is kept here but the numbers to compare with.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from analysis.published import curves, epoch, gadre, gemstones, llama3, loss_to_loss, porian, steplaw
from analysis.published.check import DOCUMENTED, MET, MISSED, Check
from analysis.words import plural

Checks = tuple[Check, ...]

# Two are under way at a time: the longest first, and no two neighbours that would compile the same programs.
DATASETS: dict[str, Callable[[Path], Checks]] = {
    epoch.NAME: epoch.checks,
    steplaw.NAME: steplaw.checks,
    gemstones.NAME: gemstones.checks,
    loss_to_loss.NAME: loss_to_loss.checks,
    llama3.NAME: llama3.checks,
    gadre.NAME: gadre.checks,
    curves.CEREBRAS: curves.cerebras,
    curves.NMT: curves.nmt,
    porian.CURVES: porian.checks,
}
AT_ONCE = 2

ABOUT = {
    epoch.NAME: "E + A / N^alpha + B / D^beta on 245 points of Chinchilla's Fig. 4 (Besiroglu et al. 2024, "
    "arXiv:2404.10102), with its standard errors and what follows from it.",
    gemstones.NAME: "The same form, and one with width and depth, on checkpoints of many shapes (McLeish et al. 2025, "
    "arXiv:2502.06857). Every published fit is evaluated; those of two terms are fitted again. Its approach 1 needs "
    "training curves that are not in the table.",
    loss_to_loss.NAME: "Chinchilla's form and Kaplan's with an offset on six corpora (Brandfonbrener et al. 2024, "
    "arXiv:2411.12925).",
    steplaw.NAME: "Learning rate and batch as products of powers (Li et al. 2025, arXiv:2503.04715).",
    llama3.NAME: "Approach 2 and approach 3 on the same digitised points (Grattafiori et al. 2024, arXiv:2407.21783; "
    "arXiv:2603.22339).",
    gadre.NAME: "Over-training and task error from five and six points (Gadre et al. 2024, arXiv:2403.08540).",
    curves.CEREBRAS: "Loss against compute with an offset (Dey et al. 2023, arXiv:2304.03208).",
    curves.NMT: "M1 and M2 on five curves, scored at the largest size (Alabdulmohsin et al. 2022, arXiv:2209.06640).",
    porian.CURVES: "IsoFLOP optima by interpolation, and the line through them (Porian et al. 2024, arXiv:2406.19146).",
}  # fmt: skip
UNKNOWN = "no reason is known"
HEADER = ("fit", "quantity", "target", "ours", "difference", "in standard errors", "tolerance", "verdict")


def run(folder: Path, only: str | None = None) -> Checks:
    """All checks of all data sets, or of the one named `only`. ValueError for a name or folder that is not there."""
    if only is not None and only not in DATASETS:
        raise ValueError(f"no published data set {only!r}; there are {', '.join(DATASETS)}")
    if not folder.is_dir():
        raise ValueError(f"the folder of published tables {folder} is not there; give it with --folder")
    chosen = [check for name, check in DATASETS.items() if only in (None, name)]
    # Most of the time is compilation, which two threads share out.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = list(pool.map(lambda check: check(folder), chosen))
    return tuple(check for part in parts for check in part)


def tables(checks: Checks) -> dict[str, Checks]:
    """The checks of each data set, in the order of `DATASETS`; stages of one data set stand together."""
    home = {name: name for name in DATASETS} | {porian.NAME: porian.CURVES}
    return {
        name: mine for name in DATASETS if (mine := tuple(check for check in checks if home[check.dataset] == name))
    }


def text(checks: Checks) -> str:
    """For a terminal: a summary of each data set, and every check that is not met, by reason."""
    lines = []
    for name, mine in tables(checks).items():
        lines.append(f"{name}: {_counts(mine)}")
        for reason, those in _by_reason(mine).items():
            lines += [f"  {those[0].verdict}: {reason}", *(f"    {_line(check)}" for check in those)]
    return "\n".join([*lines, "", f"all: {_counts(checks)}"])


def _line(check: Check) -> str:
    errors = "" if check.in_errors is None else f", {check.in_errors:+.2f} published standard errors"
    return f"{check.what}: target {_number(check.target)}, ours {_number(check.ours)}{errors}"


def _counts(checks: Checks) -> str:
    verdicts = Counter(check.verdict for check in checks)
    known = {MET: "met", DOCUMENTED: "not reproducible as documented", MISSED: "missed"}
    said = ", ".join(f"{verdicts[verdict]} {words}" for verdict, words in known.items() if verdicts[verdict])
    return f"{plural(len(checks), 'check')}, {said}"


def markdown(checks: Checks) -> str:
    """The page of the last run."""
    parts = tables(checks)
    lines = [
        "# Published fits, repeated",
        "",
        "Written by `scaling published`: do not edit. Each data set is read as it was released and fitted by its",
        "published procedure, with the functions that fit your runs. A check sets one number beside the published one.",
        "*Met* means within the tolerance; of an objective, not above the published one. Standard errors are published",
        "ones. Targets that are known not to follow from the released data stay in the tables: their verdict is",
        "*not reproducible as documented*, and the reason stands below.",
        "",
        "| data set | checks | met | not reproducible as documented | missed |",
        "|---|---|---|---|---|",
    ]
    for name, mine in (*parts.items(), ("all", checks)):
        verdicts = Counter(check.verdict for check in mine)
        lines.append(f"| {name} | {len(mine)} | {verdicts[MET]} | {verdicts[DOCUMENTED]} | {verdicts[MISSED]} |")
    for name, mine in parts.items():
        lines += ["", f"## {name}", "", ABOUT[name], "", _row(HEADER), _row(["---"] * len(HEADER))]
        lines += [_row(_cells(check)) for check in mine]
        for reason, those in _by_reason(mine).items():
            lines += ["", f"**{those[0].verdict.capitalize()}** ({plural(len(those), 'check')}): {reason}."]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(check: Check) -> tuple[str, ...]:
    errors = "" if check.in_errors is None else f"{check.in_errors:+.2f}"
    bound = "at most " if check.at_most else ""
    verdict = check.verdict if check.verdict == MET else f"**{check.verdict}**"
    return (
        check.fit, check.quantity, f"{bound}{_number(check.target)}", _number(check.ours), f"{check.difference:+.2g}",
        errors, f"{check.tolerance:.2g}", verdict,
    )  # fmt: skip


def _by_reason(checks: Checks) -> dict[str, list[Check]]:
    """The checks that are not met."""
    reasons: dict[str, list[Check]] = {}
    for check in checks:
        if check.verdict != MET:
            reasons.setdefault(check.reason or UNKNOWN, []).append(check)
    return reasons


def _number(value: float) -> str:
    return f"{value:.7g}"
