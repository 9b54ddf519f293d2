"""Checksums of a folder detect every kind of damage."""

from __future__ import annotations

import pytest

from sg3tf.utils import checksums


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"")
    checksums.write_checksums(tmp_path)
    return tmp_path


def test_an_intact_folder_has_no_problem(sealed):
    assert checksums.verify_checksums(sealed) is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "a").write_bytes(b"contenT"), "a is damaged"),
        (lambda folder: (folder / "a").write_bytes(b"conten"), "a is damaged"),
        (lambda folder: (folder / "b").write_bytes(b" "), "b is damaged"),
        (lambda folder: (folder / "b").unlink(), "b cannot be read: No such file"),
        (lambda folder: (folder / checksums.DIGESTS).unlink(), "sha256.json cannot be read"),
        (lambda folder: (folder / checksums.DIGESTS).write_text("{"), "sha256.json cannot be read"),
        (lambda folder: (folder / checksums.DIGESTS).write_text("3"), "sha256.json cannot be read"),
    ],
)
def test_damage_is_named(sealed, damage, words):
    damage(sealed)
    assert checksums.verify_checksums(sealed).startswith(words)
