"""Files and folders are written atomically; digests are SHA-256 of the content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sg3tf.utils import files
from sg3tf.utils.files import atomic_directory, atomic_write, digest_file


def test_file_is_replaced_only_at_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_appears_at_the_end(tmp_path):
    path = tmp_path / "deep" / "folder"
    with atomic_directory(path) as unfinished:
        (unfinished / "a").write_text("1")
        assert not path.exists()
    assert [p.name for p in path.iterdir()] == ["a"]
    with pytest.raises(FileExistsError, match="folder exists already"), atomic_directory(path):
        pass
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "other") as unfinished:
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]


def test_folder_replaces_another(tmp_path):
    path = tmp_path / "folder"
    for name in ("a", "b"):
        with atomic_directory(path, replace=True) as unfinished:
            (unfinished / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["b"]
    with pytest.raises(RuntimeError), atomic_directory(path, replace=True) as unfinished:
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_digest_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert digest_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["a[b]", "a*", "a?", "a\\b", "plain", "it's 100% ü\n"])
def test_a_literal_folder_leads_to_the_same_files_and_is_no_pattern(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "file").write_text("content")
    monkeypatch.chdir(tmp_path)
    for path in (folder, Path(name)):  # a relative one, too
        with files.literal_folder(path) as literal:
            assert (literal / "file").read_text() == "content"
            assert not set("*?[]\\") & set(str(literal))
            assert (literal == path) == (not set("*?[]\\") & set(name))
    assert literal == path or not literal.exists()
