"""The HTML of a page: escaped text, plain CSS, figures as SVG. It asks the network for nothing.

It reads and prints without any script; the script only makes the values of a
point appear at once instead of after the browser's own delay.
"""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --muted: #616e7c; --line: #e4e7eb; --accent: #c2410c;
  --soft: #f8f9fa; --paper: white; --note: #fffaf0; --edge: #d9a21b; --good: #0f766e; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.25; margin: 0 0 1rem; letter-spacing: -0.01em; max-width: 46rem; }
h2 { font-size: 1.35rem; margin: 0 0 .5rem; letter-spacing: -0.005em; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
section { margin: 3rem 0 0; }
figure { margin: 2rem 0 0; }
figure h3 { margin-top: 0; }
figure svg { display: block; width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2rem; }
p { max-width: 46rem; margin: .5rem 0; }
.eyebrow { color: var(--accent); font-weight: 600; margin: 0 0 .5rem; }
.answer { font-size: 1.15rem; line-height: 1.6; }
.muted, figcaption p { color: var(--muted); font-size: .9rem; }
.formula { font: italic 1.2rem/1.6 Georgia, "Times New Roman", serif; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 1rem;
  margin: 1.75rem 0 1rem; }
.cards div { border-top: 3px solid var(--accent); background: var(--soft); padding: .8rem 1rem; display: flex;
  flex-direction: column; justify-content: space-between; }
.cards dt { color: var(--muted); font-size: .85rem; line-height: 1.35; }
.cards dd { margin: .4rem 0 0; font-size: 1.6rem; font-weight: 650; line-height: 1.2; }
.cards small { display: block; font-size: .85rem; font-weight: 400; color: var(--muted); }
.note { border-left: 4px solid var(--edge); background: var(--note); padding: 1rem 1.25rem; }
.note h2 { font-size: 1.1rem; }
.note dl { margin: 0; }
.note dt { font: 600 .85rem ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; margin-top: .6rem; }
.note dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; margin: .5rem 0; }
th { text-align: left; color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: .35rem 1rem .35rem 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; }
.number + :not(.number) { padding-left: 1rem; }
.state { white-space: nowrap; font-weight: 600; }
.state.done { color: var(--good); } .state.not { color: var(--accent); } .state.unknown { color: var(--muted); }
dl.facts { display: grid; grid-template-columns: minmax(9rem, 15rem) 1fr; margin: .5rem 0; font-size: .95rem; }
dl.facts dt, dl.facts dd { margin: 0; padding: .45rem 1rem .45rem 0; border-bottom: 1px solid var(--line); }
dl.facts dt { color: var(--muted); }
dl.facts dd { overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); padding: .3rem 0; }
pre { background: var(--soft); padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .85rem; line-height: 1.5; }
#tip { position: fixed; z-index: 9; pointer-events: none; max-width: 22rem; padding: .35rem .6rem; font-size: .85rem;
  line-height: 1.4; white-space: pre-line; color: var(--paper); background: var(--ink); border-radius: .25rem; }
@media (max-width: 40rem) { dl.facts { grid-template-columns: 1fr; } dl.facts dt { border: 0; padding-bottom: 0; } }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --muted: #9aa5b1; --line: #2f3a45; --accent: #f08a5d; --soft: #1c2329; --paper: #12171c;
    --note: #231f14; --good: #4fc3b0; }
  /* Lightness turned round, hues kept: dark marks become light ones. */
  figure svg { filter: invert(0.93) hue-rotate(180deg) brightness(1.2); }
}
@media print {
  @page { margin: 16mm; }
  :root { font-size: 12px; }
  body { font-size: 1rem; }
  main { max-width: none; padding: 0; }
  section, figure { margin-top: 1.5rem; }
  .cards { grid-template-columns: repeat(4, 1fr); }
  figure, tr, .cards div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .pair { grid-template-columns: 1fr 1fr; }
  .long { break-before: page; }
  #tip { display: none; }
  * { print-color-adjust: exact; }
}
"""

# Titles become data, so that the browser's slower ones do not show as well; short lists open for printing.
SCRIPT = """
const tipped = (root) => root.querySelectorAll('figure svg title').forEach((title) => {
  title.parentNode.dataset.tip = title.textContent; title.remove();
});
tipped(document);
const tip = document.body.appendChild(document.createElement('div'));
tip.id = 'tip'; tip.hidden = true;
const say = (target, x, y) => {
  const mark = target && target.closest && target.closest('[data-tip]');
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  tip.style.left = Math.min(x + 14, innerWidth - tip.offsetWidth - 8) + 'px'; tip.style.top = y + 14 + 'px';
};
document.addEventListener('pointerover', (event) => say(event.target, event.clientX, event.clientY));
addEventListener('beforeprint', () => {
  document.querySelectorAll('details.brief').forEach((part) => { part.open = true; });
});
"""


def page(*, title: str, body: str) -> str:
    """A whole document."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def figure_block(title: str, caption: str, svg: str) -> str:
    """One figure with its title above and its caption below. svg: as `analysis.figures.svg.inline` gives it."""
    return f"<figure><h3>{escape(title)}</h3>{svg}<figcaption><p>{escape(caption)}</p></figcaption></figure>"


def section(title: str, content: str, kind: str = "") -> str:
    """Nothing where there is no content."""
    mark = f" class='{kind}'" if kind else ""
    return f"<section{mark}><h2>{escape(title)}</h2>{content}</section>" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    return f"<p class='{kind}'>{escape(text)}</p>" if kind else f"<p>{escape(text)}</p>"


def cards(items: Iterable[tuple[str, str, str]]) -> str:
    """(label, value, small print) each."""
    shown = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}<small>{escape(small)}</small></dd></div>"
        for label, value, small in items
    )
    return f"<dl class='cards'>{shown}</dl>" if shown else ""


def notes(title: str, items: Iterable[tuple[str, str]]) -> str:
    """Warnings: a name and a sentence each."""
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_sentence(text))}</dd>" for name, text in items)
    return section(title, f"<dl>{shown}</dl>" if shown else "", "note")


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Label and text, a line each."""
    return "<dl class='facts'>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows) + "</dl>"


def table_html(head: Sequence[str], rows: Sequence[Sequence[str]], states: int | None = None) -> str:
    """A table; the first column names the row, others whose cells are numbers stand to the right.

    states: the column that says done, not done or unknown, if there is one.
    """
    right = [i > 0 and bool(rows) and all(_numeric(row[i]) for row in rows) for i in range(len(head))]
    line = "".join(f"<th{' class=number' if n else ''}>{escape(c)}</th>" for c, n in zip(head, right, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell(row[i], right[i], i == states) for i in range(len(head))) + "</tr>" for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{line}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(text: str, number: bool, state: bool) -> str:
    kind = f" class='state {text.split()[0]}'" if state else " class=number" if number else ""
    return f"<td{kind}>{escape(text)}</td>"


def _numeric(cell: str) -> bool:
    return cell in ("", "-") or (cell[:1] in "0123456789+-[" and " " not in cell.split("[")[0].strip())


def _sentence(text: str) -> str:
    """With a capital and a full stop; a name that begins it keeps its letter."""
    first = text.split(" ", 1)[0].rstrip(":,")
    plain = first.isalpha() and len(first) > 1 and first not in ("alpha", "beta", "gamma", "eta", "delta", "kappa")
    return (text[0].upper() + text[1:] if plain else text).rstrip(".") + "."
