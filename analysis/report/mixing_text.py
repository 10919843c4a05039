"""What a study of mixtures found, as plain lines, as rows for tables, and as plain data."""

from typing import Any

import numpy as np

from analysis.mixing_study import Larger, MixtureStudy
from analysis.report.export import plain
from analysis.tables.table import column
from analysis.words import bracket, compact, interval, number, percent, plural

NONE = "-"


def mixing_answers(found: MixtureStudy) -> list[str]:
    """The result in sentences: the best mixture, whether it is the best at the larger size, what proxies foretell."""
    mixing, larger = found.mixing, found.larger
    runs, size = plural(found.proxies.num_rows, "proxy run"), compact(column(found.proxies, "params")[0])
    runs = f"{runs} of {size} parameters"
    error, spread = mixing.left_out_error()[-1], mixing.spread()[-1]
    law = f"On mixtures left out it errs by {percent(error)} of the mean loss, which varies by {percent(spread)}."
    if not found.asked.weights:
        return [f"The law is fitted to {runs}; the best mixture is not decided yet. {law}"]
    best = ", ".join(
        f"{weight:.2f} {name}" for name, weight in zip(found.asked.parts, found.asked.weights, strict=True)
    )
    said = [f"Predicted as the best mixture from {runs}: {best}. {law}"]
    return said + (_at_larger(found, larger) if larger is not None else [])


def _at_larger(found: MixtureStudy, larger: Larger) -> list[str]:
    size = compact(column(larger.table, "params")[0])
    said = f"At {size} parameters"
    if larger.best is None:
        said += " it is not trained yet."
    else:
        side = "below" if larger.ahead is not None and larger.ahead < 0 else "above"
        beside = "" if larger.ahead is None else f", {percent(abs(larger.ahead))} {side} the best of the others"
        of = f"number {larger.place} of {plural(len(larger.loss_m), 'mixture')}"
        said += f" it comes as {of}: loss {larger.loss_m[larger.best]:.4f}{beside}."
    for what, rank in (("Proxies", found.rank_proxy), ("The law", found.rank_law)):
        if rank:
            said += f" {what} and larger runs order the mixtures with a rank correlation of {interval(rank, '.2f')}."
    return [said]


def law_rows(found: MixtureStudy) -> tuple[list[str], list[list[str]]]:
    """A row a part: the coefficients with their intervals, and how far the law is off."""
    mixing = found.mixing
    names = mixing.fits[0].law.names
    head = ["held-out loss on", *(name.replace("t_share_", "t ") for name in names)]
    rows = [
        [part, *(f"{number(value)} {bracket(*ends[name])}" for name, value in fitted.params.items())]
        for part, fitted, ends in zip(mixing.parts, mixing.fits, mixing.conf_int(), strict=True)
    ]
    return head, rows


def error_rows(found: MixtureStudy) -> tuple[list[str], list[list[str]]]:
    """A row a part and one of the mean: the error on mixtures left out, and without any law."""
    mixing = found.mixing
    inside = [f.residuals for f in mixing.fits]
    fitted = [percent(float(np.sqrt((residual**2).mean()))) for residual in inside] + [NONE]
    head = ["held-out loss on", "error of the fit", "error on mixtures left out", "without a law"]
    names = [*mixing.parts, "their mean"]
    errors = zip(names, fitted, mixing.left_out_error(), mixing.spread(), strict=True)
    return head, [[name, own, percent(error), percent(spread)] for name, own, error, spread in errors]


def best_rows(found: MixtureStudy) -> tuple[list[str], list[list[str]]]:
    """A row a part: its share in the best mixture, the interval, and the limits."""
    asked = found.asked
    if not asked.weights:
        return [], []
    most = asked.most or (1.0,) * len(asked.parts)
    rows = zip(asked.parts, asked.weights, found.best_K2, most, strict=True)
    return ["part", "best share", "95%", "least", "most"], [
        [name, f"{weight:.2f}", bracket(*ends, ".2f"), f"{asked.least:.2f}", f"{limit:.2f}"]
        for name, weight, ends, limit in rows
    ]


