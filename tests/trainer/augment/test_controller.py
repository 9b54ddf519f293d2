"""Probability of augmentation under overfitting."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from trainer.augment.controller import Controller
from trainer.augment.heuristics import KIMG, KIMG_FROM_MODEL

OVERFITTING, FINE = {"Loss/signs/real": 0.9}, {"Loss/signs/real": 0.1}


def watch(controller, metrics, steps):
    for _ in range(steps):
        controller.observe({name: tf.constant(value) for name, value in metrics.items()})


def logits(real, validation, fake):
    return {"Loss/scores/real": real, "Loss/scores/validation": validation, "Loss/scores/fake": fake}


def test_moves_every_fourth_step_by_its_share_of_the_images():
    controller = Controller(32)
    watch(controller, OVERFITTING, 3)
    assert controller.probability == 0
    watch(controller, OVERFITTING, 1)
    assert controller.probability == pytest.approx(32 * 4 / 500_000, rel=1e-12)
    watch(controller, OVERFITTING, 8)
    assert controller.probability == pytest.approx(3 * 32 * 4 / 500_000, rel=1e-12)
    assert controller.overfitting == pytest.approx(0.9)


def test_five_times_faster_from_a_model():
    assert KIMG == 5 * KIMG_FROM_MODEL == 500
    controller = Controller(32, kimg=KIMG_FROM_MODEL)
    watch(controller, OVERFITTING, 4)
    assert controller.probability == pytest.approx(32 * 4 / 100_000, rel=1e-12)


def test_goes_down_again_and_not_below_zero():
    controller = Controller(1000, probability=0.01)
    watch(controller, FINE, 4)
    assert controller.probability == pytest.approx(0.002)
    watch(controller, FINE, 400)
    assert controller.probability == 0


def test_stays_at_the_target():
    controller = Controller(1000, target=0.5, probability=0.3)
    watch(controller, {"Loss/signs/real": 0.5}, 40)
    assert controller.probability == 0.3


def test_the_mean_of_the_interval_counts():
    """Two steps above the target by 0.3 each, two below it by 0.4 each."""
    controller = Controller(1000, probability=0.5)
    watch(controller, OVERFITTING, 2)
    watch(controller, {"Loss/signs/real": 0.2}, 2)
    assert controller.overfitting == pytest.approx(0.55)
    assert controller.probability == pytest.approx(0.492)
    watch(controller, OVERFITTING, 4)  # and nothing of it is left over
    assert controller.overfitting == pytest.approx(0.9)


def test_p_passes_1_and_comes_back_as_slowly():
    """The published loop has no upper limit."""
    controller = Controller(1000, probability=0.996)
    watch(controller, OVERFITTING, 16)
    assert controller.probability == pytest.approx(1.028)
    watch(controller, FINE, 12)
    assert controller.probability == pytest.approx(1.004)
    watch(controller, FINE, 4)
    assert controller.probability == pytest.approx(0.996)


def test_saturation_is_reported_until_p_falls():
    controller = Controller(1000, probability=0.999)
    watch(controller, OVERFITTING, 4)
    assert controller.probability > 1 and controller.warning is None  # it may turn at once
    watch(controller, OVERFITTING, 40)
    assert "augmentation is saturated: p has been 1 or more for 44.0 kimg, and r_t = 0.90" in controller.warning
    watch(controller, FINE, 4)
    assert controller.warning is None and controller.probability > 1


@pytest.mark.parametrize("aug", ["ada", "apa"])
def test_the_remedies_are_options_that_are_taken(aug):
    """`--augpipe` has no effect with --aug=apa, and a run refuses it."""
    controller = Controller(1000, probability=1.0, aug=aug)
    watch(controller, OVERFITTING, 44)
    assert ("--augpipe" in controller.warning, "--aug=ada" in controller.warning) == (aug == "ada", aug == "apa")


def test_every_phase_that_judges_real_images_counts():
    """Three steps with one phase, and one with R1 besides: the mean of five batches."""
    controller = Controller(1000)
    watch(controller, FINE, 3)
    controller.observe(FINE, {"Loss/signs/real": 0.6})
    assert controller.overfitting == pytest.approx((4 * 0.1 + 0.6) / 5)


@pytest.mark.parametrize(
    "measured, expected",
    [(logits(2.0, 2.0, -2.0), 0.0), (logits(2.0, -2.0, -2.0), 1.0), (logits(2.0, -1.0, -2.0), 0.75)],
)
def test_r_v(measured, expected):
    controller = Controller(1000, heuristic="rv", probability=0.5)
    watch(controller, measured, 4)
    assert controller.overfitting == pytest.approx(expected)
    assert (controller.probability > 0.5) == (expected > 0.6)
    assert controller.metrics() == {
        "Progress/augment": controller.probability,
        "Progress/r_v": pytest.approx(expected),
    }


def test_r_v_with_held_out_images_in_some_steps_only():
    controller = Controller(1000, heuristic="rv")
    watch(controller, {"Loss/scores/real": 2.0, "Loss/scores/fake": -2.0}, 3)
    watch(controller, logits(2.0, -1.0, -2.0), 1)
    assert controller.overfitting == pytest.approx(0.75)


def test_r_v_without_held_out_images_is_refused():
    controller = Controller(1000, heuristic="rv")
    with pytest.raises(ValueError, match="no 'Loss/scores/validation' among the metrics of 4 steps: r_v needs it"):
        watch(controller, {"Loss/scores/real": 2.0, "Loss/scores/fake": -2.0}, 4)


@pytest.mark.parametrize(
    "heuristic, metrics",
    [("rt", {"Loss/signs/real": math.nan}), ("rv", logits(1.0, 1.0, 1.0)), ("rv", logits(1.0, -math.inf, 0.0))],
)
def test_undefined_heuristic_leaves_p_unchanged(heuristic, metrics):
    controller = Controller(1000, heuristic=heuristic, probability=0.5)
    watch(controller, metrics, 4)
    assert controller.probability == 0.5
    assert controller.metrics() == {"Progress/augment": 0.5}


def test_a_checkpoint_continues_it(tmp_path):
    """In the middle of an interval, while p is saturated."""
    straight = Controller(1000, probability=0.99)
    watch(straight, OVERFITTING, 11)
    watch(straight, FINE, 2)
    path = tf.train.Checkpoint(augment=straight.variables).write(str(tmp_path / "state"))
    resumed = Controller(1000)
    tf.train.Checkpoint(augment=resumed.variables).read(path).assert_consumed()
    for controller in (straight, resumed):
        watch(controller, FINE, 8)
    assert [v.numpy().tolist() for v in resumed.variables] == [v.numpy().tolist() for v in straight.variables]
    assert resumed.probability == straight.probability and resumed.warning == straight.warning


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"heuristic": "rx"}, "heuristic='rx': choose from rt, rv"),
        ({"kimg": 0}, "kimg=0: must be greater than 0"),
        ({"kimg": math.nan}, "kimg=nan: must be greater than 0"),
        ({"target": 60}, "target=60: must be from -1 to 1"),
        ({"probability": 1.1}, r"probability=1.1: must be from 0 to 1"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Controller(32, **arguments)
