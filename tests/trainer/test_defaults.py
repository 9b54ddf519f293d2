"""What flags that nobody gave stand for."""

from __future__ import annotations

import pytest

from sg3tf.models.configs import ABLATION_PRESETS
from trainer import defaults
from trainer.errors import OptionError

#: The fields that a flag may leave open.
OPEN = dict.fromkeys(
    ["gamma", "glr", "map_depth", "style_mixing", "pl_weight", "precision"]
    + ["augpipe", "p", "target", "ada_kimg", "ada_heuristic", "init_from"]
)


def filled(cfg="stylegan3-t", aug="noaug", resolution=256, batch=32, on_gpu=False, **given):
    values = {**OPEN, "cfg": cfg, "aug": aug, "batch": batch, **given}
    return defaults.resolve_defaults(values, resolution=resolution, on_gpu=on_gpu)


@pytest.mark.parametrize(("resolution", "published"), [(128, 0.5), (256, 2), (512, 8.2), (1024, 32.8)])
def test_gamma_is_the_published_one_at_batch_32(resolution, published):
    for cfg in ("stylegan3-t", "stylegan3-r"):
        assert filled(cfg, resolution=resolution)["gamma"] == pytest.approx(published, rel=0.03)


def test_gamma_of_stylegan2_and_of_other_batches():
    assert filled("stylegan2", resolution=1024)["gamma"] == pytest.approx(6.55, rel=1e-3)
    assert filled(batch=8)["gamma"] == pytest.approx(4 * filled()["gamma"], rel=1e-3)


def test_gamma_far_away_is_worth_a_warning():
    usual = defaults.gamma("stylegan3-t", 256, 32)
    for factor in (0, 0.26, 1, 3.9):
        assert defaults.gamma_warning(usual * factor, "stylegan3-t", 256, 32) is None
    for factor in (0.24, 4.1):
        warning = defaults.gamma_warning(usual * factor, "stylegan3-t", 256, 32)
        assert f"--gamma={usual * factor:g}" in warning and "2.048" in warning and "\n" not in warning


def test_configurations_differ():
    three, two = filled("stylegan3-r"), filled("stylegan2")
    names = ("glr", "map_depth", "style_mixing", "pl_weight")
    assert [three[name] for name in names] == [0.0025, 2, 0, 0]
    assert [two[name] for name in names] == [0.002, 8, 0.9, 2]


def test_the_ladder_keeps_the_penalties_that_go_with_skip_connections():
    names = ("gamma", "glr", "map_depth", "style_mixing", "pl_weight")
    for cfg in ABLATION_PRESETS[:3]:
        assert [filled(cfg)[name] for name in names] == [2.048, 0.0025, 8, 0.9, 2]
    for cfg in ABLATION_PRESETS[3:]:
        assert [filled(cfg)[name] for name in names] == [filled("stylegan3-t")[name] for name in names]


def test_what_is_given_stays():
    given = {"gamma": 0.0, "glr": 0.1, "map_depth": 3, "style_mixing": 0.0, "pl_weight": 0.0, "precision": "bf16"}
    assert {name: filled("stylegan2", **given)[name] for name in given} == given


def test_precision_follows_the_device():
    assert filled()["precision"] == "fp32"
    assert filled(on_gpu=True)["precision"] == "fp16"


def test_augmentation_adapts_five_times_faster_from_a_model():
    assert filled(aug="ada")["ada_kimg"] == 500
    assert filled(aug="ada", init_from="/x")["ada_kimg"] == 100
    ada = filled(aug="ada")
    assert [ada[name] for name in ("augpipe", "p", "target", "ada_heuristic")] == ["bgc", 0, 0.6, "rt"]
    assert filled(aug="fixed", p=0.3)["p"] == 0.3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"aug": "ada", "p": 0.2}, ["--p=0.2", "--aug=fixed", "--aug is ada"]),
        ({"aug": "noaug", "p": 0.2}, ["--p=0.2", "--aug=fixed"]),
        ({"aug": "fixed"}, ["--aug=fixed", "--p"]),
        ({"aug": "fixed", "p": 0.2, "target": 0.5}, ["--target=0.5", "--aug=ada"]),
        ({"aug": "noaug", "ada_kimg": 5.0}, ["--ada_kimg=5.0", "--aug=ada"]),
        ({"aug": "noaug", "ada_heuristic": "rv"}, ["--ada_heuristic=rv"]),
        ({"aug": "noaug", "augpipe": "bg"}, ["--augpipe=bg", "--aug=noaug"]),
    ],
)
def test_a_flag_without_meaning_is_refused(given, words):
    with pytest.raises(OptionError) as refusal:
        filled(**given)
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "\n" not in str(refusal.value)
