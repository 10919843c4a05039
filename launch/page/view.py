"""The runs of a study as HTML: how many stand where, those under way, and all of them."""

from collections.abc import Callable, Sequence
from html import escape

from analysis.live.findings import NEEDED
from analysis.report.page import cards, notes, paragraph, section
from analysis.tables.table import Manifest
from analysis.words import compact, flops, number, plural, short
from launch.page.runs import RunState

ORDER = ("finished", "training", "interrupted", "waiting", "diverged", "stopped", "failed", "unreadable")
WRONG = ("diverged", "stopped", "failed", "unreadable")
MOST_TOLD = 8  # runs whose messages are shown
LONGEST = 3000  # characters of a message that are shown
UNKNOWN = "-"


def head(manifest: Manifest, states: Sequence[RunState]) -> str:
    """The question, how far the study is, and what that allows to say."""
    said = paragraph(f"{_counted(states)} {_enough(manifest, states)}".strip(), "answer")
    return (
        f"<header><p class='eyebrow'>Study {escape(manifest.name)}</p>"
        f"<h1>{escape(manifest.question or manifest.name)}</h1>{said}{cards(_numbers(states))}</header>"
    )


def now(states: Sequence[RunState]) -> str:
    """The runs that are being trained, and what went wrong with others."""
    active = [state for state in states if state.state in ("training", "interrupted")]
    quiet = "" if active else paragraph("No run is being trained.", "muted")
    table = _table(active, ("run", "arm", "state", "progress", "loss", "tokens/s", "to go", "N", "D")) if active else ""
    wrong = [
        (f"{state.run_id} {state.state}", state.message[:LONGEST] or "its record gives no reason")
        for state in states if state.state in WRONG or (state.state == "interrupted" and state.message)
    ]  # fmt: skip
    if len(wrong) > MOST_TOLD:
        wrong[MOST_TOLD:] = [("and more", f"{plural(len(wrong) - MOST_TOLD, 'other run')}, listed at the end")]
    return section("Under way", quiet + table) + notes("Went wrong", wrong)


def everything(states: Sequence[RunState]) -> str:
    """Every run, by its state, folded away."""
    shown = [
        _folded("finished", [state for state in states if state.state == "finished"], "loss, held-out"),
        _folded("waiting", [state for state in states if state.state == "waiting"], ""),
    ]
    if wrong := [state for state in states if state.state in WRONG]:
        shown.append(_folded("diverged, stopped, failed or unreadable", wrong, "loss"))
    return section("Runs", "".join(shown))


def text_of(state: RunState) -> str:
    """What a figure says over a run."""
    lines = [f"{state.run_id}{f', {state.arm}' if state.arm else ''}: {state.state}"]
    lines.append(f"N {short(state.params)}, D {short(state.tokens)}, {state.share:.0%} done")
    if state.loss is not None:
        held = "held-out" if state.state == "finished" and state.role == "cell" else "training"
        lines.append(f"{held} loss {state.loss:.4f}")
    return "\n".join(lines)


def _points(states: Sequence[RunState]) -> list[RunState]:
    """The runs that a law is fitted to."""
    return [state for state in states if state.role != "trunk"]


def _finished(states: Sequence[RunState]) -> int:
    return sum(state.state == "finished" for state in states)


def _counted(states: Sequence[RunState]) -> str:
    points = _points(states)
    others = {name: sum(state.state == name for state in points) for name in ORDER if name != "finished"}
    more = ", ".join(f"{count} {name}" for name, count in others.items() if count)
    return f"{_finished(points)} of {plural(len(points), 'run')} finished{f'; {more}' if more else ''}."


def _enough(manifest: Manifest, states: Sequence[RunState]) -> str:
    """What is still missing before a law can be fitted at all."""
    finished = _finished(_points(states))
    if manifest.arms or finished >= NEEDED:
        return ""
    return f"A law needs {NEEDED} finished runs at least, and more to be held by them."


