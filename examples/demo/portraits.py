"""Draw a data set of procedural portraits and write it as FFHQ-layout TFRecords.

python examples/demo/portraits.py --outdir=datasets/portraits --count=4000 --resolution=64 --seed=0

Nearly every trait is a continuous number, so that a generator has something to interpolate. With --classes, the
portraits cycle through twelve kinds, such as "beard" and "long red hair", which are their labels.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image
from portrait_canvas import GRID, ROUND, Canvas, Face, blend, ellipse, hue_color
from portrait_styles import STYLES, neon

from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import encode_levels, ffhq_writer, write_classes
from sg3tf.utils import command_line
from sg3tf.utils.files import atomic_directory
from sg3tf.utils.machine import num_cores
from sg3tf.utils.parallel import map_in_order
from sg3tf.utils.progress import with_progress

SUPERSAMPLE = 4
NAME = "portraits"
SKIN = ((248, 216, 190), (240, 196, 156), (222, 168, 120), (168, 112, 72), (104, 66, 46))
HAIR = ((28, 24, 30), (62, 40, 30), (112, 66, 36), (170, 80, 40), (228, 184, 98), (222, 220, 216))
IRIS = ((48, 32, 24), (100, 66, 36), (70, 110, 60), (60, 110, 170), (110, 130, 140))
WHITE, INK = (250, 248, 244), (32, 24, 28)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Traits that the portraits of a class have in common.

    Attributes:
        hair: position between the colors of HAIR, from 0 to 1, or None for any color.
        length: of the hair, from 0 to 1, or None for any.
        glasses: "clear", "dark" or "" for none.
    """

    hair: float | None = None
    length: float | None = None
    bald: bool = False
    beard: bool = False
    glasses: str = ""
    hat: bool = False


CLASSES = {
    "short black hair": Kind(hair=0.05, length=0.05),
    "long black hair": Kind(hair=0.05, length=0.9),
    "short red hair": Kind(hair=0.6, length=0.05),
    "long red hair": Kind(hair=0.6, length=0.9),
    "short blond hair": Kind(hair=0.8, length=0.05),
    "long blond hair": Kind(hair=0.8, length=0.9),
    "white hair": Kind(hair=1.0),
    "bald": Kind(bald=True),
    "beard": Kind(length=0.1, beard=True),
    "glasses": Kind(glasses="clear"),
    "sunglasses": Kind(glasses="dark"),
    "hat": Kind(hat=True),
}


def draw_portrait(
    rng: np.random.Generator, resolution: int, style: str = "plain", kind: Kind | None = None
) -> Image.Image:
    """Draw one portrait, RGB [resolution, resolution]; everything except the traits of `kind` is drawn from `rng`."""
    angle = rng.uniform(-np.pi, 0) if rng.random() < 0.8 else rng.uniform(0, np.pi)
    canvas = Canvas(SUPERSAMPLE * resolution, np.array([np.cos(angle), np.sin(angle)]))
    draw_background(canvas, rng)
    canvas.pose(rng.normal(0, 0.07), rng.uniform(1.02, 1.16), rng.normal(0, 0.035, 2))
    hair = blend(HAIR, rng.random())
    if rng.random() < 0.1:
        hair = hue_color(rng.random(), 0.55, 0.8)
    face = Face(
        width=rng.uniform(0.44, 0.53),
        height=rng.uniform(0.58, 0.66),
        taper=rng.uniform(0.08, 0.32),
        skin=blend(SKIN, rng.random()) * rng.uniform(0.96, 1.03, 3),
        hair=hair,
        length=rng.beta(0.9, 1.1),
        volume=0.06 + 0.3 * rng.beta(1, 2.5),
        curls=rng.uniform(0, 0.06) * np.sin(ROUND * rng.integers(9, 16) + rng.uniform(0, 6)),
        turn=np.array([rng.normal(0, 0.05), rng.normal(0.02, 0.025)]).clip(-0.1, 0.1),
    )
    bald = rng.random() < 0.1
    if kind:
        bald = kind.bald
        face.hair = face.hair if kind.hair is None else blend(HAIR, kind.hair) * rng.uniform(0.9, 1.1)
        face.length = face.length if kind.length is None else kind.length
    if not bald:
        draw_back_hair(canvas, face)
    draw_body(canvas, face, rng)
    draw_head(canvas, face, rng)
    if rng.random() < 0.28 if kind is None else kind.beard:
        draw_beard(canvas, face, rng)
    draw_mouth(canvas, face, rng)
    draw_eyes(canvas, face, rng)
    if not bald:
        draw_front_hair(canvas, face, rng)
    if rng.random() < 0.3 if kind is None else kind.glasses:
        draw_glasses(canvas, face, rng, dark=kind.glasses == "dark" if kind else None)
    if rng.random() < 0.2 if kind is None else kind.hat:
        draw_hat(canvas, face, rng)
    image = neon(canvas.image) if style == "neon" else canvas.image
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS)


