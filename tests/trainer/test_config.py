"""What a run is: checks, names, derived quantities, and its JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.helpers.tiny_run import PLAIN
from trainer.config import Options
from trainer.errors import OptionError


def changed(**values):
    return dataclasses.replace(PLAIN, **values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"batch": 0}, "--batch=0"),
        ({"batch": -8}, "--batch=-8"),
        ({"batch_per_replica": 0}, "--batch_per_replica=0"),
        ({"gamma": -1.0}, "--gamma=-1.0"),
        ({"gamma": float("nan")}, "--gamma=nan"),
        ({"kimg": 0.0}, "--kimg=0.0"),
        ({"kimg": float("nan")}, "--kimg=nan"),
        ({"tick": -1.0}, "--tick=-1.0"),
        ({"snap": 0}, "--snap=0"),
        ({"glr": 0.0}, "--glr=0.0"),
        ({"dlr": -0.1}, "--dlr=-0.1"),
        ({"workers": 0}, "--workers=0"),
        ({"mbstd_group": 0}, "--mbstd_group=0"),
        ({"seed": -1}, "--seed=-1"),
        ({"seed": 2**32}, "--seed=4294967296"),
        ({"batch_per_replica": 6}, "--batch_per_replica=6"),
        ({"p": 1.5, "aug": "fixed"}, "--p=1.5"),
        ({"p": float("nan"), "aug": "fixed"}, "--p=nan"),
        ({"target": 2.0}, "--target=2.0"),
        ({"ada_kimg": 0.0}, "--ada_kimg=0.0"),
        ({"aug": "some"}, "--aug=some"),
        ({"augpipe": "bgx"}, "--augpipe=bgx"),
        ({"ada_heuristic": "rx"}, "--ada_heuristic=rx"),
        ({"ada_heuristic": "rv"}, "--ada_heuristic=rv"),
        ({"validation": -1}, "--validation=-1"),
        ({"precision": "int8"}, "--precision=int8"),
        ({"style_mixing": -0.1}, "--style_mixing=-0.1"),
        ({"pl_weight": -1.0}, "--pl_weight=-1.0"),
        ({"pl_weight": 1.0, "batch_per_replica": 1}, "--batch_per_replica=1"),
        ({"pl_weight": 1.0, "batch_per_replica": 3, "mbstd_group": 3}, "--batch_per_replica=3"),
        ({"freezed": 8}, "--freezed=8"),  # D has 7 in front of its last block
        ({"profile_steps": (3,)}, "--profile_steps=3"),
        ({"profile_steps": (5, 5)}, "--profile_steps=5,5"),
        ({"metrics_samples": 0}, "--metrics_samples=0"),
        ({"checkpoint": 0}, "--checkpoint=0"),
        ({"keep_checkpoints": 0}, "--keep_checkpoints=0"),
        ({"max_bad_ticks": 0}, "--max_bad_ticks=0"),
        ({"cache": -1.0}, "--cache=-1.0"),
    ],
)
def test_refuses_with_one_line_that_names_the_value(values, named):
    with pytest.raises(OptionError) as refusal:
        changed(**values)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_accepts_the_limits():
    changed(gamma=0.0, seed=2**32 - 1, kimg=0.001, snap=1)
    changed(aug="fixed", p=1.0, freezed=7, target=-1.0, profile_steps=(0, 1), validation=1, ada_heuristic="rv")
    changed(batch_per_replica=2, pl_weight=2.0)
    changed(batch_per_replica=2)  # fewer images than a minibatch-stddev group: one group


def test_group_size_is_limited_by_the_chunk():
    assert PLAIN.discriminator().mbstd_group_size == 4
    assert changed(batch_per_replica=2).discriminator().mbstd_group_size == 2


@pytest.mark.parametrize(("batch_per_replica", "replicas", "steps"), [(32, 1, 1), (16, 2, 1), (8, 1, 4), (4, 2, 4)])
def test_num_accumulation_steps(batch_per_replica, replicas, steps):
    assert changed(batch_per_replica=batch_per_replica).num_accumulation_steps(replicas) == steps


@pytest.mark.parametrize(("batch", "batch_per_replica", "replicas"), [(32, 12, 1), (32, 16, 3), (32, 32, 2)])
def test_a_batch_that_does_not_divide_is_refused(batch, batch_per_replica, replicas):
    options = changed(batch=batch, batch_per_replica=batch_per_replica)
    with pytest.raises(OptionError) as refusal:
        options.num_accumulation_steps(replicas)
    for value in (f"--batch={batch}", f"--batch_per_replica={batch_per_replica}", f"{replicas} replicas"):
        assert value in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "stylegan3-t-faces-batch32-gamma2"),
        ({"gamma": 6.6, "cfg": "stylegan3-r"}, "stylegan3-r-faces-batch32-gamma6.6"),
        ({"gamma": 0.0, "desc": "first"}, "stylegan3-t-faces-batch32-gamma0-first"),
    ],
)
def test_description(values, name):
    assert changed(**values).description == name


def test_networks_follow_the_options():
    options = changed(label_dim=3, cbase=256, cmax=12, map_depth=5, image_channels=1, cfg="stylegan3-r")
    G, D = options.generator(), options.discriminator()
    assert (G.resolution, G.image_channels, G.label_dim, G.mapping_layers, G.kernel) == (16, 1, 3, 5, 1)
    assert (D.resolution, D.image_channels, D.label_dim, D.mapping_layers) == (16, 1, 3, 8)
    assert (G.channel_base, G.channel_max) == (512, 24)  # config R doubles them, in G only
    assert (D.channel_base, D.channel_max) == (256, 12)


def test_running_magnitudes_halve_in_20_kimg():
    decay = PLAIN.generator().magnitude_decay
    assert decay ** (20_000 / PLAIN.batch) == pytest.approx(0.5)


def test_averaging_half_life_is_10_kimg_per_32_images_of_batch():
    assert PLAIN.ema_half_life_nimg == 10_000
    assert changed(batch=8, batch_per_replica=8).ema_half_life_nimg == 2_500


def test_blur_fades_over_the_first_200_kimg_per_32_images_of_batch():
    options = changed(cfg="stylegan3-r", batch=16)
    assert [options.blur_sigma(n) for n in (0, 25_000, 50_000, 100_000, 10**9)] == [10.0, 7.5, 5.0, 0.0, 0.0]
    assert PLAIN.blur_sigma(0) == 0.0  # config T: none


def test_json_round_trip(tmp_path):
    options = changed(cond=True, desc="ö", max_images=3, seed=2**32 - 1, kimg=0.1, profile_steps=(2, 3), metrics=("a",))
    file = tmp_path / "options.json"
    options.write(file)
    assert Options.from_file(file) == options
    assert json.loads(file.read_text()) == json.loads(json.dumps(dataclasses.asdict(options)))


@pytest.mark.parametrize(
    "content",
    [None, "", "[1, 2]", "{}", '"text"', PLAIN.to_json()[:-20], '{"no_such_option": 1}', '{"batch": "eight"}'],
)
def test_an_unreadable_file_is_named(tmp_path, content):
    file = tmp_path / "options.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(OptionError) as refusal:
        Options.from_file(file)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


CHANGED = {
    **{"data": "/mnt/faces", "batch_per_replica": 8, "kimg": 1.0, "tick": 1.0, "snap": 1, "checkpoint": 1},
    **{"keep_checkpoints": 1, "max_bad_ticks": 1, "metrics": ("eqt50k_int",), "metrics_samples": 5, "cache": 1.0},
    **{"detector_dir": "/networks"},
    **{"histograms": True, "profile_steps": (1, 2), "workers": 1, "strategy": "cpu:2"},
}


def test_no_difference_in_what_only_moves_or_lengthens_a_run():
    assert PLAIN.differences(changed(**CHANGED)) == []


def test_every_other_option_makes_a_difference():
    values = {
        **{"cfg": "stylegan3-r", "data_name": "cats", "data_digest": "sha256:1", "resolution": 32, "image_channels": 1},
        **{"num_images": 63, "label_dim": 3, "batch": 64, "gamma": 3.0, "seed": 1, "mirror": True, "cond": True},
        **{"cbase": 64, "cmax": 8, "map_depth": 3, "mbstd_group": 2, "precision": "bf16", "glr": 0.1, "dlr": 0.1},
        **{"r1_interval": 8, "style_mixing": 0.5, "pl_weight": 1.0, "pl_interval": 2, "freezed": 1, "aug": "ada"},
        **{"augpipe": "bg", "p": 0.5, "target": 0.5, "ada_kimg": 1.0, "validation": 5, "init_from": "/x"},
        **{"max_images": 5, "desc": "x"},
    }
    fields = {field.name for field in dataclasses.fields(Options)}
    assert set(values) | set(CHANGED) | {"ada_heuristic"} == fields
    for name, value in values.items():
        (line,) = changed(**{name: value}).differences(PLAIN)
        assert f"--{name}: {getattr(PLAIN, name)} in the checkpoint, {value} now" == line
    held_out = changed(validation=5)
    assert len(changed(validation=5, ada_heuristic="rv").differences(held_out)) == 1
    assert len(changed(gamma=3.0, seed=1).differences(PLAIN)) == 2


def test_a_model_to_begin_with_leaves_nothing_to_ramp_up():
    assert PLAIN.from_nothing
    begun = changed(cfg="stylegan3-r", init_from="/x")
    assert not begun.from_nothing
    assert not begun.blurs
    assert begun.blur_sigma(0) == 0


def test_precisions_are_keras_policies():
    assert [changed(precision=p).policy for p in ("fp32", "bf16", "fp16")] == [
        "float32",
        "mixed_bfloat16",
        "mixed_float16",
    ]
