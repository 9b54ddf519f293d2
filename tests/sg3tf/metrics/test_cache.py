"""Statistics of data are computed once and never stale; a killed pass resumes where it was."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sg3tf
from sg3tf.metrics import METRICS, cache, compute, feature_stats
from sg3tf.metrics.cache import Cache, default_cache_dir
from sg3tf.metrics.feature_stats import MOMENTS, ROWS, FeatureCollector, FeatureRequest, Moments
from sg3tf.metrics.features import FeatureExtractor, generated_cache_key
from sg3tf.metrics.samples import Samples
from tests.helpers.metric_stubs import Colors, Data, MeanColor

ROOT = Path(__file__).parents[3]
NAMES = ["fid50k_full", "pr50k3_full", "kid50k"]
COUNT, BATCH = 96, 8


def images(seed: int = 0) -> Data:
    return Data(np.random.default_rng(seed).integers(0, 256, [80, 3], np.uint8))


def values(folder: Path | None, data: Data, G: Any = None, **options: Any) -> dict[str, float]:
    given = {"names": NAMES, "detector_dir": "x", "num_samples": COUNT, "batch": BATCH, "cache_dir": folder, **options}
    return compute(G=G or Colors(), data=data, **given)


def read(folder: Path | None, data: Data, **options: Any) -> int:
    """Number of images of the data that were read."""
    data.read.clear()
    values(folder, data, **options)
    return len(set(data.read))


def test_features_of_data_are_computed_once(loaded: dict[str, MeanColor], tmp_path: Path):
    data = images()
    first = values(tmp_path, data)
    assert len(data.read) == 80
    data.read.clear()
    assert values(tmp_path, data, num_samples=COUNT) == first == values(None, images())
    assert not data.read
    assert read(tmp_path, data, names=["fid50k"]) == 0  # the same images, as there are fewer
    assert not list((tmp_path / "unfinished").iterdir())


def test_nothing_is_stale(loaded: dict[str, MeanColor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Everything that decides the content is part of the name."""
    name = ["fid50k_full"]
    assert read(tmp_path, images(), names=name) == 80
    assert read(tmp_path, images(1), names=name) == 80
    part = images()
    part.part = "sha256:half"
    assert read(tmp_path, part, names=name) == 80
    changed = images()
    changed.cache_digest = "sha256:other times"  # of files that keep their sizes, and so the digest
    assert read(tmp_path, changed, names=name) == 80
    assert read(tmp_path, images(), names=["sfid50k_full"]) == 80
    assert read(tmp_path, images(), names=["kid50k_full"]) == 80
    loaded["inception"].digest = "sha256:another network"
    assert read(tmp_path, images(), names=name) == 80
    assert read(tmp_path, images(), names=name) == 0
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert read(tmp_path, images(), names=name) == 80


@pytest.mark.parametrize("damage", ["cut", "changed", "no about", "nonsense"])
def test_damaged_files_are_computed_again(
    loaded: dict[str, MeanColor], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
):
    data = images()
    first = values(tmp_path, data)
    entries = list((tmp_path / "features").iterdir())
    assert len(entries) == 3
    for entry in entries:
        file = next(entry.glob("[!a]*.npy")) if damage in ("cut", "changed") else entry / "about.json"
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        {
            "cut": lambda file=file, content=content: file.write_bytes(content[:-9]),
            "changed": lambda file=file, content=content: file.write_bytes(content),
            "no about": file.unlink,
            "nonsense": lambda file=file: file.write_text("[1]"),
        }[damage]()
    data.read.clear()
    assert values(tmp_path, data) == first
    assert len(data.read) == 80
    said = [record.getMessage() for record in caplog.records if "computed again" in record.getMessage()]
    assert len(said) == 3 and all("damaged" in line for line in said)
    assert read(tmp_path, data) == 0


def test_moments_and_rows_are_loaded_as_stored(tmp_path: Path):
    cache, rng = Cache(tmp_path), np.random.default_rng(0)
    rows = rng.standard_normal([7, 3]).astype(np.float32)
    moments = Moments(3)
    moments.add(rows)
    cache.store({"a": 1}, rows)
    cache.store({"a": 2}, moments)
    np.testing.assert_array_equal(cache.load({"a": 1}), rows)
    found = cache.load({"a": 2})
    assert isinstance(found, Moments) and found.count == 7
    np.testing.assert_array_equal(found.mean, moments.mean)
    np.testing.assert_array_equal(found.covariance, moments.covariance)
    assert cache.load({"a": 3}) is None
    assert Cache(None).load({"a": 1}) is None