def draw_background(canvas: Canvas, rng: np.random.Generator) -> None:
    """Two soft colors across the picture and a glow behind the head."""
    hue = rng.random()
    first = hue_color(hue, rng.uniform(0.15, 0.6), rng.uniform(0.45, 0.98))
    second = hue_color(hue + rng.normal(0, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.95))
    angle = rng.uniform(0, 2 * np.pi)
    grid = np.linspace(-1, 1, GRID)
    t = 0.5 + 0.4 * (grid[None, :] * np.cos(angle) + grid[:, None] * np.sin(angle))
    x, y = rng.uniform(-0.7, 0.7), rng.uniform(-0.9, 0.2)
    glow = np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / 0.5)
    sheet = first + (second - first) * t[:, :, None] + rng.uniform(0, 60) * glow[:, :, None]
    small = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    canvas.image = small.resize((canvas.size, canvas.size), Image.Resampling.BICUBIC)


def draw_back_hair(canvas: Canvas, face: Face) -> None:
    """The hair behind the head: around the skull, and down to the shoulders if it is long."""
    dark = face.hair * (0.8, 0.78, 0.76)
    shape = face.outline(face.volume + face.curls)
    shape[:, 1] = np.minimum(shape[:, 1], 0.12)
    canvas.fill(shape, dark)
    low, flare = 0.1 + face.length, 1 + face.volume + 0.12 * face.length
    if low > 0.3:
        middle = low / 2 - 0.05
        strands = ellipse(0, middle, face.width * flare, low - middle, 5)
        strands[:, 1] = np.maximum(strands[:, 1], 0)
        canvas.fill(strands, dark)


