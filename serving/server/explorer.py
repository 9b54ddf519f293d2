"""The built files of the explorer, a web page for a served generator, as the REST port serves them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

#: Folder of the page on the REST port.
PATH = "/explorer/"
#: Only the page's files are served; nothing is looked up in a folder.
CONTENT_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "explorer.js": "text/javascript; charset=utf-8",
    "explorer.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: The page loads nothing from elsewhere, cannot be embedded in other pages, and only connects to this server.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FOLDER = Path(__file__).parents[1] / "explorer" / "dist"


class Asset(NamedTuple):
    """A file of the page."""

    content: bytes
    content_type: str


def read_assets() -> dict[str, Asset]:
    """Return the page's files by their paths on the REST port; none if the page was not built."""
    files = {name: _FOLDER / name for name in CONTENT_TYPES}
    found = {name: Asset(file.read_bytes(), CONTENT_TYPES[name]) for name, file in files.items() if file.is_file()}
    assets = {PATH + name: asset for name, asset in found.items()}
    return assets | {PATH: found["index.html"]} if "index.html" in found else {}


def location(model: str) -> str:
    """Return the page's path with the model to explore.

    Examples:
        >>> location("sg3")
        '/explorer/?model=sg3'
    """
    return f"{PATH}?model={quote(model, safe='')}"
