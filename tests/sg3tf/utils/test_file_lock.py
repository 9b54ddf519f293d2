"""Locks on files that are removed at the end."""

from __future__ import annotations

import errno
import fcntl

import pytest

from sg3tf.utils import file_lock
from sg3tf.utils.file_lock import locked_file


def test_one_at_a_time(tmp_path):
    """An open file stands for a process here. A file that a kill has left is as good as none."""
    path = tmp_path / "a.lock"
    path.touch()
    for _ in range(2):
        with locked_file(path):
            with pytest.raises(BlockingIOError), locked_file(path):
                pass
            assert path.exists()
        assert not path.exists()


def test_a_file_that_the_other_process_removes_is_not_the_lock(tmp_path, monkeypatch):
    """That process ends between this one's opening and locking the file."""
    path, lock = tmp_path / "a.lock", fcntl.flock
    removals = iter([path.unlink])

    def flock(file, operation):
        lock(file, operation)
        next(removals, lambda: None)()

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked_file(path), pytest.raises(BlockingIOError), locked_file(path):
        pass


def test_a_file_of_another_user(tmp_path, monkeypatch):
    """In a folder that both may write. Root may open any file, so the refusal is made up."""
    path = tmp_path / "a.lock"

    def refusing(file, mode="r"):
        if mode == "a":
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return open(file, mode)

    with locked_file(path):
        monkeypatch.setattr(file_lock, "open", refusing, raising=False)
        with pytest.raises(BlockingIOError), locked_file(path):
            pass


def test_a_file_that_is_never_the_one_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("os.path.samestat", lambda *_: False)
    with pytest.raises(OSError, match="replaced again and again"), locked_file(tmp_path / "a.lock"):
        pass


def test_errors_are_those_of_the_block_and_of_the_file_system(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError), locked_file(tmp_path / "missing" / "a.lock"):
        pass
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ZeroDivisionError), locked_file(folder / "a.lock"):
        folder.rename(tmp_path / "renamed")
        folder.touch()  # so that the lock cannot be removed: not a folder
        raise ZeroDivisionError

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks available"), locked_file(tmp_path / "a.lock"):
        pass
