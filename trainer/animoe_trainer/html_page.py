"""Parts of reports: one HTML page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1120px;margin:32px auto;padding:0 20px;color:#1b2430}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:34px 0 8px}p{margin:6px 0}
table{border-collapse:collapse;margin:8px 0}td,th{padding:4px 12px;border-bottom:1px solid #dde3ea;text-align:right}
td:first-child,th:first-child{text-align:left}.good{color:#14713d}.bad{color:#b3261e;font-weight:600}
.faint{color:#66727f}img{max-width:100%;border-radius:4px}.bar{display:inline-block;height:10px;background:#4f7cc4}
"""


def html_page(title: str, parts: Sequence[str]) -> bytes:
    """The whole page, UTF-8."""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    return page.encode()


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, raw: bool = False) -> str:
    """A table; with `raw` the cells (not the heads) are HTML already."""
    clean = (lambda cell: cell) if raw else escape
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{clean(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def html_image(data: bytes, kind: str, what: str) -> str:
    """A picture inside the page; `kind` is png or jpeg."""
    return f'<p><img alt="{escape(what)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}"></p>'
