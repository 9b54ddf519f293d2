"""Programs beside Python that tests need: Node, and a browser."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def skip(what: str) -> None:
    """Skip, with one line of what is missing; fail where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
