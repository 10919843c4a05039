"""What fits to worlds with known laws found beside the truth: Markdown, and a page."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis import figures
from analysis.report.page import cards, page, paragraph, section, table_html
from analysis.report.pictures import Picture
from analysis.report.report import figure_blocks
from scaling.disk import write_atomic

WAYS = {"plain": "all runs alike, Huber's loss", "noise_known": "by their noise, least squares"}
RECOVERED = ("", "truth", "mean of fits", "bias (its error)", "spread", "95% intervals that hold it")
EXPONENTS = ("exponent", "exponent of size", "exponent of tokens", "exponent of the best size")


def markdown(found: dict[str, Any]) -> str:
    """found: as `analysis.oracle.judged` gives it."""
    lines = [_said(found), "", *_table(*_loss_rows(found))]
    for way in WAYS:
        lines += ["", _fitted(found, way), "", *_table(list(RECOVERED), _recovered_rows(found[way]))]
    if "range" in found:
        lines += ["", *_table(*_range_rows(found))]
    return "\n".join(lines) + "\n"


def write_oracle(study: str, found: dict[str, Any], folder: Path) -> Path:
    """Write report.html, figures as PNG, SVG and PDF, oracle.md and oracle.json; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "oracle.json", json.dumps(found, indent=1))
    write_atomic(folder / "oracle.md", markdown(found))
    path = folder / "report.html"
    write_atomic(path, _page(study, found, figure_blocks(oracle_pictures(found), folder)))
    return path


def oracle_pictures(found: dict[str, Any]) -> list[Picture]:
    """Losses, and the exponent of most interest, beside the truth."""
    exponent = EXPONENTS[-1] if found["sizes"] else EXPONENTS[0]
    return [
        Picture(
            name="losses", title="Losses beside the expected", figure=figures.oracle_losses(found),
            caption="Each point is the mean of all worlds, with its 95% interval, which is often smaller than the "
            "point; the line is what is expected of a table in such a world, computed.",
            alt=_order(found),
        ),
        Picture(
            name="exponents", title=f"The {exponent} of each world",
            figure=figures.oracle_exponents(found, exponent, WAYS),
            caption="Each point is what was fitted to one world's runs, with its 95% bootstrap interval; the line is "
            "the truth. Of twenty intervals one should miss it.",
            alt="; ".join(f"{title}: {_held(found[way][exponent])}" for way, title in WAYS.items()) + ".",
        ),
    ]  # fmt: skip


def _held(row: dict[str, Any]) -> str:
    return f"mean {row['mean']:.3f} for {row['truth']:.3f}, {row['coverage']['bootstrap'][0]:.0%} of intervals hold it"


def _page(study: str, found: dict[str, Any], shown: dict[str, str]) -> str:
    """The same as one HTML file. shown: figures by name."""
    numbers = [
        (name, f"{row['mean']:.3f}", f"true {row['truth']:.3f}; bootstrap holds {row['coverage']['bootstrap'][0]:.0%}")
        for name, row in found["plain"].items() if name in (*EXPONENTS, "floor of the held-out text")
    ]  # fmt: skip
    head = f"<header><p class='eyebrow'>Study {study}</p><h1>Does the lab find a law that is known exactly?</h1>"
    body = head + paragraph(_said(found), "answer") + paragraph(_order(found), "answer") + cards(numbers) + "</header>"
    body += section("Figures", "".join(shown.values()))
    body += section("Losses beside the expected", table_html(*_loss_rows(found)))
    for way, title in WAYS.items():
        said = paragraph(_fitted(found, way), "muted")
        body += section(f"Fitted {title}", said + table_html(RECOVERED, _recovered_rows(found[way])))
    if "range" in found:
        body += section("What the finite range does", table_html(*_range_rows(found)))
    return page(title=f"{study}: fits beside the truth", body=body)


def _said(found: dict[str, Any]) -> str:
    said = f"{found['arms']} worlds. True exponent {found['beta']:.4f}"
    if found["sizes"]:
        best = 1 / (2 + found["alpha"])
        said += f" of tokens, {found['alpha']:.4f} of size, {best:.4f} of the best size"
    return f"{said}, true floor {found['floor']:.4f} nats a token."


def _order(found: dict[str, Any]) -> str:
    """How far measured losses lie off the expected, in their standard errors."""
    off = np.array([(row["measured"] - row["expected"]) / row["se"] for row in found["losses"]])
    return (
        f"Of {len(off)} mean losses {int((np.abs(off) < 2).sum())} lie within two standard errors of the expected, "
        f"the furthest {np.abs(off).max():.1f}."
    )


def _fitted(found: dict[str, Any], way: str) -> str:
    failed = found[way]["not_converged"]
    return (
        f"{found['law']} fitted to the runs of each world, {WAYS[way]}; {failed} fits did not end at an optimum "
        "inside the bounds:"
    )


def _loss_rows(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    sizes = ["contexts"] * bool(found["sizes"])
    head = [*sizes, "tokens", "expected excess", "measured excess", "its standard error", "off by, in errors"]
    rows = [
        [
            *(f"{row['size']:,.0f}" for _ in sizes), f"{row['tokens']:,.0f}", f"{row['expected']:.5f}",
            f"{row['measured']:.5f}", f"{row['se']:.5f}", f"{(row['measured'] - row['expected']) / row['se']:+.1f}",
        ]
        for row in found["losses"]
    ]  # fmt: skip
    return head, rows


def _range_rows(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    head = ["fitted from tokens", "exponent of the expected losses", "floor"]
    return head, [[f"{r['from_tokens']:,.0f}", f"{r['exponent']:.4f}", f"{r['floor']:.4f}"] for r in found["range"]]


def _recovered_rows(way: dict[str, Any]) -> list[list[str]]:
    return [_row(name, row) for name, row in way.items() if name != "not_converged"]


def _row(name: str, row: dict[str, Any]) -> list[str]:
    said = ", ".join(f"{m} {s:.0%} ({low:.0%} to {high:.0%})" for m, (s, low, high) in row["coverage"].items())
    bias = f"{row['bias']:+.4f} ({row['bias_se']:.4f})"
    return [name, f"{row['truth']:.4f}", f"{row['mean']:.4f}", bias, f"{row['spread']:.4f}", said]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Numbers to the right; text, as in the first cell of a row or one with words, to the left."""
    columns = zip(*rows, strict=True)
    right = [all(cell[:1] in "+-0123456789" and "%" not in cell for cell in column) for column in columns]
    rule = "|".join("---:" if number else "---" for number in right)
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
