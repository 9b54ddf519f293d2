"""Version policies, and the replacement of versions while requests run."""

import errno
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from serving.server import model_manager
from serving.server.admission import Caller
from serving.server.errors import RequestError
from serving.server.model_manager import ModelManager, version_folders
from serving.server.version_policy import VersionPolicy, parse_policy

LATEST = VersionPolicy(latest=1)


def add(base, *numbers):
    for number in numbers:
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "saved_model.pb").touch()


def load(folder):
    if (folder / "broken").exists():
        raise OSError("it is broken")
    return SimpleNamespace(version=int(folder.name))


def loaded(base, policy=LATEST, load_version=load, labels=()):
    models = ModelManager("m", base, policy, load_version, labels)
    models.load()
    return models


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("latest", [10]), ("all", [2, 9, 10]), ("specific:9,2", [2, 9]), ("specific:9,77", [9])],
)
def test_policies(text, chosen):
    assert parse_policy(text).choose([10, 2, 9]) == chosen


@pytest.mark.parametrize("text", ["newest", "specific", "specific:", "specific:1,x", "all:1"])
def test_unknown_policies_are_explained(text):
    with pytest.raises(ValueError, match="must be latest, all or specific:1,3"):
        parse_policy(text)


def test_only_complete_folders_inside_the_base_count(tmp_path):
    base, outside = tmp_path / "base", tmp_path / "outside"
    add(base, 1, 7)
    add(outside, 5)
    os.symlink(outside / "5", base / "5")
    os.symlink(base / "7", base / "8")
    (base / "3").mkdir()
    (base / ".unfinished-1").mkdir()
    add(base, 2**63)  # no version of the protocol's
    assert sorted(version_folders(base)) == [1, 7, 8]


def test_a_folder_that_cannot_be_read_stops_nothing(tmp_path, monkeypatch):
    is_file = Path.is_file

    def refuse(path):
        if path.parent.name == "2":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    def load_version(folder):
        if not (folder / "saved_model.pb").is_file():
            raise OSError("there is no model")
        return load(folder)

    monkeypatch.setattr(Path, "is_file", refuse)
    add(tmp_path, 1, 2)
    models = loaded(tmp_path, VersionPolicy(), load_version)
    assert states(models) == {1: "AVAILABLE", 2: "END"}
    (unreadable,) = models.statuses("m", 2)
    assert unreadable.error.startswith(f"{tmp_path / '2'} cannot be loaded: ")
    assert "Permission denied" in unreadable.error
    add(tmp_path, 3)
    models.refresh()
    assert states(models) == {1: "AVAILABLE", 2: "END", 3: "AVAILABLE"}


def test_a_new_version_replaces_the_old_one(tmp_path):
    add(tmp_path, 1)
    models = loaded(tmp_path)
    held = models.find("m", None)
    add(tmp_path, 2)
    models.refresh()
    assert models.find("m", None).version == 2
    assert held.version == 1  # a request at work keeps it
    with pytest.raises(RequestError, match="the versions served are 2"):
        models.find("m", 1)
    assert [(s.version, s.state) for s in models.statuses("m", None)] == [(1, "END"), (2, "AVAILABLE")]
    models.reconfigure(VersionPolicy(), {})
    assert models.find("m", 1).version == 1


def test_the_old_version_answers_while_the_new_one_loads(tmp_path):
    loading, go_on = threading.Event(), threading.Event()

    def slow(folder):
        if folder.name == "2":
            loading.set()
            assert go_on.wait(10)
        return load(folder)

    add(tmp_path, 1)
    models = loaded(tmp_path, load_version=slow)
    add(tmp_path, 2)
    refresh = threading.Thread(target=models.refresh)
    refresh.start()
    assert loading.wait(10)
    assert models.find("m", None).version == 1
    assert [s.state for s in models.statuses("m", None)] == ["AVAILABLE", "LOADING"]
    go_on.set()
    refresh.join()
    assert models.find("m", None).version == 2


def test_a_broken_version_changes_nothing_until_it_is_mended(tmp_path):
    add(tmp_path, 1)
    models = loaded(tmp_path)
    add(tmp_path, 2)
    (tmp_path / "2" / "broken").touch()
    models.refresh()
    assert models.find("m", None).version == 1
    (status,) = models.statuses("m", 2)
    assert status.state == "END"
    assert "it is broken" in status.error
    (tmp_path / "2" / "broken").unlink()
    models.refresh()
    assert models.find("m", None).version == 2


