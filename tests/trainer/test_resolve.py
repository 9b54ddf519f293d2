"""Options and images of a run, from given options, the data, and the run to resume."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.dataset import open_dataset
from sg3tf.images import save_png
from tests.helpers import tiny_run
from tests.helpers.tiny_run import SIZE
from trainer.config import Options
from trainer.errors import OptionError
from trainer.resolve import resolve
from trainer.run_dir import ResumePoint
from trainer.transfer import check_init_from


@pytest.fixture
def given(faces):
    return {"data": str(faces), "batch": 8, **SIZE}


def resumed(options: Options) -> ResumePoint:
    return ResumePoint(Path("run"), Path("run/checkpoints/000000016"), 0.016, options, [], [], [])


def test_a_new_run_has_the_defaults_of_python(given, faces):
    options, dataset, held_out = resolve(given, 1, None)
    assert options == Options.for_dataset(dataset, **given)
    assert len(dataset) == options.num_images == 64 and held_out is None


def test_images_are_held_out(given):
    options, dataset, held_out = resolve({**given, "validation": 10, "max_images": 30}, 1, None)
    assert (len(dataset), len(held_out), options.num_images) == (20, 10, 20)


def test_classes_are_balanced_after_images_are_held_out(given):
    options, dataset, held_out = resolve({**given, "validation": 8, "balance": True, "cond": True}, 1, None)
    assert options.num_images == len(dataset) > 56
    for part in (dataset, held_out):
        counts = np.sum([part.label(i) for i in range(len(part))], axis=0)
        assert len(counts) == 3 and counts.min() == counts.max() > 0
    before = dataclasses.replace(options, data_order=2)
    assert len(resolve({}, 1, resumed(before))[2]) == 8


@pytest.mark.parametrize("name", ["data", "batch"])
def test_required_options(given, name):
    del given[name]
    with pytest.raises(OptionError, match=f"--{name}: is missing"):
        resolve(given, 1, None)


def test_an_empty_name_of_the_data_is_missing(given):
    """As of an unset variable of a shell; rather than the current folder."""
    with pytest.raises(OptionError, match="--data: is missing; give the images to train on"):
        resolve({**given, "data": ""}, 1, None)


def test_the_batch_is_divided_among_devices(given):
    assert resolve(given, 2, None)[0].batch_per_replica == 4
    assert resolve({**given, "batch_per_replica": 2}, 2, None)[0].batch_per_replica == 2
    with pytest.raises(OptionError, match="--batch=8: must be a multiple of the 3 devices"):
        resolve(given, 3, None)
    with pytest.raises(OptionError, match="--batch_per_replica=3"):
        resolve({**given, "batch_per_replica": 3, "mbstd_group": 3}, 1, None)


def test_options_without_effect_are_refused(given):
    with pytest.raises(OptionError, match="--p=0.5: has no effect with --aug=ada"):
        resolve({**given, "p": 0.5}, 1, None)


def test_a_resumed_run_keeps_what_is_not_given(faces):
    before = tiny_run.options(faces, cond=True, mirror=True, seed=3, gamma=7.0, validation=4, snap=3)
    before = dataclasses.replace(before, num_images=60, data_order=1)  # also of an older version
    options, dataset, held_out = resolve({"gamma": 1.0}, 1, resumed(before))
    assert options == dataclasses.replace(before, gamma=1.0)
    assert (len(dataset), len(held_out)) == (60, 4)


@pytest.mark.parametrize("parts", [{"validation": 4}, {"max_images": 40}])
def test_a_resumed_run_keeps_its_choice_of_images(faces, parts):
    def names(order):
        before = dataclasses.replace(tiny_run.options(faces, **parts), num_images=60, data_order=order)
        _, dataset, _ = resolve({}, 1, resumed(before))
        return [dataset.where(i) for i in range(len(dataset))]

    assert names(1) == names(2)
    assert names(2) != names(3)


def test_a_resumed_run_keeps_the_precision_that_it_has_measured(given, faces):
    for precision in ("fp32", "bf16"):
        point = resumed(dataclasses.replace(resolve(given, 1, None)[0], precision=precision))
        assert resolve({**given, "precision": "auto"}, 1, point)[0].precision == precision


def test_a_resumed_run_adapts_to_another_number_of_devices(faces):
    before = tiny_run.options(faces, batch_per_replica=4)
    assert [resolve({}, replicas, resumed(before))[0].batch_per_replica for replicas in (1, 2, 4)] == [4, 4, 2]


@pytest.mark.parametrize(
    "more", [{}, {"init_from": "/nowhere"}, {"init_from": "../../../nowhere"}, {"init_from": "/where/it/is/now"}]
)
def test_a_resumed_run_does_not_need_the_model_that_it_started_from(faces, more, monkeypatch):
    """Given or not, by its old name, relatively, or by the name that it has now."""
    monkeypatch.chdir("/usr/bin")
    before = tiny_run.options(faces, init_from="/nowhere")
    point = resumed(before)
    options = resolve(more, 1, point)[0]
    assert options.init_from == "/nowhere" and options.ada_kimg == before.ada_kimg
    assert point.changes_to(options) == []


def test_a_resumed_run_knows_its_image_files(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        save_png(tmp_path / "cats" / f"{i}.png", np.full([8, 8, 3], 25 * i, np.uint8))
    point = resumed(resolve({**given, "data": "cats", "resolution": 16}, 1, None)[0])
    (tmp_path / "cats").rename(tmp_path / "dogs")
    with pytest.raises(OptionError, match=rf"--data={tmp_path}/cats: does not exist; give the path that the images"):
        resolve({}, 1, point)
    (change,) = point.changes_to(resolve({"data": "dogs"}, 1, point)[0])
    assert str(change) == f"--data from {tmp_path}/cats to {tmp_path}/dogs" and change.allowed
    save_png(tmp_path / "dogs" / "3.png", np.zeros([8, 8, 3], np.uint8))
    with pytest.raises(
        OptionError, match=r"--data=.*/dogs: holds other images .* \(4 for training, 3 for training then\)"
    ):
        point.changes_to(resolve({"data": "dogs"}, 1, point)[0])
    with pytest.raises(OptionError, match=r"cannot change .*--resolution from 16 to 32"):
        point.changes_to(resolve({"data": "dogs", "resolution": 32}, 1, point)[0])


def test_paths_are_recorded_so_that_a_run_can_be_resumed_from_another_folder(given, faces, tmp_path, monkeypatch):
    monkeypatch.chdir(faces.parent)
    relative = {**given, "data": faces.name, "metrics": (), "detector_dir": "detectors"}
    options = resolve(relative, 1, None)[0]
    assert (options.data, options.detector_dir) == (str(faces), str(faces.parent / "detectors"))
    without = {name: value for name, value in relative.items() if name != "data"}
    assert Path(Options.for_dataset(open_dataset(faces.name), **without).data).parent == faces
    before = dataclasses.replace(options, data=faces.name, detector_dir="detectors")  # of an older version
    changes = resumed(before).changes_to(resolve({}, 1, resumed(before))[0])
    assert [(change.option, change.new) for change in changes] == [
        ("data", str(faces)),
        ("detector_dir", str(faces.parent / "detectors")),
    ]
    monkeypatch.chdir(tmp_path)
    assert resolve({}, 1, resumed(options))[0] == options
    with pytest.raises(OptionError, match=f"--data={faces.name}: does not exist in {tmp_path}; give the path"):
        resolve({}, 1, resumed(before))


def test_a_resumed_run_does_not_change_the_model_that_it_started_from(faces, tmp_path):
    (tmp_path / "old.keras").touch()
    point = resumed(tiny_run.options(faces, init_from=str(tmp_path / "old.keras")))
    options = resolve({"init_from": str(tmp_path / "new.keras")}, 1, point)[0]
    with pytest.raises(OptionError, match=r"cannot change --init_from from .*old\.keras to .*new\.keras"):
        point.changes_to(options)


DIGESTS = ["0" * 64, "1" * 64]


@pytest.mark.parametrize(
    ("recorded", "given", "same"),
    [
        ("hf://user/a@v1", "hf://user/a@v1", True),
        ("hf://user/a", "hf://user/a/", True),
        ("hf://user/a", "hf://user/b", False),
        ("hf://user/a@v1", "hf://user/a@v2", False),
        ("hf://user/a@v1", "hf://user/a", False),
        ("hf://user/a/x.keras", "hf://user/a/y.keras", False),
        ("hf://user/a", "/nowhere/a.keras", False),
        ("hf://user/a", f"https://host/a.keras#sha256={DIGESTS[0]}", False),
        (f"https://host/a.keras#sha256={DIGESTS[0]}", f"https://mirror/b.keras#sha256={DIGESTS[0]}", True),
        (f"https://host/a.keras#sha256={DIGESTS[0]}", f"https://host/a.keras#sha256={DIGESTS[1]}", False),
        (str(Path(__file__)), "hf://user/a", False),
    ],
)
def test_a_resumed_run_does_not_change_the_address_that_it_started_from(faces, recorded, given, same):
    """An address does not move, other than a path."""
    point = resumed(tiny_run.options(faces, init_from=recorded))
    options = resolve({"init_from": given}, 1, point)[0]
    if same:
        assert options.init_from == recorded and point.changes_to(options) == []
    else:
        with pytest.raises(OptionError, match=re.escape(f"cannot change --init_from from {recorded} to {given}; ")):
            point.changes_to(options)


def test_a_new_run_records_where_it_starts_from_and_checks_it(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = resolve({**given, "init_from": "g.keras"}, 1, None)[0]
    assert options.init_from == str(tmp_path / "g.keras")
    assert resolve({**given, "init_from": "hf://user/faces"}, 1, None)[0].init_from == "hf://user/faces"
    with pytest.raises(OptionError, match=r"--init_from=.*g\.keras"):
        check_init_from(options)
