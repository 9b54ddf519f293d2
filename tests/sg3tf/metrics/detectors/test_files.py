"""Messages where a detector's file is absent or another one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sg3tf.metrics import detectors
from sg3tf.metrics.detectors import DetectorError, files
from sg3tf.metrics.detectors.files import PublishedFile

VGG16 = ["https://download.pytorch.org/models/", "553,433,881 bytes", "SHA-256 397923af..."]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "inception",
            ["classify_image_graph_def.pb is", "inception-2015-12-05.tgz", "88,931,400 bytes", "put it there"],
        ),
        ("vgg16", [*VGG16, "vgg16-397923af.pth is not in", "put it there"]),
        (
            "lpips",
            [
                *VGG16,
                "vgg16-397923af.pth, vgg.pth are not in",
                "weights/v0.1/vgg.pth",
                "7,289 bytes",
                "SHA-256 a78928a0af1e5f0f",
                "put them there",
            ],
        ),
    ],
)
def test_an_absent_file(tmp_path: Path, name: str, words: list[str]) -> None:
    with pytest.raises(DetectorError) as error:
        detectors.load(name, tmp_path / "detectors")
    for word in (*words, str(tmp_path / "detectors")):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_detector(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"detector='clip': known are inception, vgg16, lpips"):
        detectors.load("clip", tmp_path)


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"123")
    digest = hashlib.sha256(b"123").hexdigest()
    for known in (None, digest[:8], digest):
        assert files.verified_digest(path, PublishedFile("weights", "address", 3, known)) == digest
    with pytest.raises(DetectorError, match=f"weights: SHA-256 is {digest}, but .* begins with 397923af"):
        files.verified_digest(path, PublishedFile("weights", "address", 3, "397923af"))