def larger_rows(found: MixtureStudy) -> tuple[list[str], list[list[str]]]:
    """A row a mixture at the larger size, the lowest loss first, beside the proxies on it and the law of them."""
    larger, parts = found.larger, found.asked.parts
    if larger is None:
        return [], []
    head = ["place", *parts, "loss", "se, held-out", "law of the proxies", "its place", "proxy", "proxy's place"]
    law, proxy = _places(larger.law_m), _places(larger.proxy_m)
    rows = []
    for place, row in enumerate(larger.order, start=1):
        shares = [f"{share:.2f}" for share in larger.shares_mK[row]]
        mark = f"{place}, predicted best" if row == larger.best else str(place)
        measured = [f"{larger.loss_m[row]:.4f}", f"{larger.loss_se_m[row]:.4f}"]
        small = NONE if np.isnan(larger.proxy_m[row]) else f"{larger.proxy_m[row]:.4f}"
        rows.append([mark, *shares, *measured, f"{larger.law_m[row]:.4f}", law[row], small, proxy[row]])
    return head, rows


def run_rows(found: MixtureStudy) -> tuple[list[str], list[list[str]]]:
    """A row a proxy: its shares, and for each part the loss beside that of a law fitted without its mixture."""
    mixing = found.mixing
    head = [*mixing.parts, *(f"on {name}, measured [left out]" for name in mixing.parts), "mean, measured [left out]"]
    rows = []
    pairs = zip(mixing.measured_nK, mixing.left_out_nK, strict=True)
    for shares, (measured, without) in zip(mixing.shares_nK, pairs, strict=True):
        both = [*zip(measured, without, strict=True)]
        both.append((float(mixing.mean(measured)), float(mixing.mean(without))))
        rows.append([*(f"{share:.2f}" for share in shares), *(f"{m:.4f} [{p:.4f}]" for m, p in both)])
    return head, rows


def summarise_mixing(found: MixtureStudy) -> str:
    """Plain lines for a terminal."""
    lines = mixing_answers(found)
    for head, rows in (law_rows(found), error_rows(found), best_rows(found), larger_rows(found)):
        lines += ["", *_columns([head, *rows])] if rows else []
    if found.seed_noise:
        lines += ["", f"seeds of a proxy differ by {percent(found.seed_noise)}, {_freedom(found)}"]
    if found.left_out:
        lines += ["", *(f"left out: {item.run_id}: {item.reason}" for item in found.left_out)]
    if found.warnings:
        lines += ["", "Warnings", *(f"  {doubt.name}: {doubt.text}" for doubt in found.warnings)]
    return "\n".join(lines)


def mixing_json(found: MixtureStudy) -> dict[str, Any]:
    """Everything a program may want; nothing is rounded."""
    mixing, larger = found.mixing, found.larger
    laws = {
        part: {"params": fitted.params, "intervals": ends, "status": fitted.status.value, "scale": fitted.scale}
        for part, fitted, ends in zip(mixing.parts, mixing.fits, mixing.conf_int(), strict=True)
    }
    measured = larger and {
        "run_id": larger.table["run_id"].to_pylist(), "shares": larger.shares_mK, "loss": larger.loss_m,
        "loss_se": larger.loss_se_m, "law": larger.law_m, "proxy": larger.proxy_m, "best": larger.best,
        "place": larger.place, "ahead": larger.ahead,
    }  # fmt: skip
    return plain(
        {
            "schema": 1,
            "kind": "mixture",
            "parts": mixing.parts,
            "target": mixing.target_K,
            "laws": laws,
            "error_left_out": mixing.left_out_error(),
            "error_without_law": mixing.spread(),
            "best": {"weights": found.asked.weights, "intervals": found.best_K2, "least": found.asked.least,
                     "most": found.asked.most},
            "proxies": {"shares": mixing.shares_nK, "losses": mixing.measured_nK, "left_out": mixing.left_out_nK},
            "larger": measured,
            "rank_correlation": {"proxies": found.rank_proxy, "law": found.rank_law},
            "seed_noise": found.seed_noise,
            "left_out": found.left_out,
            "warnings": found.warnings,
        }
    )  # fmt: skip


def _freedom(found: MixtureStudy) -> str:
    return f"by {plural(found.seed_freedom, 'degree')} of freedom"


def _places(values: np.ndarray) -> list[str]:
    """Each value's place among those that there are, the lowest as 1."""
    there = values[np.isfinite(values)]
    return [NONE if np.isnan(value) else str(1 + int((there < value).sum())) for value in values]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
