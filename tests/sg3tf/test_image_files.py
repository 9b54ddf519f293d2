"""Reading image files: color profiles, bits, frames, EXIF, formats that need a package."""

from __future__ import annotations

import io
import struct
import sys
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from sg3tf import image_files
from sg3tf.data.conversion import BuildConfig, crop_and_resize
from sg3tf.data.encoding import _chunk
from sg3tf.image_files import (
    BAD_PROFILE,
    FIRST_FRAME,
    PROFILE,
    TWELVE_BITS,
    center_crop,
    decode,
    is_image,
    open_image,
    pixel_limit,
    read_image,
)


def reopened(image: Image.Image, kind: str = "PNG", **options: object) -> Image.Image:
    """Return the image as it comes out of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return open_image(file)


# --- Color ------------------------------------------------------------------------------------------------------------

# The primaries of Adobe RGB (1998), adapted to D50, and its gamma 563/256: published numbers.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
WHITE = (0.9642, 1.0, 0.8249)


def fixed(numbers: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def icc_profile(space: bytes, gamma: float = 563 / 256, name: bytes = b"wide") -> bytes:
    """Build an ICC profile, version 2.4, of a gray or RGB display by primaries and gamma."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" * 79
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0CC0\0", b"wtpt": b"XYZ \0\0\0\0" + fixed(WHITE)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for letter, primary in zip(b"rgb", ADOBE, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(primary)
            tags[bytes([letter]) + b"TRC"] = curve
    table, body = b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", 132 + len(table + body), b"\0" * 4, 0x02400000, b"mntr", space, b"XYZ ")
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(WHITE) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + body


