"""A report as one HTML file that needs no network: style and pictures are in it."""

import base64
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.report.document import Document
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "page.html.j2"


def write_html(document: Document, path: Path) -> list[Path]:
    """**Returns** the one file. **Raises** `OutputError`."""
    write_whole(path, html(document).encode())
    return [path]


def html(document: Document) -> str:
    """The page; every text of the report is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data_url": _data_url, "breakable": _breakable}
    text = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(document=document)


def _breakable(name: str) -> "Markup":
    """The name, escaped, which a narrow screen may break after an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))


def _data_url(svg: bytes) -> str:
    """An image of its own: identifiers inside two SVGs cannot meet, and the alt text is read."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
