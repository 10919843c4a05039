"""The report of a study of mixtures: one HTML file that needs no network, and its parts as files beside it."""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from analysis import figures
from analysis.mixing_study import MixtureStudy
from analysis.report.mixing_text import (
    best_rows,
    error_rows,
    larger_rows,
    law_rows,
    mixing_answers,
    mixing_json,
    run_rows,
    summarise_mixing,
)
from analysis.report.page import cards, facts, notes, page, paragraph, section, table_html
from analysis.report.pictures import Picture
from analysis.report.report import figure_blocks
from analysis.tables.table import Manifest, column, write_csv
from analysis.words import bracket, percent, plural
from scaling.disk import write_atomic

ABOUT = {"git_commit": "Commit", "git_dirty": "Uncommitted changes", "device_kind": "Device", "packages": "Packages"}
LAW = "L_i = c_i + k_i exp(sum_j t_ij r_j)"


def write_mixing(manifest: Manifest, found: MixtureStudy, folder: Path) -> Path:
    """Write report.html, figures as PNG, SVG and PDF, fit.json and table.csv into `folder`; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "fit.json", json.dumps(mixing_json(found), indent=1, allow_nan=False) + "\n")
    write_csv(found.selection.table, folder / "table.csv")
    shown = figure_blocks(mixing_pictures(found), folder)
    body = "\n".join(
        [
            _head(manifest, found),
            notes("Read with care", [(doubt.name, doubt.text) for doubt in found.warnings]),
            section("The best mixture", shown.get("triangle", "") + table_html(*best_rows(found))),
            _larger(found, shown.get("sizes", "")),
            _law(found, shown["predicted"]),
            _runs(found),
            _published(manifest),
            _left_out(found),
            _provenance(found),
        ]
    )
    path = folder / "report.html"
    write_atomic(path, page(title=f"{manifest.name}: the best mixture", body=body))
    return path


def mixing_pictures(found: MixtureStudy) -> Iterator[Picture]:
    """Every figure that the study allows."""
    mixing, parts = found.mixing, found.asked.parts
    means = mixing.mean(mixing.measured_nK)
    if len(parts) == 3:
        lowest = np.argmin(means)
        at = ", ".join(f"{share:.2f} {name}" for share, name in zip(mixing.shares_nK[lowest], parts, strict=True))
        yield Picture(
            name="triangle", title="Every mixture of the parts", figure=figures.mixing_triangle(found),
            texts={"runs": _run_texts(found)},
            caption="Each corner is one part alone, each grey line a fifth of a share. Colour is the mean held-out "
            "loss by the law; a dot is a proxy in the colour of the loss that it measured, so a dot that is seen is "
            "one that the law misses. Nothing is drawn where no proxy went.",
            alt=f"Mean losses from {means.min():.4f} to {means.max():.4f}; the proxy with the lowest read {at}.",
        )  # fmt: skip
    errors = mixing.left_out_error()
    yield Picture(
        name="predicted", title="Predicted against measured", figure=figures.mixing_predicted(found),
        texts={f"part{k}": _run_texts(found) for k in range(len(parts))},
        caption="Each point is a proxy's loss on one part, against the law fitted without the proxies on its mixture.",
        alt="; ".join(f"{name}: error {percent(error)}" for name, error in zip(parts, errors, strict=False)) + ".",
    )  # fmt: skip
    if found.larger is not None:
        rows = larger_rows(found)[1]
        yield Picture(
            name="sizes", title="Larger runs against the proxies' law", figure=figures.mixing_sizes(found),
            texts={"larger": _larger_texts(found)},
            caption="Each point is a mixture that the larger model read. Its loss is lower throughout; what proxies "
            "can foretell is the order.",
            alt=f"{plural(len(rows), 'mixture')}, the lowest loss {found.larger.loss_m.min():.4f}.",
        )  # fmt: skip


def _head(manifest: Manifest, found: MixtureStudy) -> str:
    asked = found.asked
    shares = [
        (f"share of {name}", f"{weight:.2f}", bracket(*ends, ".2f"))
        for name, weight, ends in zip(asked.parts, asked.weights, found.best_K2, strict=True)
    ] if asked.weights else []  # fmt: skip
    if found.rank_proxy:
        rank = found.rank_proxy
        shares.append(("rank correlation", f"{rank.value:.2f}", bracket(rank.low, rank.high, ".2f")))
    note = paragraph("Brackets hold 95% intervals; losses are nats per token.", "muted") if shares else ""
    said = "".join(paragraph(text, "answer") for text in mixing_answers(found))
    return (
        f"<header><p class='eyebrow'>Study {escape(manifest.name)}</p>"
        f"<h1>{escape(manifest.question or manifest.name)}</h1>{said}{cards(shares)}{note}</header>"
    )


def _larger(found: MixtureStudy, figure: str) -> str:
    head, rows = larger_rows(found)
    if not rows:
        return ""
    said = "The larger model on the predicted best and on mixtures of the proxies, the lowest loss first."
    if found.seed_noise:
        said += f" Proxies that differ by their seed alone differ by {percent(found.seed_noise)} "
        said += f"({plural(found.seed_freedom, 'degree')} of freedom)."
    return section("At the larger size", paragraph(said, "muted") + table_html(head, rows) + figure)


def _law(found: MixtureStudy, figure: str) -> str:
    last = found.asked.parts[-1]
    said = (
        f"For each part i a law of its held-out loss, over the shares r_j of all. As shares sum to one, t of {last} is "
        f"0: c + k is the loss of a run on {last} alone, and a negative t says that moving shares to that part from "
        f"{last} helps. Intervals: {len(found.mixing.draws_RKP)} refits with residuals drawn anew."
    )
    errors = paragraph(
        "Errors are root mean squares. Left out: each mixture in turn, with all proxies on it. Without a law: whoever "
        "says the mean of the others.", "muted",
    )  # fmt: skip
    body = f"<p class='formula'>{escape(LAW)}</p>" + paragraph(said, "muted") + table_html(*law_rows(found))
    return section("The law", body + "<h3>How far it is off</h3>" + errors + table_html(*error_rows(found)) + figure)


def _runs(found: MixtureStudy) -> str:
    head, rows = run_rows(found)
    table = table_html(head, rows)
    return section(
        "The proxies", f"<details class='brief'><summary>{plural(len(rows), 'run')}</summary>{table}</details>"
    )


def _published(manifest: Manifest) -> str:
    rows = [("Published", manifest.published), ("Can show", manifest.shows), ("Cannot show", manifest.cannot_show)]
    return section("Beside the published result", facts([(key, text) for key, text in rows if text]))


def _left_out(found: MixtureStudy) -> str:
    rows = [[item.run_id, item.reason] for item in found.left_out]
    return section("What was left out", table_html(["run", "why"], rows) if rows else "<p>Nothing was left out.</p>")


def _provenance(found: MixtureStudy) -> str:
    table, rows = found.selection.table, []
    for name, label in ABOUT.items():
        if name in table.column_names:
            rows.append((label, ", ".join(sorted({str(v) for v in table[name].to_pylist() if v})) or "none"))
    if "device_seconds" in table.column_names:
        rows.append(("Cost of these runs", f"{np.nansum(column(table, 'device_seconds')):,.0f} device seconds"))
    text = f"<summary>The result as plain text</summary><pre>{escape(summarise_mixing(found))}</pre>"
    return section("Provenance", f"{facts(rows)}<details class='brief'>{text}</details>")


def _run_texts(found: MixtureStudy) -> list[str]:
    mixing = found.mixing
    return [
        _text(found, shares) + f"; mean loss {loss:.4f}, by the law without it {without:.4f}"
        for shares, loss, without in zip(
            mixing.shares_nK, mixing.mean(mixing.measured_nK), mixing.mean(mixing.left_out_nK), strict=True
        )
    ]


def _larger_texts(found: MixtureStudy) -> list[str]:
    larger = found.larger
    return [
        _text(found, shares) + f"; loss {loss:.4f}, law of the proxies {law:.4f}"
        for shares, loss, law in zip(larger.shares_mK, larger.loss_m, larger.law_m, strict=True)
    ]


def _text(found: MixtureStudy, shares: np.ndarray) -> str:
    return ", ".join(f"{share:.2f} {name}" for share, name in zip(shares, found.asked.parts, strict=True))
