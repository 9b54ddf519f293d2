"""A missing package is reported with the extra that installs it."""

from __future__ import annotations

import json
import sys

import pytest

from sg3tf.utils.command_line import exit_status
from sg3tf.utils.extras import MissingExtraError, remedy, require


def test_an_installed_package_is_returned() -> None:
    assert require("json", extra="none", purpose="nothing") is json


def test_the_message_names_purpose_package_and_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "some_package", None)
    expected = r"^writing a\.mp4 needs the package some-package: pip install 'sg3tf\[video\]' \("
    with pytest.raises(MissingExtraError, match=expected):
        require("some_package.inner", extra="video", purpose="writing a.mp4")


@pytest.mark.parametrize("module", ["grpc", "grpc.aio", "tensorflow_serving.apis"])
def test_a_plain_import_is_reported_with_the_extra(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert exit_status("sg3tf serve", program) == 1
    assert capsys.readouterr().err == f"sg3tf serve: No module named {module!r}: pip install 'sg3tf[serve]'\n"


def test_no_extra_is_invented() -> None:
    for name in ("os.nothing", None):
        assert remedy(ModuleNotFoundError("No module named", name=name)) == ""
