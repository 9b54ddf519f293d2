"""Files and folders are written atomically; digests are SHA-256 of the content."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import resource
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sg3tf.utils import files
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.files import append_line, atomic_directory, atomic_write, local_path, read_json_lines


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


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_file_systems_that_cannot_flush_folders(tmp_path, monkeypatch, number):
    """As those that VirtualBox shares; but no error of a disk is ignored, nor any of a file."""
    flush = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"), atomic_write(tmp_path / "file"):
            pass
        return
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    with atomic_directory(tmp_path / "folder") as unfinished:
        (unfinished / "a").write_text("1")
    assert (tmp_path / "file").read_bytes() == b"new" and (tmp_path / "folder" / "a").exists()


#: Of 255 bytes, the limit of file systems: without a suffix, with one, of two bytes a character, mostly suffix.
LONG_NAMES = ["a" * 255, "a" * 251 + ".png", "aü" * 83 + "ü.mp4", "a." + "b" * 253]


@pytest.mark.parametrize("name", LONG_NAMES)
@pytest.mark.parametrize("exchange", [True, False])
def test_whatever_name_a_file_system_takes_can_be_written(tmp_path, monkeypatch, name, exchange):
    """Under temporary names that are valid UTF-8 and have the same suffix, if it is that of a type of files."""
    assert len(name.encode()) == 255
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    path = tmp_path / name
    with atomic_write(path) as file:
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.encode() and (temporary.suffix in (path.suffix, "") or ".partial-" in temporary.suffix)
        assert temporary.suffix == path.suffix or len(path.suffix) not in range(1, 32)
        file.write(b"content")
    assert path.read_bytes() == b"content" and list(tmp_path.iterdir()) == [path]
    path.unlink()
    (tmp_path / f"{files.hidden_name(name, '.partial-')}1").mkdir()  # as a killed process leaves it
    for text in ("old", "new"):
        replaced(path, text)
        assert listing(tmp_path) == [name, f"{name}/{text}"]
    path.rename(tmp_path / f"{files.hidden_name(name, '.old-')}1")
    files.recover_replaced(path)
    assert listing(tmp_path) == [name, f"{name}/new"]


def test_long_names_have_temporary_names_of_their_own(tmp_path):
    with files.atomic_path(tmp_path / ("a" * 250)) as one, files.atomic_path(tmp_path / ("a" * 249 + "b")) as other:
        assert one != other
        one.touch()
        other.touch()
    assert files.hidden_name("a" * 184, ".x") == f".{'a' * 184}.x"


def test_a_link_to_nothing_is_named_before_the_work(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="link is a link to .*nowhere"), atomic_directory(tmp_path / "link"):
        pytest.fail("begun")


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    file, limits = tmp_path / "lines", resource.getrlimit(resource.RLIMIT_FSIZE)
    append_line(file, "a" * 10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15, limits[1]))  # as on a disk with room for 4 more bytes
    try:
        with pytest.raises(OSError, match=f"File too large.*{file}"):
            append_line(file, "b" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    append_line(file, "c")
    assert file.read_text() == "a" * 10 + "\nc\n"


def test_lines_are_read_up_to_one_that_is_being_written(tmp_path):
    file = tmp_path / "metric-swd.jsonl"
    assert read_json_lines(file) == []
    file.write_text('{"kimg": 1}\n{"kimg": 2}\n{"ki')
    assert read_json_lines(file) == [{"kimg": 1}, {"kimg": 2}]
    file.write_text('{"kimg": 1}\n{"ki\n')
    with pytest.raises(ValueError, match=f"{file}, line 2: damaged"):
        read_json_lines(file)


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


def replaced(folder, name):
    with atomic_directory(folder, replace=True) as unfinished:
        (unfinished / name).write_text(name)


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path):
    """A folder [a] that holds the file old."""
    replaced(tmp_path / "[a]", "old")
    return tmp_path / "[a]"


def test_a_kill_never_finds_a_folder_missing_that_is_replaced(folder, monkeypatch):
    if sys.platform != "linux" or not files._exchange(folder, folder):
        pytest.skip("this file system cannot exchange folders")

    def missing(*_):
        raise AssertionError("the folder has no name for a moment")

    monkeypatch.setattr(os, "rename", missing)
    replaced(folder, "new")
    assert listing(folder.parent) == ["[a]", "[a]/new"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL])
def test_where_folders_cannot_be_exchanged_they_are_moved(folder, monkeypatch, number):
    """Errors that say so and others, which come from the call itself."""

    class Library:
        def __init__(self, *_, **__):
            self.renameat2 = lambda *_: -1

    monkeypatch.setattr(files.ctypes, "CDLL", Library)
    monkeypatch.setattr(files.ctypes, "get_errno", lambda: number)
    if number == errno.EINVAL:
        replaced(folder, "new")
        assert listing(folder.parent) == ["[a]", "[a]/new"]
    else:
        with pytest.raises(PermissionError) as failure:
            replaced(folder, "new")
        assert failure.value.filename == str(folder)
        assert listing(folder.parent) == ["[a]", "[a]/old"]


def test_a_folder_whose_replacement_ended_between_two_renames_comes_back(folder, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    rename = os.rename

    def fails(source, destination):
        if ".partial-" in str(source):
            raise KeyboardInterrupt
        rename(source, destination)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", fails)
        replaced(folder, "new")
    assert listing(folder.parent) == ["[a]", "[a]/old"]
    folder.rename(folder.with_name(".[a].old-1"))  # as SIGKILL leaves it
    with pytest.raises(FileExistsError), atomic_directory(folder):
        pass
    assert listing(folder.parent) == ["[a]", "[a]/old"]


def test_unfinished_folders_of_killed_processes_are_removed(folder):
    names = [".[a].partial-1", ".[a].partial-2", ".b.partial-1"]
    for name in names:
        (folder.parent / name).mkdir()
    with files.locked(folder.parent / names[1]):  # of a process that is still at work
        replaced(folder, "new")
    assert listing(folder.parent) == [".[a].partial-2", ".b.partial-1", "[a]", "[a]/new"]


def test_what_others_put_into_the_temporary_folder_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "sg3tf-scratch-pipe")  # opening it would wait for a writer
    (tmp_path / "run").mkdir()
    (tmp_path / "sg3tf-scratch-link").symlink_to(tmp_path / "run")
    with files.scratch_folder(tmp_path) as scratch:
        assert scratch.is_dir()
    assert listing(tmp_path) == ["run", "sg3tf-scratch-link", "sg3tf-scratch-pipe"]


def test_unfinished_files_of_killed_processes_are_removed(tmp_path):
    """If nobody has written to them for an hour and no process has their ID, or for a day; not a folder."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead, alive = f"partial-{ended.pid}", f"partial-{os.getpid()}"
    hours = {
        f".new.{dead}-0123abcd.png": 0.9,
        f".none.{dead}": 0,  # of a file without a suffix
        f".b.{alive}-0123abcd.npz": 23,
        ".notes.partial-x.txt": 30,
        ".hidden": 30,
    }
    # An ID of a process in a container that was killed is one of another process here.
    goes = {
        f".a.b.{dead}-0123abcd.png": 1.1,
        f".old.{dead}.png": 1.1,
        f".c.{alive}-0123abcd.png": 25,
        f".d.{alive}": 25,
    }
    for name, age in (hours | goes).items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 3600 * age,) * 2)
    (tmp_path / f".c.{dead}").mkdir()
    os.utime(tmp_path / f".c.{dead}", (0, 0))
    with atomic_write(tmp_path / "out") as file:
        file.write(b"content")
    assert set(listing(tmp_path)) == {*hours, f".c.{dead}", "out"}


