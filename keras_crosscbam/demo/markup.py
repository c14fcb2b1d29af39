"""HTML of the demo page: class shares, times, messages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras_crosscbam.classes import ClassTable

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#intro h1 { margin: 0 0 .3rem; font-size: 1.6rem; }
#intro p { margin: 0; font-size: 1.05rem; }
#example button { width: 10rem !important; height: auto !important; }
#example button * { width: 100% !important; height: auto !important; max-width: none !important;
  max-height: none !important; }
.facts { width: 100%; border-collapse: collapse; font-size: .95rem; }
.facts caption, .heading { text-align: left; font-weight: 600; padding-bottom: .35rem; }
.facts, .facts * { border: none !important; }
.facts th { text-align: left; font-weight: 400; white-space: nowrap;
  padding: .15rem .6rem .15rem 0; }
.facts td { padding: .15rem 0; }
.facts td:last-child { text-align: right; white-space: nowrap; width: 5.5rem;
  font-variant-numeric: tabular-nums; }
.facts tr.total > * { font-weight: 600; }
.legend span { display: inline-block; white-space: nowrap; margin: 0 1rem .3rem 0; }
.swatch { display: inline-block; width: .95em; height: .95em; margin-right: .5em;
  vertical-align: -.12em; border-radius: 3px; box-shadow: 0 0 0 1px rgba(0, 0, 0, .35); }
.bar { height: .6em; min-width: 1px; border-radius: 3px; background: var(--color-accent); }
.problem { padding: .7rem .9rem; border-left: 4px solid #c0392b; border-radius: 4px;
  background: rgba(192, 57, 43, .12); }
.note { color: var(--body-text-color-subdued); font-size: .95rem; }
"""


def share_table(shares: Mapping[str, float], classes: ClassTable, title: str) -> str:
    """Returns a table with the color, the name and the share of each class.

    Args:
        shares: dict from class name to share, 0..1.
        classes: a `ClassTable`.
        title: the caption.
    """
    colors = _colors(classes)
    rows = [
        _row(_named(name, colors[name]), share, f"{100 * share:.1f} %", colors[name])
        for name, share in shares.items()
    ]
    return _table(title, rows)


def legend(classes: ClassTable) -> str:
    """Returns the colors and the names of the classes."""
    names = (f"<span>{_named(*pair)}</span>" for pair in _colors(classes).items())
    return f'{heading("Classes")}<div class="legend">{"".join(names)}</div>'


def time_table(milliseconds: Mapping[str, float], title: str) -> str:
    """Returns a table of the stages, with their sum if there are several; "" without stages."""
    if not milliseconds:
        return ""
    total = sum(milliseconds.values())
    rows = [
        _row(escape(stage), ms / total, _milliseconds(ms)) for stage, ms in milliseconds.items()
    ]
    if len(rows) > 1:
        last = _row("sum", None, _milliseconds(total))
        rows.append(last.replace("<tr>", '<tr class="total">'))
    return _table(title, rows)


def problem(text: str) -> str:
    """Returns an error message."""
    return f'<div class="problem" role="alert">{escape(text)}</div>'


def note(text: str) -> str:
    """Returns a remark."""
    return f'<div class="note">{escape(text)}</div>'


def heading(text: str) -> str:
    """Returns the title of a part of the page."""
    return f'<div class="heading">{escape(text)}</div>'


def _colors(classes):
    return {
        name: f"rgb({', '.join(map(str, color))})"
        for name, color in zip(classes.names, classes.colors, strict=True)
    }


def _named(name, color):
    return f'<span class="swatch" style="background: {color}"></span>{escape(name)}'


def _milliseconds(ms):
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def _row(head, share, text, color=None):
    width = f"width: {100 * (share or 0):.2f}%"
    fill = f"; background: {color}" if color else ""
    bar = "" if share is None else f'<div class="bar" style="{width}{fill}"></div>'
    return f'<tr><th scope="row">{head}</th><td style="width: 60%">{bar}</td><td>{text}</td></tr>'


def _table(title, rows):
    return f'<table class="facts"><caption>{escape(title)}</caption>{"".join(rows)}</table>'