def test_names_of_entries_do_not_change():
    """Recorded from the first version, so that its caches stay valid."""
    data = {"data": "sha256:data", "part": "sha256:all"}
    for request, name in (
        (
            FeatureRequest("inception", "pool", MOMENTS, 41),
            "2e3356dfc17219e356a384fc902b75bf7005515e9b0c1faac2213645c10f4200",
        ),
        (
            FeatureRequest("vgg16", "features", ROWS, 41),
            "29938e4970ef60e59f141ca2f03292a01e1cc3af9bb86cfdc225341d2e570dbf",
        ),
    ):
        fields = request.cache_key_fields() | {"detector_digest": f"sha256:{request.detector}"} | data
        assert cache.cache_key(fields) == name


def test_a_pass_of_another_precision_is_another():
    G = sg3tf.Generator.from_preset("stylegan3-t", resolution=16, channel_base=128, channel_max=4, z_dim=4, w_dim=4)
    samples = Samples(4, 4, 0, None)
    other = generated_cache_key(G.with_dtype("mixed_bfloat16"), samples)
    assert other != generated_cache_key(G, samples) == generated_cache_key(G.with_dtype("float32"), samples)


def test_default_cache_dir(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_dir() == Path("/somewhere/sg3tf/metrics")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache/sg3tf/metrics"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError, as for a user without an entry
    assert default_cache_dir() is None


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Every write to a file fails, with an error of the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fault", ["not a folder", "full", "no temporary folder"])
def test_a_cache_that_cannot_be_written_costs_no_result(
    loaded: dict[str, MeanColor],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
):
    expected, folder = values(None, images()), tmp_path / "cache"
    monkeypatch.setattr(feature_stats, "SAVE_INTERVAL_S", 0.0)
    if fault == "not a folder":
        folder.touch()
    if fault == "no temporary folder":
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with full_disk() if fault == "full" else contextlib.nullcontext():
        assert values(None if fault == "no temporary folder" else folder, images()) == expected
    said = {"not a folder": "cannot be written", "full": "rows stay in memory", "no temporary folder": "no temporary"}
    assert any(said[fault] in record.getMessage() for record in caplog.records)


# --- Interrupted passes -----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from unittest import mock
from sg3tf.metrics import detectors, feature_stats
from tests.sg3tf.metrics import test_cache
from tests.helpers.metric_stubs import two_detectors

def progress(task, done, total):
    if (task, done) == ("generated images", 56):
        os.kill(os.getpid(), signal.SIGKILL)

found = two_detectors()
feature_stats.SAVE_INTERVAL_S = 0.0
with mock.patch.object(detectors, "load", lambda name, folder: found[name]):
    test_cache.values(Path(sys.argv[1]), test_cache.images(), progress=progress)
"""


@pytest.mark.slow
def test_a_killed_pass_resumes_to_the_same_bits(loaded: dict[str, MeanColor], tmp_path: Path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL

    others = [{"G": Colors(shift=0.01)}, {"seed": 1}, {"num_samples": COUNT + 1}, {"batch": BATCH * 2}]
    for other in others:  # these have passes of their own
        seen: list[int] = []
        values(tmp_path, images(), **other, progress=lambda task, done, total, seen=seen: seen.append(done))
        assert seen[0] == 0, other

    G, data = Colors(), images()
    assert values(tmp_path, data, G) == values(None, images())
    assert not data.read  # the killed process had
    assert G.seen == COUNT - 56
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_pass_over_data_resumes(loaded: dict[str, MeanColor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feature_stats, "SAVE_INTERVAL_S", 0.0)

    def stop(task: str, done: int, total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        values(tmp_path, images(), progress=stop)
    data = images()
    assert values(tmp_path, data) == values(None, images())
    assert min(data.read) == 40


def test_a_process_killed_while_it_stores_features(
    loaded: dict[str, MeanColor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another one that waited for it finds the pass finished, and some of the statistics stored."""
    store, cached = Cache.store, FeatureExtractor._load_cached
    stored: list[Any] = []

    def killed(self: Cache, *args: Any) -> None:
        if stored:
            raise KeyboardInterrupt
        stored.append(store(self, *args))

    def others_first(self: FeatureExtractor, described: Any) -> Any:
        found = cached(self, described)
        if not stored:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(FeatureExtractor, "_load_cached", cached)
                patch.setattr(Cache, "store", killed)
                values(tmp_path, images())
        return found

    monkeypatch.setattr(FeatureExtractor, "_load_cached", others_first)
    assert values(tmp_path, images()) == values(None, images()) and stored


def test_a_collector_resumes_from_its_saved_state(tmp_path: Path):
    requests = [
        FeatureRequest("d", "a", MOMENTS, 10),
        FeatureRequest("d", "a", ROWS, 7),
        FeatureRequest("d", "b", MOMENTS, 4),
    ]
    sizes = {("d", "a"): 3, ("d", "b"): 2}
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal([10, size]).astype(np.float32) for size in (3, 2))

    def fill(collector: FeatureCollector, stop: int) -> None:
        while collector.num_done < stop:
            index = slice(collector.num_done, collector.num_done + 2)
            made = {("d", "a"): a[index], ("d", "b"): b[index]}
            collector.add({output: made[output] for output in collector.outputs_at(collector.num_done)})

    first = FeatureCollector(requests, sizes, tmp_path)
    fill(first, 6)
    first.save()
    fill(first, 8)  # lost
    second = FeatureCollector(requests, sizes, tmp_path)
    assert (second.num_images, second.num_done, second.outputs_at(6), second.outputs_at(2)) == (
        *(10, 6, (("d", "a"),)),
        (("d", "a"), ("d", "b")),
    )
    fill(second, 10)
    moments, rows, few = (second.stats()[request] for request in requests)
    np.testing.assert_array_equal(rows, a[:7])
    assert (moments.count, few.count) == (10, 4)
    np.testing.assert_allclose(moments.covariance, np.cov(a.T), rtol=1e-12)
    np.testing.assert_allclose(few.covariance, np.cov(b[:4].T), rtol=1e-12)


