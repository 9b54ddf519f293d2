"""Options of a run: defaults, limits, derived quantities, flags, JSON, and the table in the documentation."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

from sg3tf.data.dataset import open_dataset
from sg3tf.models.ablations import ABLATION_PRESETS
from sg3tf.utils.resolution import Size
from tests.helpers.tiny_run import PLAIN
from tools import options_page
from trainer import config, losses, option_flags, precision, step_order
from trainer.config import FIELDS, Change, Options, read_options
from trainer.errors import OptionError
from trainer.step_order import blur_sigma

ROOT = Path(__file__).parents[2]
LEGACY = ROOT / "tests" / "data" / "legacy" / "options"
DATA = {
    **{"data": "/data/faces", "data_name": "faces", "data_digest": "sha256:0"},
    **{"resolution": 256, "image_channels": 3, "num_images": 64, "label_dim": 0},
}


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
        ({"kimg": float("inf")}, "--kimg=inf"),
        ({"gamma": float("inf")}, "--gamma=inf"),
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
        ({"lecam": -1.0}, "--lecam=-1.0"),
        ({"lecam": 0.1, "loss": "relativistic"}, "--lecam=0.1"),
        ({"loss": "hinge"}, "--loss=hinge"),
        ({"freezed": 8}, "--freezed=8"),  # D has 7 before its last block
        ({"profile_steps": (3,)}, "--profile_steps=3"),
        ({"profile_steps": (5, 5)}, "--profile_steps=5,5"),
        ({"metrics_samples": 0}, "--metrics_samples=0"),
        ({"checkpoint": 0}, "--checkpoint=0"),
        ({"keep_checkpoints": 0}, "--keep_checkpoints=0"),
        ({"max_bad_ticks": 0}, "--max_bad_ticks=0"),
        ({"cache": -1.0}, "--cache=-1.0"),
        ({"desc": "a/b"}, "--desc=a/b"),
    ],
)
def test_refuses_with_one_line_that_names_the_value(values, named):
    with pytest.raises(OptionError) as refusal:
        changed(**values)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_loss_has_its_phases():
    assert set(losses.LOSSES) == set(step_order.PAIRED)


def test_accepts_the_limits():
    changed(gamma=0.0, seed=2**32 - 1, kimg=0.001, snap=1)
    changed(aug="fixed", p=1.0, freezed=7, target=-1.0, profile_steps=(0, 1), validation=1, ada_heuristic="rv")
    changed(batch_per_replica=2, pl_weight=2.0)
    changed(batch_per_replica=2)  # fewer images than a group of the minibatch standard deviation: one group


def test_group_size_is_limited_by_the_images_at_a_time():
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
    assert (G.resolution, G.image_channels, G.label_dim, G.mapping_layers, G.conv_kernel) == (16, 1, 3, 5, 1)
    assert (D.resolution, D.image_channels, D.label_dim, D.mapping_layers) == (16, 1, 3, 8)
    assert (G.channel_base, G.channel_max) == (512, 24)  # config R doubles them, in G only
    assert (D.channel_base, D.channel_max) == (256, 12)


def test_running_magnitudes_halve_in_20_kimg():
    decay = PLAIN.generator().magnitude_ema_beta
    assert decay ** (20_000 / PLAIN.batch) == pytest.approx(0.5)


def test_averaging_half_life_is_10_kimg_per_32_images_of_batch():
    assert PLAIN.ema_half_life_nimg == 10_000
    assert changed(batch=8, batch_per_replica=8).ema_half_life_nimg == 2_500


def test_blur_fades_over_the_first_200_kimg_per_32_images_of_batch():
    options = changed(cfg="stylegan3-r", batch=16)
    sigmas = [blur_sigma(n, options.blur_fade_nimg) for n in (0, 25_000, 50_000, 100_000, 10**9)]
    assert sigmas == [10.0, 7.5, 5.0, 0.0, 0.0]
    assert PLAIN.blur_fade_nimg is None  # config T: none


def test_json_round_trip(tmp_path):
    options = changed(cond=True, desc="ö", max_images=3, seed=2**32 - 1, kimg=0.1, profile_steps=(2, 3), metrics=("a",))
    file = tmp_path / "options.json"
    changes = [Change(1.5, "gamma", 3.0, 2.0), Change(2.0, "metrics", (), ("a",))]
    options.write(file, changes)
    assert Options.from_file(file) == options
    found, found_changes = read_options(file)
    assert found == options and list(map(str, found_changes)) == list(map(str, changes))
    values = json.loads(file.read_text())
    assert values.pop("changes")[0] == {"kimg": 1.5, "option": "gamma", "old": 3.0, "new": 2.0}
    assert values == json.loads(json.dumps(dataclasses.asdict(options)))


@pytest.mark.parametrize("name", ["stylegan3-t", "stylegan2-noaug"])
def test_files_from_before_the_layout_changed(name):
    """Every value as it stands in the file, whatever the defaults are now."""
    file = LEGACY / f"{name}.json"
    options, changes = read_options(file)
    new = {"posthoc_ema": False, "loss": "logistic", "lecam": 0.0, "data_order": 1, "balance": False}
    new |= {"communication": "auto", "start_timeout": 600.0, "reduce_timeout": 0.0, "heartbeat_timeout": 100.0}
    assert json.loads(json.dumps(dataclasses.asdict(options))) == json.loads(file.read_text()) | new
    assert changes == []


def test_options_that_older_files_lack(tmp_path):
    values = json.loads((LEGACY / "stylegan3-t.json").read_text())
    for name in ("detector_dir", "aug"):
        del values[name]
    file = tmp_path / "options.json"
    file.write_text(json.dumps(values))
    options = Options.from_file(file)
    assert (options.detector_dir, options.aug, options.data_order) == (None, "noaug", 1)


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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"gama": 2.0}, "'gama' is not an option of this version; remove it"),
        (
            {"changes": [{"kimg": 1.0, "option": "gama", "old": 2.0, "new": 3.0}]},
            "'gama' in 'changes' is not an option of this version; remove the change",
        ),
        ({"gamma": "big"}, "gamma='big': must be float"),
        ({"batch": None}, "batch=None: must be int"),
        ({"mirror": 3}, "mirror=3: must be bool"),
        ({"max_images": "x"}, "max_images='x': must be int or NoneType"),
        ({"metrics": "fid50k"}, "metrics='fid50k': must be tuple"),
    ],
)
def test_a_file_edited_by_hand(tmp_path, edit, message):
    file = tmp_path / "options.json"
    file.write_text(json.dumps(json.loads(PLAIN.to_json()) | edit))
    with pytest.raises(OptionError, match=re.escape(f"{file}: cannot be read as training options ({message})")):
        Options.from_file(file)
    file.write_text(json.dumps(json.loads(PLAIN.to_json()) | {"kimg": 3}))  # a whole number for a float
    assert Options.from_file(file).kimg == 3


#: For each option, another value than that of PLAIN.
OTHER_VALUES = {
    **{"posthoc_ema": True, "loss": "relativistic", "lecam": 0.5},
    # A resumed run cannot change these.
    **{"cfg": "stylegan3-r", "data_name": "cats", "data_digest": "sha256:1", "resolution": 32, "image_channels": 1},
    **{"num_images": 63, "label_dim": 3, "batch": 64, "seed": 1, "mirror": True, "cond": True, "balance": True},
    **{"cbase": 64, "cmax": 8, "map_depth": 3, "mbstd_group": 2},
    **{"r1_interval": 8, "pl_interval": 2, "freezed": 1, "aug": "ada", "augpipe": "bg", "p": 0.5},
    **{"validation": 5, "init_from": "/x", "max_images": 5, "desc": "x", "data_order": 1},
    # These change the result, and may change.
    **{"batch_per_replica": 8, "gamma": 3.0, "glr": 0.1, "dlr": 0.1, "target": 0.5, "ada_kimg": 1.0},
    **{"style_mixing": 0.5, "pl_weight": 1.0, "precision": "bf16"},
    # These do not.
    **{"data": "/mnt/faces", "kimg": 1.0, "tick": 1.0, "snap": 1, "checkpoint": 1, "keep_checkpoints": 1},
    **{"max_bad_ticks": 1, "metrics": ("eqt50k_int",), "metrics_samples": 5, "cache": 1.0, "histograms": True},
    **{"detector_dir": "/networks", "profile_steps": (1, 2), "workers": 1, "strategy": "cpu:2"},
    **{"communication": "ring", "start_timeout": 5.0, "reduce_timeout": 60.0, "heartbeat_timeout": 20.0},
}
RESUMABLE = list(OTHER_VALUES)[list(OTHER_VALUES).index("batch_per_replica") :]
FREE_OF_RESULT = [*OTHER_VALUES][list(OTHER_VALUES).index("data") :]


def test_resumable_options_and_options_that_affect_the_result():
    assert {*OTHER_VALUES, "ada_heuristic"} == set(FIELDS)
    assert {name for name, field in FIELDS.items() if field.metadata["resumable"]} == set(RESUMABLE)
    unaffected = {name for name, field in FIELDS.items() if not field.metadata["affects_result"]}
    assert unaffected == {*FREE_OF_RESULT, "data_name", "desc"}
    assert set(PLAIN.reproducibility_fields) == set(FIELDS) - unaffected


def test_every_other_value_is_a_change():
    for name, value in OTHER_VALUES.items():
        (change,) = changed(**{name: value}).changes_since(PLAIN, 12.5)
        assert change == Change(12.5, name, getattr(PLAIN, name), value)
    assert str(Change(12.5, "metrics", (), ("a", "b"))) == "--metrics from none to a,b"
    assert str(Change(12.5, "num_images", 64, 63)) == "num_images from 64 to 63"  # not a flag
    assert PLAIN.changes_since(PLAIN, 12.5) == []


def test_a_run_from_a_model_has_no_ramp_up():
    assert PLAIN.from_scratch
    begun = changed(cfg="stylegan3-r", init_from="/x")
    assert not begun.from_scratch
    assert begun.blur_fade_nimg is None


def test_precisions_are_keras_policies():
    assert [changed(precision=p).policy for p in ("fp32", "bf16", "fp16")] == [
        "float32",
        "mixed_bfloat16",
        "mixed_float16",
    ]


# Defaults.


def new(**values):
    return Options(**{"batch": 32, **DATA, **values})


@pytest.mark.parametrize(("resolution", "published"), [(128, 0.5), (256, 2), (512, 8.2), (1024, 32.8)])
def test_gamma_is_the_published_one_at_batch_32(resolution, published):
    for cfg in ("stylegan3-t", "stylegan3-r"):
        assert new(cfg=cfg, resolution=resolution).gamma == pytest.approx(published, rel=0.03)


def test_pictures_that_are_not_square(tmp_path):
    wide = new(resolution=Size(512, 256))
    assert wide.gamma == pytest.approx(new(resolution=512).gamma / 2, rel=1e-3)  # by the number of pixels
    assert (wide.generator().resolution, wide.discriminator().resolution) == ((512, 256), (512, 256))
    wide.write(tmp_path / "options.json")
    again = Options.from_file(tmp_path / "options.json")
    assert again == wide and type(again.resolution) is Size
    (change,) = wide.changes_since(new(resolution=512, gamma=wide.gamma), 1.0)
    assert str(change) == "--resolution from 512 to 512x256"
    values = flags.FlagValues()
    option_flags.define_flags(values)
    values(["train", "--resolution=512x256"])
    assert option_flags.given_options(values) == {"resolution": Size(512, 256)}
    with pytest.raises(flags.IllegalFlagValueError, match="resolution='512x': give the side of a square, or width x"):
        values(["train", "--resolution=512x"])
    with pytest.raises(OptionError, match="--freezed=17: D has 16 convolutions"):
        new(resolution=Size(192, 128), freezed=17)  # halved five times, to 6 x 4


def test_gamma_of_stylegan2_and_of_other_batches():
    assert new(cfg="stylegan2", resolution=1024).gamma == pytest.approx(6.55, rel=1e-3)
    assert new(batch=8).gamma == pytest.approx(4 * new().gamma, rel=1e-3)


def test_gamma_of_small_images_is_what_has_trained_them():
    """The published rule gives 0.032 and 0.128; with that, networks of 32 pixels made one shape for all."""
    for resolution in (32, 64, Size(96, 64)):
        for cfg in ("stylegan3-t", "stylegan3-r"):
            assert new(cfg=cfg, resolution=resolution).gamma == 0.5
    assert new(resolution=64, batch=4).gamma == pytest.approx(1.024)  # the rule, where it gives more
    assert new(cfg="stylegan2", resolution=32).gamma == pytest.approx(0.0064, rel=1e-3)  # not measured


def test_gamma_far_away_is_worth_a_warning():
    usual = new().gamma
    for factor in (0, 0.26, 1, 3.9):
        assert new(gamma=usual * factor).gamma_warning is None
    for factor in (0.24, 4.1):
        warning = new(gamma=usual * factor).gamma_warning
        assert f"--gamma={usual * factor:g}" in warning and "2.048" in warning and "\n" not in warning


def test_config_r_that_sees_no_sharp_image_is_worth_a_warning():
    """The blur fades over 200 kimg with a batch of 32."""
    for changes in ({}, {"cfg": "stylegan3-t"}, {"batch": 4}, {"init_from": "faces.keras"}):
        options = new(**{"cfg": "stylegan3-r", "kimg": 40, "batch": 32, **changes})
        expected = 0 if changes else 1
        assert sum("the blur of the discriminator's images" in warning for warning in options.warnings) == expected
    assert new(cfg="stylegan3-r", kimg=200, batch=32).blur_warning is None
    assert "--kimg=199: " in new(cfg="stylegan3-r", kimg=199, batch=32).blur_warning


def test_gammas_of_small_images_are_compared_with_their_default():
    """Of 32 pixels, 0.15 trains and the published rule, about 0.05 at batch 16, does not (docs/quality.md)."""
    for gamma in (0.15, 0.5, 2):
        assert new(resolution=32, gamma=gamma).gamma_warning is None
    assert new(cfg="stylegan2", resolution=32, gamma=2).gamma_warning is None
    for gamma in (0.05, 0.12, 2.1):
        assert "more than a factor of 4 from 0.5, the usual value" in new(resolution=32, gamma=gamma).gamma_warning
    assert new(resolution=128, gamma=5 * new(resolution=128).gamma).gamma_warning


def test_defaults_by_configuration():
    names = ("gamma", "glr", "map_depth", "style_mixing", "pl_weight")

    def defaults(cfg):
        return [getattr(new(cfg=cfg), name) for name in names]

    assert defaults("stylegan3-t") == defaults("stylegan3-r") == [2.048, 0.0025, 2, 0, 0]
    assert defaults("stylegan2") == [0.4096, 0.002, 8, 0.9, 2]
    for cfg in ABLATION_PRESETS[:3]:  # the penalties that go with skip connections
        assert defaults(cfg) == [2.048, 0.0025, 8, 0.9, 2]
    for cfg in ABLATION_PRESETS[3:]:
        assert defaults(cfg) == defaults("stylegan3-t")


def test_given_values_stay():
    given = {"gamma": 0.0, "glr": 0.1, "map_depth": 3, "style_mixing": 0.0, "pl_weight": 0.0, "precision": "bf16"}
    options = new(cfg="stylegan2", **given)
    assert {name: getattr(options, name) for name in given} == given


def test_precision_follows_the_device(monkeypatch):
    assert new().precision == "fp32"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert [new(strategy=name).precision for name in ("auto", "gpu:1", "cpu:2")] == ["fp16", "fp16", "fp32"]


def test_automatic_precision_is_the_faster_one_of_a_processor(monkeypatch):
    chosen = []
    for share in (float("inf"), 0.0):  # of the time in fp32 that bf16 may take
        monkeypatch.setattr(precision, "FASTER", share)
        chosen += [new(precision="auto", strategy=name).precision for name in ("auto", "cpu:2", "multiworker", "tpu")]
    assert chosen == ["bf16", "bf16", "fp32", "fp32", *["fp32"] * 4]
    monkeypatch.setattr(precision, "FASTER", float("inf"))
    with monkeypatch.context() as one_of_several:
        one_of_several.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 0}}')
        assert new(precision="auto").precision == "fp32"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert new(precision="auto").precision == "fp16"


def test_augmentation_adapts_by_default_and_five_times_faster_from_a_model():
    options = new()
    assert [getattr(options, name) for name in ("aug", "augpipe", "p", "target", "ada_heuristic", "ada_kimg")] == [
        *("ada", "bgc", 0, 0.6, "rt", 500)
    ]
    assert new(init_from="/x").ada_kimg == 100
    assert new(aug="fixed", p=0.3).p == 0.3
    with pytest.raises(OptionError, match="--aug=fixed: needs --p"):
        new(aug="fixed")


def test_properties_of_the_data_come_from_the_data_set(faces):
    dataset = open_dataset(faces, use_labels=True)
    options = Options.for_dataset(dataset, batch=8, cond=True)
    assert (options.data_name, options.data_digest, options.resolution) == ("faces", dataset.digest, 16)
    assert (options.image_channels, options.num_images, options.label_dim) == (3, 64, dataset.label_dim)
    assert open_dataset(options.data).digest == dataset.digest
    assert options.batch_per_replica == 8


# Flags.


def parse(*arguments):
    values = flags.FlagValues()
    option_flags.define_flags(values)
    values(["program", *arguments])
    return values


def test_flags_without_arguments_have_the_defaults_of_python():
    values = parse()
    assert option_flags.given_options(values) == {}
    for name, default in config.DEFAULTS.items():
        value = values[name].value
        assert (tuple(value) if isinstance(value, list) else value) == default


def test_every_option_can_be_given_as_a_flag():
    wanted = {name: value for name, value in OTHER_VALUES.items() if name in config.DEFAULTS}
    given = option_flags.given_options(parse(*(f"--{name}={config.as_flag(value)}" for name, value in wanted.items())))
    assert given == wanted
    assert {name: type(value) for name, value in given.items()} == {name: type(wanted[name]) for name in wanted}


def test_values_equal_to_the_default_count_as_given():
    assert option_flags.given_options(parse("--snap=50", "--nomirror")) == {"snap": 50, "mirror": False}


def test_profile_steps_are_whole_numbers():
    with pytest.raises(OptionError, match="--profile_steps=a,b: give whole numbers"):
        option_flags.given_options(parse("--profile_steps=a,b"))


@pytest.mark.parametrize(
    ("aug", "given", "words"),
    [
        ("ada", {"p": 0.2}, ["--p=0.2", "--aug=ada", "--aug=fixed"]),
        ("noaug", {"p": 0.2}, ["--p=0.2", "--aug=noaug", "--aug=fixed"]),
        ("fixed", {"target": 0.5}, ["--target=0.5", "--aug=fixed", "--aug=ada or apa"]),
        ("noaug", {"ada_kimg": 5.0}, ["--ada_kimg=5.0", "--aug=ada"]),
        ("noaug", {"ada_heuristic": "rt"}, ["--ada_heuristic=rt"]),
        ("noaug", {"augpipe": "bg"}, ["--augpipe=bg", "--aug=noaug", "--aug=fixed or ada"]),
    ],
)
def test_a_flag_without_effect_is_refused(aug, given, words):
    with pytest.raises(OptionError) as refusal:
        option_flags.check_given(given, changed(aug=aug))
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "\n" not in str(refusal.value)
    option_flags.check_given({"aug": aug, "gamma": 2.0}, changed(aug=aug))


def test_help_texts_stand_alone():
    for name in config.DEFAULTS:
        text = re.sub("^<.*?>: ", "", parse()[name].help)  # absl lists the choices
        assert text[0].isupper() and re.search(r"\.( \(default: .*\))?$", text) and len(text) > 15, name
        assert (" May change with --resume." in text) == FIELDS[name].metadata["resumable"], name
    assert "(default: 0.0025; 0.002 with stylegan2)" in parse()["glr"].help


def test_the_documentation_has_the_options_as_they_are():
    page = options_page.PAGE.read_text()
    assert options_page.options_page() == page, "stale: run python tools/options_page.py"
    assert all(f"| `--{name}` |" in page for name in config.DEFAULTS)
