"""The documentation: links lead somewhere, the site builds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("tests/**/*.md")]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)")


def headings(page: Path) -> set[str]:
    """Anchors of a page, as Markdown renderers make them of its headings."""
    lines = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).splitlines()
    titles = (line.lstrip("#").strip().lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in headings(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if "adr" not in page.parts], ids=lambda page: page.name)
def test_commands_have_one_name(page: Path) -> None:
    """`sg3tf export`, not the module that it runs; except in an environment where sg3tf is not installed."""
    assert not re.findall(
        r"^.*(?<!beam/bin/)python -m (?:trainer\.main|serving|sg3tf).*$", page.read_text(), re.MULTILINE
    )


def test_site_builds(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={site}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "StyleGAN3Generator" in (site / "reference" / "models.html").read_text()
    addresses = re.findall(r'(?:src|href)="(https?://[^"]+)"', (site / "index.html").read_text())
    assert not [a for a in addresses if a.endswith((".js", ".css", ".woff2"))], "the site needs a network"


def test_pictures_name_no_folder_of_a_machine() -> None:
    """PNG files of `sg3tf generate` name their network as it was given."""
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert len(pictures) > 20
    assert not [picture.name for picture in pictures if re.search(rb"/(?:work|home|root|tmp)/", picture.read_bytes())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_say_the_size_of_their_network(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        sides = set(re.findall(r'"portraits-(\d+)', block))
        shapes = re.findall(r"# float32 \[\w+, (\d+), (\d+), 3\]", block)
        assert len(sides) != 1 or {side for shape in shapes for side in shape} <= sides
