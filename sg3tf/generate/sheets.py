"""Sheets of images: plain grids, style mixing, classes side by side, and captions. NumPy and Pillow only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sg3tf import images, latents
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.latents import z_from_seeds
from sg3tf.utils.progress import with_progress
from sg3tf.utils.resolution import size_of

FloatArray = NDArray[np.float32]
Picture = NDArray[np.uint8]

_MIXING_GAP = 8  # longer side of an image relative to the gap between sources and results

_FONT_SIZE = 12
_LINE_HEIGHT = 16
_CAPTION_GAP = 6


def grid(network: Network, points: Latents, columns: int | None = None) -> Picture:
    """Draw all latents, row by row.

    Args:
        network: the generator.
        points: the latents.
        columns: images per row; None for as square as possible.

    Returns:
        uint8 [H, W, C].
    """
    drawn = with_progress(network.images(points.ws, points.transform), len(points))
    return images.grid(np.stack([*drawn]), columns)


def mix_pairs(rows: Latents, columns: Latents, layers: Sequence[int]) -> Latents:
    """Return the latents of every row with the style vectors `layers` of every column, row by row.

    Transforms come from the rows.
    """
    each = rows[np.repeat(np.arange(len(rows)), len(columns))]
    ws_b = np.tile(columns.ws, [len(rows), 1, 1])
    return Latents(latents.mix(each.ws, ws_b, layers), each.transform)


def mixing_sheet(network: Network, rows: Latents, columns: Latents, mixed: Latents) -> Picture:
    """Draw the sources on the left and at the top, and the mixed latents between them, separated by a white gap.

    Args:
        network: the generator.
        rows, columns: the sources.
        mixed: as returned by `mix_pairs`.

    Returns:
        uint8 [H, W, C].
    """
    ws = np.concatenate([columns.ws, rows.ws, mixed.ws])
    transform = None
    if rows.transform is not None or columns.transform is not None:
        transform = np.concatenate([_transforms(part) for part in (columns, rows, mixed)])
    drawn = np.stack([*with_progress(network.images(ws, transform), len(ws))])
    top, left, results = np.split(drawn, [len(columns), len(columns) + len(rows)])
    width, height = size_of(network.resolution)
    gap = max(max(width, height) // _MIXING_GAP, 1)
    shape = (gap + height * (len(rows) + 1), gap + width * (len(columns) + 1), network.channels)
    canvas = np.full(shape, 255, np.uint8)
    canvas[:height, width + gap :] = images.grid(top, len(columns))
    canvas[height + gap :, :width] = images.grid(left, 1)
    canvas[height + gap :, width + gap :] = images.grid(results, len(columns))
    return canvas


def _transforms(points: Latents) -> FloatArray:
    """Return the transforms [N, 3, 3], or identity matrices if there are none."""
    if points.transform is None:
        return np.tile(np.eye(3, dtype=np.float32), [len(points), 1, 1])
    return points.transform


def latents_of_classes(
    network: Network,
    seeds: Sequence[int],
    classes: Sequence[int],
    psi: float,
    cutoff: int | None,
    towards_class: bool,
) -> Latents:
    """Return the latents of every seed in every class, seed by seed.

    Args:
        network: a conditional network.
        seeds, classes: seeds and class numbers.
        psi, cutoff: truncation, see sg3tf.latents.truncate.
        towards_class: truncate toward the average of each class instead of the overall average.
    """
    one_hot = np.eye(network.label_dim, dtype=np.float32)[list(classes)]
    each, labels = np.repeat(np.asarray(seeds, np.int64), len(classes)), np.tile(one_hot, [len(seeds), 1])
    ws = network.map(z_from_seeds(each.tolist(), network.z_dim), label=labels)
    average = network.w_avg
    if towards_class:
        average = np.tile([network.class_average(label) for label in one_hot], [len(seeds), 1])[:, None]
    ws = latents.truncate(ws, average, psi, cutoff)
    is_full = psi == 1 or (not towards_class and network.truncates_fully(cutoff))
    return Latents(ws, seeds=each, psi=np.full([len(each)], psi, np.float32) if is_full else None, label=labels)


def class_sheet(network: Network, points: Latents, classes: Sequence[int], scale: int) -> Picture:
    """Draw the result of `latents_of_classes` with captions.

    Args:
        network: the generator.
        points: latents, seed by seed, with one image per class.
        classes: class numbers.
        scale: integer enlargement factor.

    Returns:
        uint8 [H, W, 3], or 4 channels like the images.
    """
    drawn = with_progress(network.images(points.ws, points.transform), len(points))
    pictures = [images.enlarge(image, scale) for image in drawn]
    rows = []
    for start in range(0, len(pictures), len(classes)):
        name = "" if points.seeds is None else f"seed {points.seeds[start]}"
        rows.append((name, pictures[start : start + len(classes)]))
    captions = [network.classes[number] if network.classes else f"class {number}" for number in classes]
    return with_captions(captions, rows)


def with_captions(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Picture]]]) -> Picture:
    """Lay out images of equal size with captions above the columns and to the left of the rows.

    Args:
        columns: column captions.
        rows: caption (may be "") and images [H, W, C], at most one per column, of each row.

    Returns:
        uint8 [height, width, 3] on white, or 4 channels if any image has them.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    height, width = rows[0][1][0].shape[:2]
    width = max([width, *(int(font.getlength(name)) + 1 for name in columns)]) + _CAPTION_GAP
    height += _CAPTION_GAP
    left = _CAPTION_GAP + max(int(font.getlength(name)) + _CAPTION_GAP if name else 0 for name, _ in rows)
    has_alpha = any(picture.shape[2] == 4 for _, pictures in rows for picture in pictures)
    size = (left + len(columns) * width, _LINE_HEIGHT + len(rows) * height)
    canvas = Image.new("RGBA" if has_alpha else "RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        draw.text((left + column * width, 0), name, "black", font)
    for row, (name, pictures) in enumerate(rows):
        y = _LINE_HEIGHT + row * height
        draw.text((_CAPTION_GAP, y), name, "black", font)
        for column, picture in enumerate(pictures):
            tile = Image.fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture)
            canvas.paste(tile, (left + column * width, y))
    return np.asarray(canvas)
