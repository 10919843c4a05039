"""The page on a cleaned corpus: one HTML file that needs no network. All text of documents is escaped."""

from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.palette import ACCENT, MUTED, SECOND
from analysis.figures.save import svg
from analysis.figures.style import WIDE, new, styled
from analysis.figures.svg import inline
from analysis.report.page import cards, facts, figure_block, page, paragraph, section, table_html
from scaling.data.cleaning.account import Account, StepAccount, read_account
from scaling.data.cleaning.survey import Survey, survey
from scaling.data.cleaning.tally import Group, Sizes, Tally


def write_page(path: Path, folder: Path) -> None:
    """The page of the cleaned documents in `folder`, beside whose own folder those of the source lie."""
    account = read_account(folder)
    before, after = survey(folder.parent / "documents"), survey(folder / "documents")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(folder.parent.name, account, before, after), encoding="utf-8")


def _page(name: str, account: Account, before: Survey, after: Survey) -> str:
    parts = [
        f"<p class='eyebrow'>{escape(name)}</p><h1>What cleaning left, and what it took away</h1>",
        _summary(account),
        section("Step by step", _steps_table(account) + _figure("Text left", LEFT, left_figure(account), "left")),
        *(_step_section(number, step) for number, step in enumerate(account.steps, start=1)),
        section("Lengths", _figure("Lengths of documents", LONG, lengths_figure(account), "lengths")),
        section("Languages", _languages(before, after)),
        section("Commonest phrases", _phrases(before, after)),
    ]
    return page(title=f"Cleaning of {name}", body="".join(parts))


LEFT = "Megabytes of UTF-8 text before the first step and after each."
LONG = "Documents by their bytes, before the first step and after the last; a bar spans a factor of √2."


def _summary(account: Account) -> str:
    before, after = account.before.total, account.after.total
    masked = sum(sum(step.tally.counts.values()) for step in account.steps if step.config["kind"] == "private_data")
    documents, text = _percent(after.documents, before.documents), _percent(after.bytes, before.bytes)
    return cards(
        [
            ("Documents left", f"{after.documents:,}", f"of {before.documents:,} ({documents}%)"),
            ("Text left", _mb(after.bytes), f"of {_mb(before.bytes)} ({text}%)"),
            ("Duplicates dropped", f"{_duplicates(account):,}", "documents, by all steps that compare them"),
            ("Private data masked", f"{masked:,}", "places; counted, never shown"),
        ]
    )  # fmt: skip


def _duplicates(account: Account) -> int:
    steps = [step.tally for step in account.steps if "duplicate" in step.config["kind"]]
    return sum(group.documents for tally in steps for group in tally.dropped.values())


def _steps_table(account: Account) -> str:
    rows = []
    for number, step in enumerate(account.steps, start=1):
        tally = step.tally
        dropped, changed = _documents(tally.dropped), _documents(tally.changed)
        lost = tally.given.bytes - tally.kept.bytes
        counts = (f"{count:,}" for count in (tally.given.documents, dropped, changed))
        rows.append([f"{number} {step.config['kind']}", *counts, _mb_number(lost), _percent(lost, tally.given.bytes)])
    head = ["Step", "Documents given", "Dropped", "Changed", "MB lost", "% of text lost"]
    return table_html(head, rows)


def _step_section(number: int, step: StepAccount) -> str:
    tally, kind = step.tally, step.config["kind"]
    options = [(name, str(value)) for name, value in step.config.items() if name != "kind"]
    content = facts(options) if options else ""
    for title, groups in (("Dropped", tally.dropped), ("Changed", tally.changed)):
        rows = [[reason, f"{group.documents:,}", _mb_number(group.lost_bytes)] for reason, group in _largest(groups)]
        content += f"<h3>{title}</h3>" + table_html(["Reason", "Documents", "MB lost"], rows) if rows else ""
    if tally.counts:
        rows = [[name, f"{count:,}"] for name, count in sorted(tally.counts.items(), key=lambda item: -item[1])[:20]]
        content += "<h3>Found</h3>" + table_html(["What", "How often"], rows)
    if not tally.dropped and not tally.changed:
        content += paragraph("Nothing was dropped or changed.")
    return section(f"{number}. {kind}", content + _examples(tally))


