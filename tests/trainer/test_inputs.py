"""What every step is fed, from any point of a run."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.data.dataset import open_dataset
from sg3tf.data.sampler import batches
from tests.helpers import tiny_run
from trainer.augment import INTERVAL
from trainer.distribution import Workers
from trainer.inputs import InputPipeline
from trainer.step import TrainStep


class At:
    """The little of a Stepper that a feed looks at."""

    workers = Workers(tf.distribute.get_strategy())
    wants_held_out, held_out_nimg = TrainStep.wants_held_out, TrainStep.held_out_nimg

    def __init__(self, options, step):
        self.options, self.state = options, types.SimpleNamespace(step=step, cur_nimg=step * options.batch)


@pytest.fixture
def options(faces):
    return dataclasses.replace(tiny_run.options(faces, cond=True, workers=1), validation=16)


@pytest.fixture
def parts(faces):
    return open_dataset(faces, use_labels=True).split(16)


def feed_steps(options, parts, first, count):
    at = At(options, first)
    feed = InputPipeline(options, at.state, at, *parts)
    fed = []
    for _ in range(count):
        fed.append(feed.next())
        at.state.step += 1
    feed.close()
    assert feed.take_waited_s() > 0 == feed.take_waited_s()
    return fed


def test_images_are_those_of_the_stream(options, parts):
    expected = batches(parts[0], 8, seed=options.seed)
    for (images, labels), _ in feed_steps(options, parts, 0, 9):
        wanted = next(expected)
        np.testing.assert_array_equal(images, wanted[0])
        np.testing.assert_array_equal(labels, wanted[1])


def test_held_out_images_come_as_often_as_augmentation_adapts(options, parts):
    fed = feed_steps(options, parts, 0, 9)
    assert [step for step, (_, held_out) in enumerate(fed) if held_out is not None] == [0, INTERVAL, 2 * INTERVAL]
    rows = {image.tobytes() for step in (0, INTERVAL) for image in fed[step][1][0]}
    assert rows == {parts[1][i][0].tobytes() for i in range(16)}  # an epoch of them


@pytest.mark.parametrize("first", [1, 3, 4, 5, 8])
def test_any_point_continues_as_if_from_the_start(options, parts, first):
    straight = feed_steps(options, parts, 0, 13)[first:]
    for one, other in zip(straight, feed_steps(options, parts, first, 13 - first), strict=True):
        np.testing.assert_array_equal(one[0][0], other[0][0])
        assert (one[1] is None) == (other[1] is None)
        if one[1] is not None:
            np.testing.assert_array_equal(one[1][0], other[1][0])