def test_another_process_with_the_same_key_waits(tmp_path: Path):
    """Threads stand for processes here, as the lock belongs to an open file."""
    order: list[str] = []

    def later() -> None:
        with Cache(tmp_path).unfinished({"a": 1}) as folder:
            order.append("second")
            assert not list(folder.iterdir())

    with Cache(tmp_path).unfinished({"a": 1}) as folder:
        (folder / "x").touch()
        thread = threading.Thread(target=later)
        thread.start()
        with Cache(tmp_path).unfinished({"a": 2}):
            time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert not list((tmp_path / "unfinished").iterdir())


def test_an_error_of_the_callback_ends_the_wait_for_another_process(
    loaded: dict[str, MeanColor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As that of a training run which is asked to stop."""
    tasks: list[str] = []

    def stop(task: str, _done: int, _total: int) -> None:
        tasks.append(task)
        if len(tasks) == 3:
            raise ZeroDivisionError

    def measure() -> None:
        with contextlib.suppress(ZeroDivisionError):
            values(tmp_path, images(), progress=stop)

    monkeypatch.setattr(cache, "cache_key", lambda _: "the same")
    thread = threading.Thread(target=measure)
    with Cache(tmp_path).unfinished({}):
        thread.start()
        thread.join(20)
        ended = not thread.is_alive()
    thread.join(20)
    assert ended and tasks == ["waiting for another process"] * 3


def test_abandoned_passes_are_removed(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), Cache(tmp_path).unfinished({"a": 1}) as old:
        raise ZeroDivisionError
    with Cache(tmp_path).unfinished({"a": 2}):
        assert old.is_dir()
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(old, (week_ago, week_ago))
    with Cache(tmp_path).unfinished({"a": 3}):
        assert not old.exists()
    assert not list((tmp_path / "unfinished").iterdir())


def test_folder_in_use_stays_when_the_clock_jumps_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Cache(tmp_path).unfinished({"a": 1}) as used:
        (used / "x").touch()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 30 * 24 * 3600)
        with Cache(tmp_path).unfinished({"a": 2}):
            assert (used / "x").exists()
    assert not list((tmp_path / "unfinished").iterdir())


def test_without_a_folder_nothing_stays(loaded: dict[str, MeanColor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    values(None, images())
    assert not list(tmp_path.iterdir())
    assert NAMES[0] in METRICS
