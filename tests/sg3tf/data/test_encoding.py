"""encode_png: files that other readers decode to the same pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.encoding import encode_png


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (64, 32)])
def test_pillow_reads_the_same_pixels(size: tuple[int, int], channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        image.load()
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_tensorflow_reads_the_same_pixels() -> None:
    tf = pytest.importorskip("tensorflow")
    pixels = np.random.default_rng(0).integers(0, 256, (33, 17, 3), np.uint8)
    np.testing.assert_array_equal(tf.io.decode_png(encode_png(pixels)).numpy(), pixels)


def test_pixels_need_not_be_contiguous() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_a_smooth_image_becomes_smaller() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3))
    assert len(encode_png(ramp)) < ramp.size / 50