def srgb_of_adobe(color: tuple[int, ...]) -> np.ndarray:
    """Convert in float64: linear light, XYZ of D50, and the inverse of sRGB's matrix and curve (IEC 61966-2-1)."""
    xyz = (np.array(color) / 255) ** (563 / 256) @ np.array(ADOBE)
    srgb = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
    linear = np.clip(xyz @ np.linalg.inv(srgb), 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


WIDE = (180, 90, 60)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_color_profile_is_converted_to_srgb(mode: str, channels: int) -> None:
    image = Image.new("RGB", (4, 4), WIDE)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    found, notes = decode(reopened(image, icc_profile=icc_profile(b"RGB ")), channels)
    assert notes == (PROFILE,)
    expected = srgb_of_adobe(WIDE)
    np.testing.assert_allclose(expected, (205, 90, 56), atol=0.6)  # the same from another program
    # Both sides round to 8 bits, and LittleCMS works with 16 bits inside.
    np.testing.assert_allclose(found.getpixel((0, 0))[:3], expected, atol=1)
    assert channels == 3 or found.getpixel((0, 0))[3] == 255


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_profiles_of_other_formats(kind: str) -> None:
    options = {"TIFF": {}, "WEBP": {"lossless": True}}.get(kind, {"quality": 100})
    image = reopened(Image.new("RGB", (16, 16), WIDE), kind, icc_profile=icc_profile(b"RGB "), **options)
    # JPEG and AVIF may be off by 2 in YCbCr, which the profile's conversion does not enlarge.
    np.testing.assert_allclose(decode(image, 3).image.getpixel((8, 8)), srgb_of_adobe(WIDE), atol=4)


def test_transparency_survives_a_profile() -> None:
    pixels = np.full((2, 2, 4), (*WIDE, 0), np.uint8)
    pixels[0, :, 3] = (255, 100)
    found = decode(reopened(Image.fromarray(pixels), icc_profile=icc_profile(b"RGB ")), 4).image
    np.testing.assert_array_equal(np.asarray(found)[..., 3], pixels[..., 3])
    np.testing.assert_allclose(np.asarray(found)[0, 0, :3], srgb_of_adobe(WIDE), atol=1)


def test_a_gray_profile_is_converted() -> None:
    profile = icc_profile(b"GRAY", gamma=1.0)  # linear light
    for image in (
        Image.new("L", (4, 4), 128),
        Image.new("LA", (4, 4), (128, 255)),
        Image.new("I;16", (4, 4), 128 * 257),
    ):
        found, notes = decode(reopened(image, icc_profile=profile), 1)
        assert notes == (PROFILE,)
        # sRGB of linear 128/255 is 188: IEC 61966-2-1.
        assert abs(found.getpixel((0, 0)) - 188) <= 1


@pytest.mark.parametrize("profile", [None, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_without_a_profile_or_with_srgb_no_value_changes(profile: bytes | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found, notes = decode(reopened(Image.fromarray(pixels), icc_profile=profile), 3)
    np.testing.assert_array_equal(np.asarray(found), pixels)
    assert notes == ()


@pytest.mark.parametrize("name", [b"GIMP built-in Linear sRGB", b"linear"])
def test_linear_light_is_converted_whatever_its_name(name: bytes) -> None:
    found = [
        decode(reopened(Image.new("RGB", (4, 4), WIDE), icc_profile=icc_profile(b"RGB ", 1.0, given)), 3)
        for given in (name, b"other")
    ]
    assert [notes for _, notes in found] == [(PROFILE,)] * 2
    assert found[0].image.tobytes() == found[1].image.tobytes() != bytes(WIDE) * 16


@pytest.mark.parametrize("profile", [b"no profile", icc_profile(b"GRAY"), icc_profile(b"RGB ")[:200]])
def test_a_profile_that_does_not_fit_is_ignored_and_noted(profile: bytes) -> None:
    found, notes = decode(reopened(Image.new("RGB", (4, 4), WIDE), icc_profile=profile), 3)
    assert (found.getpixel((0, 0)), notes) == (WIDE, (BAD_PROFILE,))


def test_cmyk_with_a_profile_of_rgb_keeps_its_values() -> None:
    image = Image.new("CMYK", (16, 16), (0, 100, 200, 30))
    plain = decode(reopened(image, "TIFF"), 3).image
    found, notes = decode(reopened(image, "TIFF", icc_profile=icc_profile(b"RGB ")), 3)
    assert (found.tobytes(), notes) == (plain.tobytes(), (BAD_PROFILE,))


def test_lab() -> None:
    # CIE L* = 53.24, a* = 80.09, b* = 67.20 is sRGB's red (D65); adapted to D50, as in files: 54.29, 80.80, 69.89.
    lab = Image.merge("LAB", [Image.new("L", (4, 4), round(value)) for value in (54.29 * 2.55, 80.8, 69.89)])
    # Pillow keeps a and b in two's complement when it writes a TIFF file.
    found = decode(reopened(lab, "TIFF"), 3).image.getpixel((0, 0))
    reference = ImageCms.profileToProfile(
        lab, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert found == reference.getpixel((0, 0))


# --- Bits -------------------------------------------------------------------------------------------------------------


def test_12_bits_in_16_keep_their_range() -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    found, notes = decode(reopened(Image.fromarray(values)), 1)
    np.testing.assert_array_equal(np.asarray(found), np.rint(values * (255 / 4095)))
    assert notes == (TWELVE_BITS,)
    dark, notes = decode(reopened(Image.fromarray(values)), 1, bits=16)
    np.testing.assert_array_equal(np.asarray(dark), np.rint(values / 257))
    assert notes == ()


def test_32_bits_need_their_number() -> None:
    values = (np.arange(4096, dtype=np.int32) * 100).reshape(64, 64)
    image = Image.fromarray(values)
    with pytest.raises(ValueError, match="holds values from 0 to 409500 of unknown range; convert it to 8 or 16 bits"):
        decode(reopened(image, "TIFF"), 1)
    with pytest.raises(ValueError, match="from 0 to 409500, which are not of 18 bits"):
        decode(reopened(image, "TIFF"), 1, bits=18)
    found = np.asarray(decode(reopened(image, "TIFF"), 1, bits=19).image)
    np.testing.assert_array_equal(found, np.rint(values * 255 / (2**19 - 1)))


def test_the_memory_of_scaling_is_that_of_its_result() -> None:
    values = np.arange(2**22, dtype=np.uint16).reshape(2**11, 2**11)
    image = Image.fromarray(values)
    tracemalloc.start()
    decode(image, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * values.nbytes  # Pillow copies the values; in 64 bits, values and results took 12 times as many


def png_of_rows(row: bytes, bits: int, color: int, clear: bytes = b"") -> io.BytesIO:
    """Return a PNG file of 4x4 pixels of a kind that Pillow cannot write; `clear` is the transparent color."""
    header = struct.pack(">IIBBBBB", 4, 4, bits, color, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress((b"\0" + row) * 4))
    chunks = _chunk(b"IHDR", header) + (_chunk(b"tRNS", clear) if clear else b"") + pixels + _chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunks)


def deep_png(value: int, color: int = 2) -> io.BytesIO:
    """Return a PNG file of 16 bits per channel, RGB or (`color` is 4) gray and opaque."""
    pixel = struct.pack(">HHH", value, value, value) if color == 2 else struct.pack(">HH", value, 65535)
    return png_of_rows(pixel * 4, 16, color)


@pytest.mark.parametrize(
    ("row", "bits", "color", "clear", "opaque"),
    [
        (struct.pack(">4H", 0x8000, 0x8001, 0, 0), 16, 0, struct.pack(">H", 0x8000), 0x80),
        (
            struct.pack(">12H", *(0x8000,) * 3, *(0x4000,) * 3, *(0,) * 6),
            16,
            2,
            struct.pack(">3H", *(0x8000,) * 3),
            0x40,
        ),
        (bytes([0x72, 0]), 4, 0, struct.pack(">H", 7), 2 * 17),
        (bytes([0b10010000]), 2, 0, struct.pack(">H", 2), 85),
    ],
    ids=["gray of 16 bits", "RGB of 16 bits", "gray of 4 bits", "gray of 2 bits"],
)
def test_the_transparent_color_of_other_bits(row: bytes, bits: int, color: int, clear: bytes, opaque: int) -> None:
    """The first pixel of each row has it, the second is opaque."""
    found = decode(open_image(png_of_rows(row, bits, color, clear)), 3).image
    assert [found.getpixel((x, 0)) for x in range(2)] == [(255,) * 3, (opaque,) * 3]
    assert decode(open_image(png_of_rows(row, bits, color, clear)), 4).image.getpixel((0, 0))[3] == 0


def tiff(image: Image.Image, tag: int, value: int) -> Image.Image:
    """Return an image from a TIFF file, in which the number of a tag is replaced."""
    file = io.BytesIO()
    image.save(file, "TIFF")
    data = bytearray(file.getvalue())
    data[data.find(struct.pack("<HHI", tag, 3, 1)) + 8] = value
    return open_image(io.BytesIO(data))


@pytest.mark.parametrize("largest", [65535, 4095])
def test_16_bits_of_which_0_is_white(largest: int) -> None:
    values = np.linspace(0, largest, 256).astype(np.uint16).reshape(16, 16)
    plain = np.asarray(decode(reopened(Image.fromarray(values), "TIFF"), 1).image)
    found = np.asarray(decode(tiff(Image.fromarray(values), 262, 0), 1).image)
    np.testing.assert_array_equal(found, 255 - plain)
    assert found[0, 0] == 255


def test_gray_multiplied_by_its_alpha() -> None:
    image = tiff(Image.new("LA", (4, 4), (60, 128)), 338, 1)
    assert image.mode == "La"
    found = decode(image, 4).image.getpixel((0, 0))
    np.testing.assert_allclose(found, (120, 120, 120, 128), atol=1)


def test_colors_of_16_bits() -> None:
    assert decode(open_image(deep_png(0x8123)), 3).image.getpixel((0, 0)) == (0x81,) * 3
    assert decode(open_image(deep_png(0)), 3).image.getpixel((0, 0)) == (0, 0, 0)
    for color in (2, 4):  # RGB, and gray with alpha
        with pytest.raises(ValueError, match="at most 12 of the 16 bits of its channels"):
            decode(open_image(deep_png(4095, color)), 3)
        with pytest.raises(ValueError, match="at most 12 of the 16 bits of its channels"):
            decode(open_image(deep_png(4095, color)), 3, bits=12)  # which is for grayscale alone
        assert decode(open_image(deep_png(4095, color)), 3, bits=16).image.getpixel((0, 0)) == (0x0F,) * 3


# --- Frames, EXIF, formats, sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_used_and_noted(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found, notes = decode(reopened(frames[0], kind, save_all=True, append_images=frames[1:], **options), 3)
    assert (found.getpixel((0, 0)), notes) == ((255, 0, 0), (FIRST_FRAME,))


def test_a_damaged_second_frame_leaves_the_first(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "0.gif")
    data = (tmp_path / "0.gif").read_bytes()
    (tmp_path / "0.gif").write_bytes(data[:-1] + b",")  # the start of another frame instead of the end of the file
    found, notes = read_image(tmp_path / "0.gif", 3)
    assert (found.getpixel((0, 0)), notes) == ((255, 0, 0), (FIRST_FRAME,))


def jpeg_with_exif(tag: bytes) -> io.BytesIO:
    """Return a 32x16 JPEG that is to be turned, with one more EXIF tag."""
    file = io.BytesIO()
    Image.new("RGB", (32, 16), (9, 99, 9)).save(file, "JPEG")
    turn = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    block = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + turn + tag
    data = file.getvalue()
    return io.BytesIO(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])


@pytest.mark.parametrize(
    "tag",
    [
        struct.pack("<HHI", 0x11A, 2, 4) + b"abc\0" + b"\0" * 4,  # text where the resolution belongs
        struct.pack("<HHII", 0x131, 5, 1, 0) + b"\0" * 4,  # a fraction of zero where the program's name belongs
        struct.pack("<HHII", 0x11A, 5, 1, 60000),  # beyond the end
    ],
)
def test_odd_exif_neither_fails_nor_loses_the_orientation(tag: bytes) -> None:
    assert decode(open_image(jpeg_with_exif(tag)), 3).image.size == (16, 32)


def test_threads_leave_the_warning_filters_as_they_are() -> None:
    """Whatever the order in which two threads read their files."""
    second_reads, first_is_done = threading.Event(), threading.Event()

    def first_exif() -> dict[int, int]:
        second.start()
        second_reads.wait(0.5)
        return {}

    def second_exif() -> dict[int, int]:
        second_reads.set()
        first_is_done.wait(0.5)
        return {}

    def image(getexif: Callable[[], dict[int, int]]) -> Image.Image:
        found = Image.new("L", (1, 1))
        found.getexif = getexif  # type: ignore[method-assign]
        return found

    second = threading.Thread(target=decode, args=(image(second_exif), 1))
    before = list(warnings.filters)
    decode(image(first_exif), 1)
    first_is_done.set()
    second.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_that_is_garbage_means_upright(kind: str) -> None:
    image = Image.new("RGB", (32, 16), (9, 99, 9))
    assert decode(reopened(image, kind, exif=b"garbage!!"), 3).image.size == (32, 16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_the_standard(orientation: int) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # EXIF 2.3, 4.6.4: where row 0 and column 0 of the file are seen.
    seen = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T}
    seen |= {6: pixels[::-1].T, 7: pixels[::-1, ::-1].T, 8: pixels[:, ::-1].T}
    found = decode(reopened(Image.fromarray(pixels), exif=exif), 1).image
    np.testing.assert_array_equal(np.asarray(found), seen[orientation])


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40


def test_heic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phone.heic").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match="is a HEIC image: pip install pillow-heif"):
        read_image(tmp_path / "phone.heic", 3)
    opened = []
    monkeypatch.setitem(
        sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=lambda: opened.append(register_red()))
    )
    assert read_image(tmp_path / "phone.heic", 3).image.getpixel((0, 0)) == (255, 0, 0)
    assert opened


def register_red() -> None:
    """Stand in for pillow-heif: every HEIC file is red."""

    class Red(Image.Image):
        def __init__(self, file: object, name: object) -> None:
            super().__init__()
            self.im, self._mode, self._size = Image.new("RGB", (4, 4), "red").im, "RGB", (4, 4)

    Image.register_open("RED", Red, lambda head: head[8:12] == b"heic")  # type: ignore[arg-type]


def test_images_are_recognized_by_their_first_bytes() -> None:
    image = Image.new("RGB", (4, 4))
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "JPEG2000", "AVIF"):
        file = io.BytesIO()
        image.save(file, kind)
        assert is_image(file.getvalue()[:16]), kind
    assert is_image(HEIC[:16])
    for other in (b"", b"text", b"RIFF\0\0\0\0WAVEfmt ", b"PK\3\4", b"II*\0"):
        assert not is_image(other)


def test_the_limit_of_pixels_can_be_moved(tmp_path: Path) -> None:
    Image.new("1", (200, 200)).save(tmp_path / "0.png")
    before = Image.MAX_IMAGE_PIXELS
    with pixel_limit(0.039), pytest.raises(ValueError, match=r"0\.png: has too many pixels; make it smaller"):
        read_image(tmp_path / "0.png", 1)
    with pixel_limit(0.04):
        assert read_image(tmp_path / "0.png", 1).image.size == (200, 200)
    assert before == Image.MAX_IMAGE_PIXELS


# --- Files ------------------------------------------------------------------------------------------------------------


def test_reading_scales_16_bits_to_the_nearest_value(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(read_image(tmp_path / "deep.png", 1).image)
    np.testing.assert_array_equal(found, np.rint(values / 257))


def test_reading_composites_on_white_unless_transparency_is_kept(tmp_path: Path) -> None:
    Image.fromarray(np.full([2, 2, 4], (200, 0, 0, 0), np.uint8)).save(tmp_path / "clear.png")
    assert (np.asarray(read_image(tmp_path / "clear.png", 3).image) == 255).all()
    assert (np.asarray(read_image(tmp_path / "clear.png", 4).image) == (200, 0, 0, 0)).all()


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [((20, 8), (1, 1), (8, 8)), ((9, 20), (1, 1), (9, 9)), ((80, 48), (4, 3), (64, 48)), ((90, 160), (2, 1), (90, 45))],
)
def test_center_crop(size: tuple[int, int], aspect: tuple[int, int], expected: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 60)
    cropped = center_crop(image, aspect)
    assert cropped.size == expected
    left, top = (size[0] - expected[0]) // 2, (size[1] - expected[1]) // 2
    pixels = np.asarray(image)[top : top + expected[1], left : left + expected[0]]
    np.testing.assert_array_equal(np.asarray(cropped), pixels)


def test_reading_names_the_file_in_errors(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as an image \(is not an image"):
        read_image(tmp_path / "text.png", 3)
    with pytest.raises(ValueError, match=r"absent\.png: cannot be read as an image \(.*No such file"):
        read_image(tmp_path / "absent.png", 3)


def test_reading_a_damaged_avif_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of the many types that Pillow raises: RuntimeError."""
    Image.new("RGB", (8, 8)).save(tmp_path / "0.avif")
    (tmp_path / "0.avif").write_bytes((tmp_path / "0.avif").read_bytes().replace(b"iloc", b"none"))
    with pytest.raises(ValueError, match=r"0\.avif: cannot be read as an image \(Failed to decode"):
        read_image(tmp_path / "0.avif", 3)
    (tmp_path / "0.avif").write_bytes((tmp_path / "0.avif").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"0\.avif: cannot be read as an image \(is a damaged AVIF image\)"):
        read_image(tmp_path / "0.avif", 3)
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(ValueError, match=r"is an AVIF image: pip install --upgrade pillow"):
        read_image(tmp_path / "0.avif", 3)


def test_projection_and_data_build_read_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {
        "deep.png": Image.fromarray(rng.integers(0, 65536, (48, 40), np.uint16)),
        "alpha.png": Image.fromarray(rng.integers(0, 256, (40, 52, 4), np.uint8)),
        "palette.png": Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8)).quantize(16),
        "turned.jpg": Image.fromarray(rng.integers(0, 256, (40, 64, 3), np.uint8)),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in files.items():
        image.save(tmp_path / name, **({"exif": exif} if name == "turned.jpg" else {}))
        for channels in (1, 3, 4):
            with open_image(tmp_path / name) as opened:
                built, _ = crop_and_resize(opened, BuildConfig(16, channels=channels))
            cropped = center_crop(read_image(tmp_path / name, channels).image)
            resized = cropped.resize((16, 16), Image.Resampling.LANCZOS)  # as editing.picture.read_picture
            np.testing.assert_array_equal(built, np.asarray(resized).reshape(16, 16, channels))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
IPTC = {(3, 60): b"\1\0", (3, 20): b"\0\0\0\x08", (3, 30): b"\0\0\0\x08", (3, 120): b"\x01", (8, 10): EPS}
FIELDS = b"".join(struct.pack(">3BH", 28, *tag, len(value)) + value for tag, value in IPTC.items())


@pytest.mark.parametrize("content", [EPS, FIELDS], ids=["EPS", "IPTC"])
def test_formats_that_run_other_programs_or_readers_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="is not an image that Pillow can read"):
        open_image(io.BytesIO(content))


def test_other_formats_are_read() -> None:
    Image.init()
    for kind in {"BMP", "DDS", "GIF", "ICO", "JPEG", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"}:
        assert reopened(Image.new("RGB", (32, 32), "red"), kind).size == (32, 32), kind
    assert set(image_files._formats()) == set(Image.ID) - image_files.NOT_DECODED
