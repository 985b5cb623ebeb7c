"""Pieces of one self-contained HTML page: text is escaped, pictures lie inside it, and there is no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np

STYLE = """
:root { --ink: #1d2327; --soft: #5b656d; --line: #d9dee2; --paper: #fff; --tint: #f4f6f7; --accent: #00568a; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 64rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .5rem 0 .25rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, ul, dl { margin: .5rem 0 .9rem; max-width: 46rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .92rem; }
.banner { max-width: none; background: #fff4d6; border: 1px solid #e5c65c; padding: .5rem .8rem; font-weight: 600; }
.verdicts { display: grid; gap: .7rem; margin: 1rem 0; }
.verdict { border: 1px solid var(--line); border-left: 6px solid var(--soft); padding: .7rem .9rem; }
.verdict p { margin: .25rem 0 0; max-width: none; }
.verdict .question { font-weight: 600; }
.chip { float: right; margin-left: .8rem; padding: .05rem .6rem; border-radius: 1rem; color: #fff; font-size: .85rem;
  background: var(--soft); white-space: nowrap; }
.good { border-left-color: #1b7f4b; } .good .chip { background: #1b7f4b; }
.bad { border-left-color: #b3261e; } .bad .chip { background: #b3261e; }
.open { border-left-color: #8a6100; } .open .chip { background: #8a6100; }
.table { overflow-x: auto; margin: .6rem 0 1.1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
caption { text-align: left; padding: .2rem 0 .4rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { border-bottom: 2px solid var(--ink); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: 1.1rem 0 1.5rem; overflow-x: auto; }
img { display: block; max-width: 100%; height: auto; }
code, pre { font: .88rem/1.5 ui-monospace, "Liberation Mono", Consolas, monospace; }
pre { background: var(--tint); padding: .7rem .9rem; overflow-x: auto; }
dt { font-weight: 600; margin-top: .4rem; } dd { margin: 0 0 0 1.2rem; }
@media (max-width: 40rem) { body { padding: 1rem .8rem 3rem; } img { max-width: none; width: 44rem; }
  .chip { float: none; display: block; width: max-content; margin: 0 0 .35rem; } }
@media print { body { max-width: none; font-size: 11pt; padding: 0; } figure, .verdict, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .table, figure { overflow: visible; } img { max-width: 100%; } }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole document of these blocks."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def heading(level: int, text: str) -> str:
    """A heading; the text is escaped, as in everything below."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph, of a class if `kind` is given."""
    return f"<p{_kind(kind)}>{escape(text)}</p>"


def block(text: str) -> str:
    """Text that keeps its lines, for commands."""
    return f"<pre>{escape(text)}</pre>"


def items(texts: Sequence[str]) -> str:
    """A list of texts."""
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def definitions(terms: Sequence[tuple[str, str]]) -> str:
    """Terms, each with what it means."""
    return "<dl>\n" + "\n".join(f"<dt>{escape(t)}</dt><dd>{escape(d)}</dd>" for t, d in terms) + "\n</dl>"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", numbers: Sequence[int] = ()
) -> str:
    """A table; the columns `numbers` are set to the right."""
    told = f"<caption>{escape(caption)}</caption>" if caption else ""

    def line(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(
                f"<{tag}{_kind('number' if column in numbers else '')}>{escape(cell)}</{tag}>"
                for column, cell in enumerate(cells)
            )
            + "</tr>"
        )

    body = "\n".join(line(row, "td") for row in rows)
    head_line = line(head, "th")
    return (
        f'<div class="table"><table>{told}<thead>{head_line}</thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def verdict(question: str, status: str, answer: str, kind: str) -> str:
    """A question with its status and answer; `kind` colours it."""
    return (
        f'<div class="verdict {escape(kind)}"><span class="chip">{escape(status)}</span>'
        f'<span class="question">{escape(question)}</span><p>{escape(answer)}</p></div>'
    )


def figure(picture: np.ndarray, caption: str) -> str:
    """A picture [H,W,3] in 0..1 inside the page, with its caption as the text for those who cannot see it."""
    data = base64.b64encode(to_png(picture)).decode("ascii")
    height, width = picture.shape[:2]
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def to_png(picture: np.ndarray) -> bytes:
    """A picture [H,W,3] in 0..1 as a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    levels = np.round(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    Image.fromarray(levels).save(content, "PNG", optimize=True)
    return content.getvalue()


def _kind(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""