def draw_body(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """Shoulders in a garment, with a round to pointed neckline, and the neck."""
    cloth = hue_color(rng.random(), rng.uniform(0.1, 0.75), rng.uniform(0.25, 0.95))
    broad, top = rng.uniform(0.8, 1.05), rng.uniform(0.74, 0.84)
    canvas.fill(ellipse(0, top + 0.62, broad, 0.62, rng.uniform(2.2, 3.0)), cloth, strength=0.15)
    neck = face.width * rng.uniform(0.42, 0.56)
    depth, base = rng.uniform(0.06, 0.28), top + 0.02
    if rng.random() < 0.35:
        collar = np.minimum(cloth * 1.25 + 30, 255)
        points = [[-neck * 1.4, base], [neck * 1.4, base], [neck, base + 0.2], [-neck, base + 0.2]]
        canvas.fill(np.array(points), collar, strength=0.15)
    throat = [
        [-neck, 0.2],
        [neck, 0.2],
        [neck * 1.05, base],
        [0, base + depth],
        [-neck * 1.05, base],
    ]
    canvas.fill(np.array(throat), face.skin * 0.88)
    canvas.fill(ellipse(0, face.height * 0.98, neck * 0.85, 0.11), face.skin * 0.6, 0.6, soft=0.03)


def draw_head(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """Ears, the face, cheeks and nose."""
    for side in (-1, 1):
        x = side * face.width * 0.98 - face.turn[0] * 0.5
        canvas.fill(ellipse(x, 0.03, 0.075, 0.13), face.skin * 0.9)
        if rng.random() < 0.12:
            canvas.flat(ellipse(x, 0.2, 0.035, 0.045), (240, 210, 90))
    canvas.fill(face.outline(), face.skin, strength=0.22)
    blush = face.skin * (1.04, 0.8, 0.78)
    x, y = face.turn
    for side in (-1, 1):
        cheek = ellipse(x + side * face.width * 0.56, y + 0.2, 0.13, 0.1)
        canvas.fill(cheek, blush, rng.uniform(0.2, 0.7), soft=0.06)
    long, wide = rng.uniform(0.13, 0.22), rng.uniform(0.05, 0.09)
    nose = np.array([[0, -0.04], [wide, long], [wide * 0.5, long + 0.035], [-wide, long + 0.02]])
    canvas.fill(nose * (np.sign(x or 1), 1) + (x * 1.3, y), face.skin * 0.82, 0.8, soft=0.02)
    canvas.fill(ellipse(x * 1.4, y + long - 0.01, wide * 0.7, 0.035), face.skin * 1.12, 0.7, soft=0.02)


def draw_eyes(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """Eyes that may look aside, and brows."""
    apart, size = face.width * rng.uniform(0.4, 0.48), rng.uniform(0.105, 0.135)
    wide_open, tilt = rng.uniform(0.5, 0.95), rng.normal(0, 0.15)
    gaze = rng.normal(0, 0.25, 2).clip(-0.45, 0.45) * (size, size * wide_open * 0.5)
    iris = blend(IRIS, rng.random())
    raised, slant, thick = (
        rng.uniform(0.15, 0.23),
        rng.normal(-0.01, 0.03),
        rng.uniform(0.03, 0.065),
    )
    brow = face.hair * 0.55 if face.hair.mean() > 60 else face.hair
    for side in (-1, 1):
        x, y = face.turn[0] + side * apart, face.turn[1] - 0.04
        outline = ellipse(0, 0, size, size * wide_open)
        outline[:, 1] += side * tilt * outline[:, 0] * -1
        canvas.flat(outline * 1.12 + (x, y - 0.012), INK)
        canvas.flat(outline + (x, y), WHITE)
        ball = min(size * 0.62, size * wide_open * 0.9)
        canvas.flat(ellipse(x + gaze[0], y + gaze[1], ball, ball), iris)
        canvas.flat(ellipse(x + gaze[0], y + gaze[1], ball * 0.55, ball * 0.55), (16, 12, 14))
        glint = ball * 0.3
        canvas.flat(ellipse(x + gaze[0] - 0.03, y + gaze[1] - 0.03, glint, glint), (255, 255, 255))
        s = np.linspace(-1, 1, 7)
        arch = np.stack([x + s * size * 1.25, y - raised + 0.03 * s**2 - side * slant * s], 1)
        canvas.line(arch, thick, brow)


def draw_mouth(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """Lips from a frown to a laugh."""
    x, y = face.turn[0] * 1.1, face.turn[1] + face.height * rng.uniform(0.52, 0.6)
    half, smile = rng.uniform(0.12, 0.21), rng.normal(0.06, 0.04)
    opened, lips = max(0.0, rng.normal(0.0, 0.06)), rng.uniform(0.02, 0.035)
    s = np.linspace(-1, 1, 13)
    bow = 1 - s**2
    upper = np.stack([x + s * half, y + smile * bow - smile * 0.5], 1)
    lower = upper + np.stack([0 * s, opened * bow], 1)
    red = face.skin * (0.82, 0.5, 0.5) * (1 - 0.1 * rng.random()) + (rng.uniform(0, 30), 0, 0)
    red = red.clip(0, 255)
    canvas.flat(np.concatenate([upper - (0, lips), (lower + (0, lips * 1.3))[::-1]]), red)
    if opened > 0.02:
        canvas.flat(np.concatenate([upper, lower[::-1]]), (90, 30, 36))
        teeth = upper + np.stack([0 * s, 0.55 * opened * bow], 1)
        canvas.flat(np.concatenate([upper, teeth[::-1]]), WHITE)
    else:
        canvas.line(upper + (0, lips * 0.2), 0.022, red * 0.55)


def draw_beard(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """From stubble to a full beard, with a moustache or without."""
    opacity, long, high = rng.uniform(0.35, 1.0), rng.uniform(0.0, 0.16), rng.uniform(0.02, 0.3)
    outer = face.outline(0.02)[:37]  # the lower half: right ear, chin, left ear
    outer[:, 1] += long * opacity * np.sin(np.linspace(0, np.pi, 37)) ** 2
    s = np.linspace(-1, 1, 25)
    x, y = face.turn
    inner = np.stack([s * face.width * 0.86 + x * (1 - s**2), y + high + 0.0 * s], 1)
    inner[:, 1] = y + high * np.abs(s) + (0.28 + 0.1 * (1 - high)) * (1 - np.abs(s) ** 3)
    canvas.fill(np.concatenate([outer, inner]), face.hair * 0.9, opacity, strength=0.15)
    if rng.random() < 0.7:
        droop = rng.uniform(0.02, 0.1)
        above = np.stack([x + s * 0.2, y + 0.235 + 0.02 * np.abs(s) + droop * s**2], 1)
        below = np.stack([x + s * 0.2, y + 0.30 + droop * s**2], 1)
        canvas.fill(np.concatenate([above, below[::-1]]), face.hair * 0.85, opacity, strength=0.1)


def draw_front_hair(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """The hair above the forehead: a fringe or a parting, and sideburns."""
    side = -0.05 + 0.3 * face.length
    round_top = face.volume * np.abs(np.sin(ROUND)) ** 0.4
    outer = face.outline(0.02 + face.curls + round_top)
    outer = np.roll(outer, 36, axis=0)[:37]  # the upper half: left ear, top, right ear
    part, high = rng.uniform(-0.7, 0.7), rng.uniform(-0.62, -0.36) * face.height / 0.62
    drop, power = rng.uniform(0.05, 0.5), rng.uniform(1.2, 3.0)
    s = np.linspace(1, -1, 41)
    line = np.minimum(high + drop * np.abs(s - part) ** power, side)
    line[[0, -1]] = side
    skull = np.sqrt(1 - (np.minimum(line, 0) / face.height) ** 2)  # half width of the head there
    inner = np.stack([s * face.width * 0.98 * skull, line], 1)
    canvas.fill(np.concatenate([outer, inner]), face.hair, strength=0.3)
    shine = ellipse(rng.uniform(-0.2, 0.2), -face.height * (0.82 + face.volume * 0.5), 0.22, 0.045)
    canvas.fill(shine, np.minimum(face.hair * 1.3 + 40, 255), 0.6, soft=0.03)


def draw_glasses(canvas: Canvas, face: Face, rng: np.random.Generator, dark: bool | None) -> None:
    """Round to square frames, clear or dark; some of them dark where `dark` is None."""
    rim = blend((INK, (120, 60, 30), (190, 40, 50), (60, 80, 160), (230, 220, 200)), rng.random())
    thick, size, power = rng.uniform(0.028, 0.05), rng.uniform(0.16, 0.2), rng.uniform(2, 5)
    dark = rng.random() < 0.2 if dark is None else dark
    x, y = face.turn[0], face.turn[1] - 0.03
    for side in (-1, 1):
        lens = ellipse(x + side * face.width * 0.45, y, size * 1.05, size * 0.88, power)
        canvas.fill(lens, (30, 30, 40) if dark else (235, 245, 255), 0.85 if dark else 0.18)
        canvas.line(np.concatenate([lens, lens[:2]]), thick, rim)
        hinge = np.array([[x + side * (face.width * 0.45 + size), y], [side * face.width, y - 0.02]])
        canvas.line(hinge, thick, rim)
    bridge = face.width * 0.45 - size
    canvas.line(np.array([[x - bridge, y - 0.02], [x + bridge, y - 0.02]]), thick, rim)


def draw_hat(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """A cap or beanie; the brim grows from none to wide."""
    color = hue_color(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.95))
    brow, tall = -face.height * rng.uniform(0.48, 0.6), face.volume + rng.uniform(1.08, 1.2)
    wide = face.width * (1.08 + face.volume)
    s = np.linspace(np.pi, 2 * np.pi, 31)
    lift = face.height * tall + brow
    dome = np.stack([wide * np.cos(s), brow + lift * np.sin(s)], 1)
    canvas.fill(dome, color, strength=0.3)
    brim = max(0.0, rng.uniform(-0.2, 0.3))
    band = ellipse(0, brow, wide * (1.02 + brim), 0.06 + 0.1 * brim, 3)
    canvas.fill(band, color * rng.uniform(0.55, 0.85), strength=0.2)


def encode_portrait(seed: int, resolution: int, style: str, kinds: Sequence[Kind | None], index: int) -> list[bytes]:
    """Portrait `index` of the data set `seed`, as record payloads of every level."""
    image = draw_portrait(np.random.default_rng([seed, index]), resolution, style, kinds[index % len(kinds)])
    return encode_levels(np.array(image))


def write_portraits(
    dest: Path, count: int, resolution: int, seed: int, style: str, workers: int, classes: bool = False
) -> None:
    """Write NAME-rNN.tfrecords files of all resolutions from 4 up, and labels, into the new folder `dest`."""
    encode = partial(encode_portrait, seed, resolution, style, tuple(CLASSES.values()) if classes else (None,))
    with (
        atomic_directory(dest) as folder,
        ffhq_writer(folder, NAME, resolution) as add,
    ):
        results = map_in_order(encode, range(count), workers)
        for index, payloads in enumerate(with_progress(results, count)):
            add(payloads, index % len(CLASSES) if classes else None)
        if classes:
            write_classes(folder, NAME, list(CLASSES))


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("outdir", None, "Folder to make.", required=True, flag_values=options)
    flags.DEFINE_integer("count", 4000, "Number of portraits.", lower_bound=1, flag_values=options)
    flags.DEFINE_integer("resolution", 64, "Width and height, a power of two.", lower_bound=4, flag_values=options)
    flags.DEFINE_integer("seed", 0, "Seed of the portraits.", lower_bound=0, flag_values=options)
    flags.DEFINE_enum("style", "plain", STYLES, "Colors and lines of the portraits.", flag_values=options)
    flags.DEFINE_bool("classes", False, "Draw twelve kinds in turn, as labels.", flag_values=options)
    flags.DEFINE_integer("workers", num_cores(), "Number of processes.", lower_bound=1, flag_values=options)


def main(args: flags.FlagValues) -> None:
    """Write the portraits, unless they are there already."""
    dest = Path(args.outdir)
    if dest.exists():
        found = open_dataset(dest)
        if (found.resolution, len(found)) != (args.resolution, args.count):
            raise DataError(
                f"{dest} holds {len(found)} images at {found.resolution}; remove it or choose another --outdir"
            )
        print(f"{dest}: already there, {len(found)} portraits at {found.resolution}")
        return
    write_portraits(dest, args.count, args.resolution, args.seed, args.style, args.workers, args.classes)
    print(f"{dest}: {args.count} portraits at {args.resolution}")


if __name__ == "__main__":
    sys.exit(command_line.run("portraits", main, define_flags, __doc__))