def _examples(tally: Tally) -> str:
    shown = ""
    for title, groups in (("dropped", tally.dropped), ("changed", tally.changed)):
        for reason, group in _largest(groups):
            shown += _details(f"Examples {title}: {reason}", group.examples)
    return shown + (_details("Examples left as they were", tally.unchanged) if tally.unchanged else "")


def _details(title: str, examples: list[dict[str, str]]) -> str:
    blocks = ""
    for example in examples:
        after = f"<p class='muted'>became</p><pre>{escape(example['after'])}</pre>" if example["after"] else ""
        blocks += f"<p class='muted'>{escape(example['name'])}</p><pre>{escape(example['before'])}</pre>{after}"
    return f"<details><summary>{escape(title)}</summary>{blocks}</details>"


def _languages(before: Survey, after: Survey) -> str:
    if before.languages is None or after.languages is None:
        return paragraph("The package py3langid, which tells languages, is not installed.")
    rows = [
        [code, _percent(count, before.documents), _percent(after.languages.get(code, 0), after.documents)]
        for code, count in before.languages.items()
    ]
    said = f"Of {before.documents:,} documents drawn before cleaning and {after.documents:,} after it, by py3langid."
    return paragraph(said, "muted") + table_html(["Language", "% before", "% after"], rows)


def _phrases(before: Survey, after: Survey) -> str:
    content = paragraph("In the documents drawn; words are what stands between white space.", "muted")
    for words in before.phrases:
        tables = ""
        for when, found in (("before", before.phrases[words]), ("after", after.phrases[words])):
            rows = [[phrase, f"{count:,}"] for phrase, count in found]
            tables += (
                f"<div>{table_html([f'{words} words, {when}' if words > 1 else f'Word, {when}', 'Times'], rows)}</div>"
            )
        content += f"<div class='pair'>{tables}</div>"
    return content


@styled
def left_figure(account: Account) -> Figure:
    """Text before the first step and after each, as bars."""
    figure, axes = new((WIDE[0], 0.9 + 0.38 * (len(account.steps) + 1)))
    names = ["given", *(f"{number} {step.config['kind']}" for number, step in enumerate(account.steps, start=1))]
    left = [account.before.total.bytes, *(step.tally.kept.bytes for step in account.steps)]
    axes.barh(names, [size / 1e6 for size in left], color=[MUTED, *[ACCENT] * len(account.steps)], height=0.7)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("megabytes of text")
    return figure


@styled
def lengths_figure(account: Account) -> Figure:
    """Documents by length before and after."""
    figure, axes = new(WIDE)
    for sizes, colour, label in ((account.before, MUTED, "before"), (account.after, SECOND, "after")):
        halves, counts = _bars(sizes)
        if len(halves):
            edges = 2.0 ** (np.append(halves, halves[-1] + 1) / 2)
            axes.stairs(
                counts, edges, color=colour, label=label, fill=colour == MUTED, alpha=0.5 if colour == MUTED else 1
            )
    axes.set_xscale("log")
    axes.set_xlabel("bytes of a document")
    axes.set_ylabel("documents")
    axes.legend()
    return figure


def _bars(sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """Half powers of two without a gap, and the documents in each; empty documents have no length to show."""
    found = {int(half): count for half, count in sizes.by_half.items() if half}
    if not found:
        return np.zeros(0), np.zeros(0)
    halves = np.arange(min(found), max(found) + 1)
    return halves, np.array([found.get(int(half), 0) for half in halves])


def _figure(title: str, caption: str, figure: Figure, name: str) -> str:
    return figure_block(title, caption, inline(svg(figure), name, caption, {}))


def _largest(groups: dict[str, Group]) -> list[tuple[str, Group]]:
    return sorted(groups.items(), key=lambda item: (-item[1].documents, item[0]))


def _documents(groups: dict[str, Group]) -> int:
    return sum(group.documents for group in groups.values())


def _mb(size: int) -> str:
    return f"{_mb_number(size)} MB"


def _mb_number(size: int) -> str:
    return f"{size / 1e6:,.1f}" if size >= 1e5 else f"{size / 1e6:.3g}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"