def _numbers(states: Sequence[RunState]) -> list[tuple[str, str, str]]:
    points, trunks = _points(states), [state for state in states if state.role == "trunk"]
    active = [state for state in states if state.state == "training"]
    beside = (
        f"and {_finished(trunks)} of {plural(len(trunks), 'trunk')}"
        if trunks
        else f"{len(points) - _finished(points)} to come"
    )
    speed = sum(state.tokens_per_second or 0 for state in active)
    how_fast = f"{short(speed)} tokens a second" if speed else "speed not known yet" if active else "nobody holds a run"
    return [
        ("runs finished", f"{_finished(points)} of {len(points)}", beside),
        ("being trained, trunks too", str(len(active)), how_fast),
        _spent(states),
        _to_go(states, active),
    ]


def _spent(states: Sequence[RunState]) -> tuple[str, str, str]:
    """Compute done, of all that is planned."""
    label = "planned compute done"
    total, done = sum(state.flops for state in states), sum(state.flops * state.share for state in states)
    return label, f"{done / total:.0%}" if total else UNKNOWN, f"{flops(done)} of {flops(total)} FLOPs"


def _to_go(states: Sequence[RunState], active: Sequence[RunState]) -> tuple[str, str, str]:
    """All that is not done over what is done each second now."""
    label = "to go, at the present rate"
    rate = sum(state.flops / state.own_tokens * (state.tokens_per_second or 0) for state in active if state.own_tokens)
    left = [state for state in states if state.state not in ("finished", *WRONG)]
    if not left:
        return label, "0", "nothing is left to train"
    if not rate:
        return label, UNKNOWN, "no run is being trained" if not active else "not known yet"
    return label, clock(sum(state.flops * (1 - state.share) for state in left) / rate), "if larger runs keep the rate"


def _folded(name: str, states: Sequence[RunState], loss: str) -> str:
    columns = ("run", "role", "arm", "N", "D", "state", *(("loss", "tokens/s") if loss else ()))
    table = _table(states, columns, {"loss": loss}) if states else ""
    return f"<details><summary>{plural(len(states), 'run')} {escape(name)}</summary>{table}</details>"


CELLS: dict[str, tuple[bool, Callable[[RunState], str]]] = {  # whether a number; the cell's HTML
    "run": (False, lambda state: f"<code>{escape(state.run_id)}</code>"),
    "role": (False, lambda state: escape(state.role)),
    "arm": (False, lambda state: escape(state.arm)),
    "N": (True, lambda state: compact(state.params)),
    "D": (True, lambda state: compact(state.tokens)),
    "state": (False, lambda state: f"<span class='state {state.state}'>{state.state}</span>{_attempt(state)}"),
    "progress": (True, lambda state: f"<progress max='1' value='{state.share:.4f}'></progress> {state.share:.0%}"),
    "loss": (True, lambda state: UNKNOWN if state.loss is None else number(state.loss, ".4f")),
    "tokens/s": (True, lambda state: f"{state.tokens_per_second:,.0f}" if state.tokens_per_second else UNKNOWN),
    "to go": (True, lambda state: UNKNOWN if state.seconds_left is None else clock(state.seconds_left)),
}


def _attempt(state: RunState) -> str:
    return f" <small>attempt {state.attempts}</small>" if state.attempts > 1 else ""


def _table(states: Sequence[RunState], columns: Sequence[str], labels: dict[str, str] | None = None) -> str:
    """A row a run; without the columns of arms and roles where all are alike."""
    alike = {name for name in ("arm", "role") if len({getattr(state, name) for state in states}) == 1}
    shown = [name for name in columns if name not in alike]
    kind = {name: " class=number" if CELLS[name][0] else "" for name in shown}
    labels = labels or {}
    line = "".join(f"<th{kind[name]}>{escape(labels.get(name, name))}</th>" for name in shown)
    body = "".join(
        "<tr>" + "".join(f"<td{kind[name]}>{CELLS[name][1](state)}</td>" for name in shown) + "</tr>"
        for state in states
    )
    return f"<div class='scroll'><table><thead><tr>{line}</tr></thead><tbody>{body}</tbody></table></div>"


def clock(seconds: float) -> str:
    """0:42, 1:05:00, 3 d 4 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
