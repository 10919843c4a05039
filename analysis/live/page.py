"""The document of a live page: the report's look, and a script that renews its parts where they stand.

Style and script are constants, so that a content security policy can name them by
their hashes and forbid all others.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from analysis.figures import style
from analysis.report.page import SCRIPT, STYLE

REFRESH_SECONDS = 3

_WIDTHS = sorted({style.WIDE[0], style.HALF[0], style.ROW[0]})
LIVE_STYLE = (
    STYLE
    + "\n".join(f"figure svg[data-width='{inches:.4g}in'] {{ max-width: {inches:.4g}in; }}" for inches in _WIDTHS)
    + """
html { overflow-anchor: none; }  /* the script keeps what is read in its place */
#asof { position: sticky; top: 0; z-index: 8; margin: 0; padding: .45rem 1.5rem; font-size: .85rem; text-align: center;
  max-width: none; color: var(--muted); background: var(--soft); border-bottom: 1px solid var(--line); }
#asof.lost { color: var(--ink); background: var(--note); border-bottom: 2px solid var(--edge); font-weight: 600; }
progress { width: 6rem; height: .6rem; accent-color: var(--accent); vertical-align: baseline; }
@media (max-width: 40rem) { progress { width: 2.5rem; } th, td { padding-right: .6rem; } }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.state.finished { color: var(--good); } .state.training { color: var(--accent); }
.state.diverged, .state.failed, .state.unreadable { color: var(--edge); }
.state.waiting, .state.interrupted { color: var(--muted); }
.note dd { white-space: pre-line; }
[id$='-lines'] path { pointer-events: stroke; }
"""
)

LIVE_SCRIPT = (
    SCRIPT
    + """
// Replaces only what differs, so that open lists, scrolled tables and what the pointer rests on stay.
const settle = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.nodeName === 'svg') return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) { old.data = fresh.data; return; }
  for (const {name} of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const {name, value} of fresh.attributes) if (!kept.includes(name)) old.setAttribute(name, value);
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((child, i) => { if (i < before.length) settle(before[i], child); else old.append(child); });
  before.slice(after.length).forEach((child) => child.remove());
};
const kept = ['open', 'id', 'data-mark'];
const pointer = {x: -1, y: -1};
document.addEventListener('pointermove', (event) => { pointer.x = event.clientX; pointer.y = event.clientY; });
// The first thing on the screen keeps its place while what is above it grows.
const inPlace = (change) => {
  const first = [...document.querySelectorAll('main :is(h1, h2, h3, tr, figure, p, dl, summary)')]
    .find((part) => part.getClientRects().length && part.getBoundingClientRect().top >= 0);
  const top = first && first.getBoundingClientRect().top;
  change();
  if (scrollY > 0 && first && first.isConnected) scrollBy(0, first.getBoundingClientRect().top - top);
};
const selecting = (part) => {
  const chosen = getSelection();
  return chosen && !chosen.isCollapsed && chosen.containsNode(part, true);
};
const asked = async (path) => {
  const answer = await fetch(path, {cache: 'no-store', signal: AbortSignal.timeout(10000)});
  if (!answer.ok) throw new Error(path + ': ' + answer.status);
  return answer;
};
const renew = async (part) => {
  const answer = await asked('part/' + part.id);
  const fresh = document.createElement('div');
  fresh.innerHTML = await answer.text();
  tipped(fresh);
  inPlace(() => settle(part, fresh));
  part.dataset.mark = answer.headers.get('x-mark');
  if (!tip.hidden) say(document.elementFromPoint(pointer.x, pointer.y), pointer.x, pointer.y);
};
const asof = document.getElementById('asof');
let seen = asof.dataset.looked;
const look = async () => {
  if (document.hidden) return;
  try {
    const state = await (await asked('state')).json();
    for (const part of document.querySelectorAll('main > div[data-mark]')) {
      if (state.marks[part.id] !== part.dataset.mark && !selecting(part)) await renew(part);
    }
    seen = state.looked;
    asof.className = '';
    asof.textContent = 'As of ' + seen + '. Renewed every few seconds.';
  } catch (error) {
    asof.className = 'lost';
    asof.textContent = 'No answer from the server; this is as of ' + seen + ' and may be old.';
  }
};
const watch = async () => { await look(); setTimeout(watch, every); };
const every = 1000 * Number(asof.dataset.every);
document.addEventListener('visibilitychange', look);
setTimeout(watch, every);
"""
)


def document(study: str, parts: Mapping[str, tuple[str, str]], looked: str) -> str:
    """The whole page. parts: (mark, HTML) by name, in order. looked: when that was so, for a reader."""
    body = "".join(f"<div id='{escape(name)}' data-mark='{mark}'>{html}</div>" for name, (mark, html) in parts.items())
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><link rel='icon' href='data:,'>"
        f"<title>{escape(study)}: live</title><style>{LIVE_STYLE}</style></head>"
        f"<body><p id='asof' role='status' data-looked='{escape(looked)}' data-every='{REFRESH_SECONDS}'>"
        f"As of {escape(looked)}.</p><main>{body}</main><script>{LIVE_SCRIPT}</script></body></html>\n"
    )


def policy() -> str:
    """The content security policy: this style, this script, requests to the page's own server, nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(LIVE_SCRIPT)}'",
            f"style-src '{_hash(LIVE_STYLE)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
