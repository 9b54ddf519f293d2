"""A missing package is reported with the extra that installs it."""

from __future__ import annotations

import json
import sys

import pytest

from sg3tf.utils.extras import MissingExtraError, require


def test_an_installed_package_is_returned() -> None:
    assert require("json", extra="none", purpose="nothing") is json


def test_the_message_names_purpose_package_and_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "some_package", None)
    expected = r"^writing a\.mp4 needs the package some-package: pip install 'sg3tf\[video\]' \("
    with pytest.raises(MissingExtraError, match=expected):
        require("some_package.inner", extra="video", purpose="writing a.mp4")
