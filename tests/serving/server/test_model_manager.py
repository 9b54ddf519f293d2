"""Version policies, and the replacement of versions while requests run."""

import os
import threading
from types import SimpleNamespace

import pytest

from serving.server.errors import RequestError
from serving.server.model_manager import ModelManager, VersionPolicy, parse_policy, version_folders

LATEST = VersionPolicy(latest=1)


def add(base, *numbers):
    for number in numbers:
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / "saved_model.pb").touch()


def load(folder):
    if (folder / "broken").exists():
        raise OSError("it is broken")
    return SimpleNamespace(version=int(folder.name))


def loaded(base, policy=LATEST, load_version=load, labels=None):
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
    models.refresh(VersionPolicy())
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