def test_processes_of_one_id_in_several_containers_do_not_meet(tmp_path, monkeypatch):
    """On a volume that they share: each container's first process has the ID 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with atomic_write(tmp_path / "file") as one, atomic_write(tmp_path / "file") as other:
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "file").read_bytes() == b"one"
    with atomic_directory(tmp_path / "folder") as first:
        (first / "a").write_text("first")
        with pytest.raises(FileExistsError), atomic_directory(tmp_path / "folder") as second:
            assert first.exists() and first != second
            (tmp_path / "folder").mkdir()
        (tmp_path / "folder").rmdir()
    assert listing(tmp_path) == ["file", "folder", "folder/a"]


def test_a_folder_that_another_process_replaces_is_not_removed(folder, monkeypatch):
    """Where folders cannot be exchanged; the other process has the same ID, in another container."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    kept = folder.with_name(".[a].old-1")
    kept.mkdir()
    replaced(folder, "new")
    assert listing(folder.parent) == [".[a].old-1", "[a]", "[a]/new"]


def test_scratch_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    """Not those of others that are at work."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from sg3tf.utils.files import scratch_folder as s\nwith s() as f: print(f, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    with process:
        other = Path(process.stdout.readline().strip())
        with files.scratch_folder() as scratch, files.scratch_folder() as second:
            assert {other, scratch, second} == {*tmp_path.iterdir()}
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        process.kill()
    assert [*tmp_path.iterdir()] == [other]
    with files.scratch_folder() as scratch:
        assert [*tmp_path.iterdir()] == [scratch]
    assert not [*tmp_path.iterdir()]


def test_a_folder_is_locked_while_it_is_written(tmp_path):
    """Not after that."""
    with atomic_directory(tmp_path / "a") as unfinished, pytest.raises(BlockingIOError):
        files.locked(unfinished, wait=False).__enter__()
    with files.locked(tmp_path / "a", wait=False):
        pass


def test_folders_are_written_where_there_are_no_locks(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (folder.parent / ".[a].partial-1").mkdir()
    replaced(folder, "new")
    assert listing(folder.parent) == [".[a].partial-1", "[a]", "[a]/new"]


def test_digest_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert digest_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("temporary", ["tmp", "tmp[1]"])
@pytest.mark.parametrize("name", ["a[b]", "a*", "a?", "a\\b", "plain", "it's 100% ü\n"])
def test_a_literal_folder_leads_to_the_same_files_and_is_no_pattern(tmp_path, monkeypatch, name, temporary):
    """Also where the name of the folder for temporary files is a pattern."""
    (tmp_path / temporary).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
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


def test_where_there_is_no_place_for_a_link_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp*"))
    monkeypatch.setattr(files, "_OTHER_PLACES", (str(tmp_path / "missing"),))
    with pytest.raises(OSError, match=r"runs\[a\]: TensorFlow takes this name for a pattern; rename it, or set TMPDIR"):
        files.literal_folder(Path("runs[a]")).__enter__()


REMOTE = ["gs://bucket/faces", "s3://bucket", "hdfs://host:9000/x", "http://host/x", "https://host", "file:///tmp/x"]


@pytest.mark.parametrize("text", REMOTE)
def test_buckets_and_servers_are_refused_rather_than_made_folders(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    for write in (local_path, lambda text: atomic_write(Path(text)), lambda text: atomic_directory(Path(text))):
        with pytest.raises(ValueError, match=r"give a local path, such as that of a mounted bucket"), write(text):
            pass
    assert not list(tmp_path.iterdir())


def test_local_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/faces") == tmp_path / "faces"
    for text in ("a:b/c", "gs", "gs/x", "./gs:x", "C:/x", "x gs://y"):
        assert local_path(text) == Path(text)
    with pytest.raises(ValueError, match="~nobody-at-all/x: "):
        local_path("~nobody-at-all/x")


def test_a_device_is_written_to_and_stays_one(tmp_path):
    """As --out=/dev/null is; renaming a file to it would remove the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open(pipe, "wb"):  # keeps what is written until it is read
        with files.atomic_path(pipe) as path:
            path.write_bytes(b"content")
        assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("filename", [None, "temporary", "other"])
@pytest.mark.parametrize("write", [files.atomic_path, files.atomic_directory])
def test_errors_name_the_file_that_users_know(tmp_path, write, filename):
    """A full disk is found when an open file is written, and then names no file."""
    target = tmp_path / "target.png"
    with pytest.raises(OSError) as failure, write(target) as temporary:
        named = {"temporary": str(temporary), "other": "/other"}.get(filename)
        raise OSError(errno.ENOSPC, "No space left on device", *filter(None, [named]))
    expected = "/other" if filename == "other" else target
    assert str(failure.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{expected}'"
    assert not list(tmp_path.iterdir())