def test_a_broken_version_is_tried_a_few_times_and_again_when_its_files_change(tmp_path, monkeypatch):
    tried, now = [], [0.0]
    monkeypatch.setattr(model_manager.time, "monotonic", lambda: now[0])

    def counted(folder):
        tried.append(folder.name)
        return load(folder)

    add(tmp_path, 1)
    models = loaded(tmp_path, load_version=counted)
    add(tmp_path, 2)
    (tmp_path / "2" / "broken").touch()
    for _ in range(100):  # seconds between two checks of the folder
        models.refresh()
        now[0] += 1
    assert tried.count("2") == 2
    now[0] += 3600
    for _ in range(1000):
        models.refresh()
        now[0] += 60
    assert tried.count("2") == 6  # at once and five times more
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"another")
    models.refresh()
    models.refresh()
    assert tried.count("2") == 7
    with pytest.raises(RequestError):
        models.reconfigure(LATEST, {})
    assert tried.count("2") == 8  # whoever asks is not put off
    (tmp_path / "2" / "broken").unlink()
    models.refresh()
    assert models.find("m", None).version == 2


def states(models):
    return {status.version: status.state for status in models.statuses("m", None)}


def refusal(models, policy, labels=None):
    with pytest.raises(RequestError) as caught:
        models.reconfigure(policy, labels or {})
    return caught.value.code, str(caught.value)


def test_a_refused_configuration_changes_nothing(tmp_path):
    add(tmp_path, 1, 2, 3, 4)
    models = loaded(tmp_path, VersionPolicy(specific=frozenset([1, 2])), labels={"stable": 1})
    (tmp_path / "4" / "broken").touch()
    for policy, labels, words in [
        (VersionPolicy(specific=frozenset([2, 3])), {"stable": 1}, "'stable' for version 1; the versions served are"),
        (VersionPolicy(specific=frozenset([2, 7, 8])), {}, f"base path {tmp_path} has no versions 7, 8"),
        (VersionPolicy(specific=frozenset([3, 4])), {"stable": 3}, f"{tmp_path / '4'} cannot be loaded: it is broken"),
        (LATEST, {}, "it is broken"),
    ]:
        code, message = refusal(models, policy, labels)
        assert (code, words in message) == (grpc.StatusCode.FAILED_PRECONDITION, True), message
        models.refresh()
        assert models.find("m", "stable").version == 1
        assert models.find("m", None).version == 2
        with pytest.raises(RequestError, match="the versions served are 1, 2"):
            models.find("m", 3)
    assert states(models) == {1: "AVAILABLE", 2: "AVAILABLE", 3: "END", 4: "END"}
    (tmp_path / "4" / "broken").unlink()
    models.reconfigure(VersionPolicy(specific=frozenset([3, 4])), {"stable": 3})
    assert models.find("m", "stable").version == 3
    assert states(models) == {1: "END", 2: "END", 3: "AVAILABLE", 4: "AVAILABLE"}


def test_a_configuration_changes_nothing_after_its_deadline(tmp_path):
    """The client takes it for failed."""
    add(tmp_path, 1)
    is_connected = True

    def load_version(folder):
        nonlocal is_connected
        is_connected = folder.name == "1"  # the second takes too long
        return load(folder)

    models = loaded(tmp_path, load_version=load_version)
    add(tmp_path, 2)
    with pytest.raises(RequestError) as caught:
        models.reconfigure(VersionPolicy(), {}, Caller(is_connected=lambda: is_connected))
    assert caught.value.code == grpc.StatusCode.CANCELLED
    assert states(models) == {1: "AVAILABLE", 2: "END"}
    assert models.find("m", None).version == 1


def test_a_configuration_of_an_empty_or_unreadable_folder_is_refused(tmp_path):
    add(tmp_path / "base", 1)
    models = loaded(tmp_path / "base")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    code, message = refusal(models, VersionPolicy())
    assert (code, "the base path cannot be read: " in message) == (grpc.StatusCode.UNAVAILABLE, True)
    (tmp_path / "base").mkdir()
    code, message = refusal(models, VersionPolicy())
    assert (code, "has no version folder" in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert models.find("m", None).version == 1


def test_an_emptied_folder_stops_nothing(tmp_path):
    add(tmp_path, 1)
    models = loaded(tmp_path)
    (tmp_path / "1" / "saved_model.pb").unlink()
    models.refresh()
    assert models.find("m", None).version == 1


def test_nothing_to_serve_is_an_error(tmp_path):
    add(tmp_path, 1)
    with pytest.raises(OSError, match="none of the versions 4"):
        loaded(tmp_path, VersionPolicy(specific=frozenset([4])))
    (tmp_path / "1" / "broken").touch()
    with pytest.raises(OSError, match="it is broken"):
        loaded(tmp_path)
