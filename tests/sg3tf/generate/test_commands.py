"""The commands: their flags and the files that they write."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from PIL import Image

from sg3tf.cli.drawing_flags import apply_transform
from sg3tf.generate import latents_file
from sg3tf.generate.feature_maps import FeatureMaps
from sg3tf.generate.latents_file import Latents, Tiles
from sg3tf.generate.network import Network
from sg3tf.generate.open_network import open_network
from sg3tf.generate.seeds import latents_from_seeds
from sg3tf.images import grid
from sg3tf.latents import transform_matrix, z_from_seeds
from tests.helpers.numerics import Array
from tests.helpers.video_files import decoded
from tests.sg3tf.generate.conftest import Command, tiny

MOTION = ["--rotate=30", "--translate=0.25,-0.5"]
TRANSFORM = transform_matrix(np.pi / 6, 0.25, -0.5)


def pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def test_images(command: Command, network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept.npz"
    flags = ["--seeds=3-4,85", "--trunc=0.5,1", "--trunc_cutoff=6", *MOTION, f"--outdir={out}"]
    command("images", *flags, f"--save_latents={kept}")
    assert capsys.readouterr().out == f"{out}\n"
    latents = latents_from_seeds(network, [3, 4, 85], [0.5, 1], 6)
    expected = network.synthesize(latents.ws, TRANSFORM)
    assert sorted(file.name for file in out.iterdir()) == [
        f"seed{seed:04d}-trunc{psi}.png" for seed in (3, 4, 85) for psi in ("0.50", "1.00")
    ]
    for name, image in zip(latents.names(), expected, strict=True):
        np.testing.assert_array_equal(pixels(out / f"{name}.png"), image)
    with Image.open(out / "seed0085-trunc0.50.png") as image:
        text = dict(image.text)
    assert (text["seeds"], text["trunc"], text["trunc_cutoff"], text["rotate"]) == ("3-4,85", "0.5,1", "6", "30")
    assert text["seed"] == "85" and "psi" not in text  # no single number describes truncation of some style vectors
    assert text["Software"].startswith("sg3tf ") and text["network"].endswith("tiny.keras")

    # The latents are all that another tool needs.
    command("images", f"--latents={kept}", f"--outdir={tmp_path / 'again'}")
    again = [tmp_path / "again" / f"seed{seed:04d}{end}.png" for seed in (3, 4, 85) for end in ("", "-1")]
    assert [pixels(file).tobytes() for file in again] == [image.tobytes() for image in expected]


def test_flags_and_truncation_in_the_text_of_a_picture(command: Command, saved: Path, tmp_path: Path) -> None:
    """The flags draw it again: that of truncation has the value for --latents, psi that of the picture."""
    kept = tmp_path / "kept.npz"

    def text(name: str, *given: str) -> dict[str, str]:
        command("images", *given, f"--outdir={tmp_path / name}")
        with Image.open(tmp_path / name / "seed0001.png") as image:
            return dict(image.text)

    first = text("seed", "--seeds=1", "--trunc=0.5", f"--save_latents={kept}")
    assert (first["trunc"], first["psi"], first["seed"]) == ("0.5", "0.5", "1")
    again = text("file", f"--latents={kept}")
    assert again["psi"] == "0.5" and "trunc" not in again
    twice = text("twice", f"--latents={kept}", "--trunc=0.5")
    assert (twice["trunc"], twice["psi"]) == ("0.5", "0.25")
    (tmp_path / "run").mkdir()
    snapshot = tmp_path / "run" / "network-snapshot-000005.keras"
    snapshot.write_bytes(saved.read_bytes())
    assert text("run", f"--network={tmp_path / 'run'}", "--seeds=1")["network"] == str(snapshot)
    command("grid", f"--network={tmp_path / 'run'}", "--seeds=1", f"--out={tmp_path / 'grid.png'}")
    with Image.open(tmp_path / "grid.png") as image:
        assert image.text["network"] == str(snapshot)


def test_folders_that_cannot_be_written_are_refused_before_anything_is_drawn(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "x.png").mkdir()
    monkeypatch.setattr(Network, "images", None)
    monkeypatch.setattr(Network, "sample_w", None)
    for name in ("images", "grid", "mix", "interpolate", "layers", "edit"):
        flag = "outdir" if name == "images" else "out"
        out = tmp_path / "file" if name == "images" else tmp_path / "file" / "x.png"
        with pytest.raises(OSError, match=rf"^{flag}=.*: no files can be written to .*file \("):
            command(name, f"--{flag}={out}")
        out = tmp_path / name / "x.png"
        with pytest.raises(OSError, match=r"^save_latents=.*: no files can be written to .*file \("):
            command(name, f"--{flag}={out}", f"--save_latents={tmp_path / 'file' / 'kept.npz'}")
    with pytest.raises(IsADirectoryError, match=r"^out=.*x\.png: is a folder"):
        command("grid", f"--out={tmp_path / 'x.png'}")


def test_rows_of_one_seed(command: Command, network: Network, tmp_path: Path) -> None:
    """As often as the seed or the direction is given."""
    kept = tmp_path / "d.npz"
    edit = ["edit", "--seeds=3", "--strength=-1:1:2", f"--out={tmp_path / 'edit.png'}"]
    command(*edit, "--count=2", "--num_samples=50", "--direction=0", f"--save_directions={kept}")
    once = pixels(tmp_path / "edit.png")
    command(*edit, f"--directions={kept}", "--direction=0,0")
    assert pixels(tmp_path / "edit.png").shape[0] == once.shape[0] + 22
    path = tmp_path / "classes.keras"
    tiny("stylegan3-t", label_dim=3).save(path)
    command("sheet", f"--network={path}", "--seeds=3,3,1", f"--out={tmp_path / 'sheet.png'}")
    assert pixels(tmp_path / "sheet.png").shape[0] == 3 * 22 + 16
    (tmp_path / "classes.json").write_text('["cat", "dog, big", "7"]')
    for text, columns in (("dog, big", [1]), ("cat,7", [0, 2]), ("0-1", [0, 1])):
        flags = [f"--classes={text}", f"--save_latents={tmp_path / 'kept.npz'}", f"--out={tmp_path / 'sheet.png'}"]
        command("sheet", f"--network={path}", "--seeds=3", *flags)
        with np.load(tmp_path / "kept.npz") as arrays:
            assert arrays["label"].argmax(1).tolist() == columns
    with pytest.raises(
        ValueError, match=r"classes=dog: give a range such as 0-1, .* names with commas: cat, dog, big, 7"
    ):
        command("sheet", f"--network={path}", "--classes=dog", f"--out={tmp_path / 'sheet.png'}")


def test_directions_of_a_file_need_no_class(command: Command, tmp_path: Path) -> None:
    path, kept, directions = tmp_path / "classes.keras", tmp_path / "kept.npz", tmp_path / "d.npz"
    tiny("stylegan3-t", label_dim=3).save(path)
    network, out = f"--network={path}", f"--out={tmp_path / 'x.png'}"
    few = ["--count=2", "--num_samples=50", "--strength=0", f"--save_directions={directions}"]
    command("edit", network, "--seeds=1", "--class=1", *few, f"--save_latents={kept}", out)
    of_file = ["edit", network, f"--directions={directions}", f"--latents={kept}", "--strength=0", out]
    command(*of_file)
    with pytest.raises(ValueError, match=r"class=2: latents=.* have their own labels; leave --class out"):
        command(*of_file, "--class=2")
    for given, names in ((["--count=3"], "count"), (["--num_samples=50", "--seed=7"], "num_samples, seed")):
        with pytest.raises(ValueError, match=rf"of no effect with directions=.*d\.npz; leave out {names}$"):
            command(*of_file, *given)


def test_truncation_that_one_number_does_not_describe(command: Command, tmp_path: Path) -> None:
    """Of some style vectors, or toward a class; psi is not saved."""
    path, kept = tmp_path / "classes.keras", tmp_path / "kept.npz"
    tiny("stylegan3-t", label_dim=3).save(path)
    outputs = [f"--network={path}", f"--save_latents={kept}", "--trunc=0.5"]
    parts = [([], True), (["--trunc_cutoff=8"], True), (["--trunc_cutoff=2"], False), (["--trunc_center=class"], False)]
    for given, is_described in parts:
        for name in ("sheet", "grid", "interpolate"):
            label = [] if name == "sheet" else ["--class=1"]
            command(name, *outputs, *label, *given, "--seeds=1", f"--out={tmp_path / f'{name}.png'}")
            with np.load(kept) as arrays:
                assert ("psi" in arrays) == is_described, (name, given)


def test_a_named_class_is_no_number(command: Command, tmp_path: Path) -> None:
    path, kept = tmp_path / "cat.keras", tmp_path / "kept.npz"
    tiny("stylegan3-t", label_dim=1).save(path)
    (tmp_path / "classes.json").write_text('["cat"]')
    for text, number in (("0", 1), ("cat", 1), ("0.5", 0.5)):
        flags = ["--seeds=0", f"--class={text}", f"--outdir={tmp_path / 'out'}", f"--save_latents={kept}"]
        command("images", f"--network={path}", *flags)
        with np.load(kept) as arrays:
            np.testing.assert_array_equal(arrays["label"], [[number]])
    command("sheet", f"--network={path}", "--seeds=0", f"--out={tmp_path / 'sheet.png'}")
    with pytest.raises(ValueError, match="class=dog: give a number from 0 to 0, or names with commas: cat$"):
        command("images", f"--network={path}", "--class=dog", f"--outdir={tmp_path / 'out'}")


def test_a_tile_of_a_grid(command: Command, network: Network, tmp_path: Path) -> None:
    z, file = z_from_seeds(range(8), network.z_dim), tmp_path / "fakes000200.npz"
    latents_file.save_tiles(file, Tiles(z, np.arange(8), np.zeros([8, 0], np.float32)))
    command("images", f"--latents={file}", "--tiles=5,2", "--trunc=0.7", f"--outdir={tmp_path / 'tile'}")
    command("images", "--seeds=2,5", "--trunc=0.7", f"--outdir={tmp_path / 'seed'}")
    for name in ("seed0002.png", "seed0005.png"):
        np.testing.assert_array_equal(pixels(tmp_path / "tile" / name), pixels(tmp_path / "seed" / name))
    assert len(list((tmp_path / "tile").iterdir())) == 2
    with pytest.raises(ValueError, match=r"tiles=8: latents=.*fakes000200\.npz has tiles 0 to 7"):
        command("images", f"--latents={file}", "--tiles=8", f"--outdir={tmp_path}")


def test_the_same_files_for_any_batch_size(command: Command, tmp_path: Path) -> None:
    files = []
    for batch in (1, 3, 8):
        out = tmp_path / str(batch)
        command("images", "--seeds=0-7", "--trunc=0.7", f"--batch={batch}", f"--outdir={out}")
        files.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert len(files[0]) == 8 and files[0] == files[1] == files[2]


def test_grid(command: Command, network: Network, tmp_path: Path) -> None:
    command("grid", "--seeds=0-5", "--columns=3", "--scale=2", f"--out={tmp_path / 'grid.png'}")
    images = network.synthesize(latents_from_seeds(network, range(6)).ws)
    expected = grid(images, 3).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(pixels(tmp_path / "grid.png"), expected)
    command("grid", "--seeds=0-1", "--trunc=0,0.5,1", f"--out={tmp_path / 'sweep.png'}")
    expected = grid(network.synthesize(latents_from_seeds(network, [0, 1], [0, 0.5, 1]).ws), 3)
    np.testing.assert_array_equal(pixels(tmp_path / "sweep.png"), expected)


def test_mix(command: Command, network: Network, tmp_path: Path) -> None:
    picture, kept = tmp_path / "mix.png", tmp_path / "mix.npz"
    flags = ["--rows=3,1", "--cols=4,5,9", "--layers=coarse,7", "--trunc=0.7", f"--save_latents={kept}"]
    command("mix", *flags, f"--out={picture}")
    rows, columns = (latents_from_seeds(network, seeds, [0.7]).ws for seeds in ([3, 1], [4, 5, 9]))
    sheet, size, start = pixels(picture), 16, 18
    assert sheet.shape == (start + 2 * size, start + 3 * size, 3)
    np.testing.assert_array_equal(sheet[:size, start:], grid(network.synthesize(columns), 3))
    np.testing.assert_array_equal(sheet[start:, :size], grid(network.synthesize(rows), 1))
    mixed = rows[1].copy()
    mixed[[0, 1, 2, 7]] = columns[2, [0, 1, 2, 7]]
    np.testing.assert_array_equal(sheet[-size:, -size:], network.synthesize(mixed[None])[0])
    assert (sheet[:size, :start] == 255).all()
    saved = latents_file.load(kept, network)
    np.testing.assert_array_equal(saved.ws[5], mixed)
    command("mix", f"--rows={kept}", "--cols=4,5", "--layers=fine", f"--out={picture}")
    assert pixels(picture).shape == (start + 6 * size, start + 2 * size, 3)


def test_interpolate(command: Command, network: Network, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    flags = ["--seeds=0-3", "--frames=2", "--grid=2x1", "--curve=lerp", "--trunc=1,0.5", "--rotate=0,360"]
    command("interpolate", *flags, "--loop", f"--save_latents={tmp_path / 'way.npz'}", f"--out={frames}")
    ws = latents_from_seeds(network, range(4)).ws
    assert sorted(file.name for file in frames.glob("*.png")) == [f"{number:06d}.png" for number in range(4)]
    halfway = network.w_avg + 0.875 * ((ws[0::2] + ws[1::2]) / 2 - network.w_avg)
    expected = network.synthesize(halfway, transform_matrix(np.pi / 2))
    np.testing.assert_allclose(pixels(frames / "000001.png").astype(int), np.hstack([*expected]), atol=1)
    assert len(latents_file.load(tmp_path / "way.npz", network)) == 8
    command("interpolate", "--seeds=0,1", "--frames=3", "--fps=12", "--scale=2", f"--out={tmp_path / 'walk.webm'}")
    fps, film = decoded(tmp_path / "walk.webm", 32, 32)
    assert (fps, len(film)) == (12, 4)
    command("interpolate", "--seeds=0,1", f"--out={tmp_path / 'strip.png'}")
    strip = pixels(tmp_path / "strip.png")
    assert strip.shape == (16, 9 * 16, 3)
    np.testing.assert_array_equal(strip[:, -16:], network.synthesize(ws[1:2])[0])


def test_layers(command: Command, network: Network, tmp_path: Path) -> None:
    picture = tmp_path / "layers.png"
    flags = ["--seeds=3,1", "--layers=0-2,1", "--columns=3", "--scale=4", *MOTION]
    command("layers", *flags, f"--out={picture}")
    sheet = pixels(picture)
    assert sheet.shape[2] == 3 and sheet.shape[0] == 2 * (2 * (64 + 6) + 16)
    image = network.synthesize(latents_from_seeds(network, [1]).ws, TRANSFORM)[0].repeat(4, 0).repeat(4, 1)
    left = next(x for x in range(sheet.shape[1]) if (sheet[-70:-6, x : x + 64] == image).all())
    assert left > 64  # the second of its row
    command("layers", "--seeds=3", "--frames=2", "--translate=0,0:0.1,0", f"--out={tmp_path / 'layers.gif'}")
    assert (tmp_path / "layers.gif").stat().st_size > 1000


def test_sweeps_end_in_the_last_row_of_a_picture_of_layers(command: Command, tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    flags = ["--layers=0", "--trunc=0,1", "--translate=0,0:0.5,0", f"--save_latents={kept}", f"--out={tmp_path}/x.png"]
    for more, share in ((["--seeds=0,1,2"], [0, 0.5, 1]), (["--seeds=0,1", "--loop"], [0, 0.5])):
        command("layers", *more, *flags)
        with np.load(kept) as arrays:
            np.testing.assert_allclose(arrays["psi"], share)
            shifts = [transform_matrix(0, 0.5 * each, 0) for each in share]
            np.testing.assert_allclose(arrays["transform"], shifts, rtol=0, atol=1e-6)


def test_mixed_images_have_the_transforms_of_their_rows(command: Command, network: Network, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("rows.npz", "cols.npz", "kept.npz")]
    own = [transform_matrix(0.4, 0.1, 0), transform_matrix(-0.2, 0, 0.3)]
    sources = [latents_from_seeds(network, seeds) for seeds in ([3, 1], [4, 5, 9])]
    for file, source, transform in zip(files, sources, own, strict=False):
        latents_file.save(file, apply_transform(source, transform))
    flags = [f"--rows={files[0]}", f"--cols={files[1]}", f"--save_latents={files[2]}", f"--out={tmp_path / 'mix.png'}"]
    for added, motion in (([], np.eye(3)), (MOTION, TRANSFORM)):
        command("mix", *flags, *added)
        sheet, start, each = pixels(tmp_path / "mix.png"), 18, [np.float32(one @ motion) for one in own]
        np.testing.assert_array_equal(sheet[:16, start:], grid(network.synthesize(sources[1].ws, each[1]), 3))
        np.testing.assert_array_equal(sheet[start:, :16], grid(network.synthesize(sources[0].ws, each[0]), 1))
        mixed = latents_file.load(files[2], network)
        assert mixed.transform is not None
        np.testing.assert_array_equal(mixed.transform, np.tile(each[0], [6, 1, 1]))
        np.testing.assert_array_equal(sheet[start:, start:], grid(network.synthesize(mixed.ws, each[0]), 3))
    command("mix", *flags, "--rows=3,1")  # only the columns have transforms
    assert latents_file.load(files[2], network).transform is None
    sheet = pixels(tmp_path / "mix.png")
    np.testing.assert_array_equal(sheet[:16, start:], grid(network.synthesize(sources[1].ws, own[1]), 3))
    np.testing.assert_array_equal(sheet[start:, :16], grid(network.synthesize(sources[0].ws), 1))


def test_tiles_without_seeds_are_named_by_their_number(command: Command, network: Network, tmp_path: Path) -> None:
    file, out = tmp_path / "mixed.npz", tmp_path / "out"
    latents = Latents(latents_from_seeds(network, range(8)).ws)
    latents_file.save(file, latents)
    for tiles in ("3", "7,2"):
        command(
            "images", f"--latents={file}", f"--tiles={tiles}", f"--outdir={out}", f"--save_latents={tmp_path}/k.NPZ"
        )
    assert sorted(path.name for path in out.iterdir()) == [f"latent000{number}.png" for number in (2, 3, 7)]
    np.testing.assert_array_equal(pixels(out / "latent0007.png"), network.synthesize(latents.ws[7:])[0])
    assert latents_file.load(tmp_path / "k.NPZ", network).names() == ["latent0000", "latent0001"]  # of the new file
    command("mix", f"--rows={tmp_path}/k.NPZ", "--cols=3", f"--out={tmp_path / 'mix.png'}")
    command("images", f"--latents={file}", "--tiles=5", "--trunc=0,1", f"--outdir={tmp_path / 'sweep'}")
    names = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    assert names == ["latent0005-trunc0.00.png", "latent0005-trunc1.00.png"]


def test_a_class_that_latents_of_a_file_do_not_use(command: Command, tmp_path: Path) -> None:
    path, file = tmp_path / "classes.keras", tmp_path / "kept.npz"
    tiny("stylegan3-t", label_dim=3).save(path)
    network = f"--network={path}"
    command("images", network, "--seeds=0,1", "--class=1", f"--outdir={tmp_path / 'x'}", f"--save_latents={file}")
    given = [network, f"--latents={file}", "--class=2"]
    for name in ("images", "grid", "interpolate", "layers"):
        out = f"--outdir={tmp_path / 'y'}" if name == "images" else f"--out={tmp_path / 'y.png'}"
        with pytest.raises(ValueError, match=r"class=2: latents=.*kept\.npz have their own labels; leave --class out"):
            command(name, *given, out)
        assert not (tmp_path / "y").exists() and not (tmp_path / "y.png").exists()
    sources = [f"--rows={file}", f"--cols={file}", network, f"--out={tmp_path / 'mix.png'}"]
    with pytest.raises(ValueError, match=r"class=2: rows=.*kept\.npz, cols=.*kept\.npz have their own labels; leave"):
        command("mix", *sources, "--class=2")
    command("mix", *sources, "--cols=3", "--class=2")  # of the seed
    towards = ["--trunc=0.5", "--trunc_center=class"]
    command("grid", *given, *towards, f"--out={tmp_path / 'grid.png'}")
    command("mix", *sources, *towards, "--class=2")


def test_pictures_that_are_not_square(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "wide.keras"
    tiny("stylegan3-t", resolution="24x16").save(path)
    network = open_network(str(path))
    command("mix", f"--network={path}", "--rows=3,1", "--cols=4", "--layers=coarse", f"--out={tmp_path / 'mix.png'}")
    rows, columns = (latents_from_seeds(network, seeds).ws for seeds in ([3, 1], [4]))
    sheet = pixels(tmp_path / "mix.png")
    assert sheet.shape == (3 * 16 + 3, 2 * 24 + 3, 3)
    np.testing.assert_array_equal(sheet[:16, 27:], network.synthesize(columns)[0])
    np.testing.assert_array_equal(sheet[19:, :24], grid(network.synthesize(rows), 1))
    command("layers", f"--network={path}", "--seeds=4", "--layers=0,5", f"--out={tmp_path / 'layers.png'}")
    sheet = pixels(tmp_path / "layers.png")
    image = network.synthesize(columns)[0]
    assert any((sheet[-22:-6, x : x + 24] == image).all() for x in range(48, sheet.shape[1] - 23))
    first, last = FeatureMaps(network.generator, [0, 5])(columns[0])
    assert (first.shape[:2], last.shape[:2]) == ((8, 12), (16, 24))  # at 12 samples per 24 pixels, without margins


def test_sheet(command: Command, network: Network, tmp_path: Path) -> None:
    path = tmp_path / "classes.keras"
    G = tiny("stylegan3-t", label_dim=3)
    G.save(path)
    picture, kept = tmp_path / "sheet.png", tmp_path / "kept.npz"
    flags = ["--seeds=0,1", "--classes=0,2", "--scale=4", "--trunc=0.7", f"--save_latents={kept}"]
    command("sheet", f"--network={path}", *flags, f"--out={picture}")
    sheet = pixels(picture)
    command("images", f"--network={path}", "--seeds=1", "--class=2", "--trunc=0.7", f"--outdir={tmp_path}")
    image = pixels(tmp_path / "seed0001.png").repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(sheet[-70:-6, -70:-6], image)
    with np.load(kept) as arrays:
        assert arrays["seeds"].tolist() == [0, 0, 1, 1] and arrays["label"].argmax(1).tolist() == [0, 2, 0, 2]
    command("images", f"--network={path}", f"--latents={kept}", f"--outdir={tmp_path / 'again'}")
    again = sorted(file.name for file in (tmp_path / "again").iterdir())
    assert again == [f"seed000{seed}-class{kind}.png" for seed in (0, 1) for kind in (0, 2)]
    assert pixels(tmp_path / "again" / again[-1]).tobytes() == pixels(tmp_path / "seed0001.png").tobytes()

    (tmp_path / "classes.json").write_text('["cat", "1", "People & Body"]')  # as the trainer writes it into a run
    named = ["--class=People & Body", "--seeds=1", "--trunc=0.7", f"--outdir={tmp_path / 'named'}"]
    command("images", f"--network={path}", *named)
    assert pixels(tmp_path / "named" / "seed0001.png").tobytes() == pixels(tmp_path / "seed0001.png").tobytes()
    with pytest.raises(ValueError, match="class=dog: .* or names with commas: cat, 1, People & Body$"):
        command("images", f"--network={path}", "--class=dog", f"--outdir={tmp_path}")
    command("sheet", f"--network={path}", *flags, f"--out={tmp_path / 'captions.png'}")
    captions = pixels(tmp_path / "captions.png")
    assert captions.shape[1] > sheet.shape[1]  # "People & Body" is wider than its image
    by_name = [*flags, "--classes=cat,People & Body", f"--out={tmp_path / 'by_name.png'}"]
    command("sheet", f"--network={path}", *by_name)
    np.testing.assert_array_equal(pixels(tmp_path / "by_name.png"), captions)
    both = ["--class=People & Body,cat", "--seeds=1", f"--outdir={tmp_path / 'both'}"]
    command("images", f"--network={path}", *both, f"--save_latents={kept}")
    with np.load(kept) as arrays:
        np.testing.assert_array_equal(arrays["label"], [[1, 0, 1]])
    (tmp_path / "classes.json").unlink()

    with pytest.raises(ValueError, match="classes=3: this network has classes 0 to 2"):
        command("sheet", f"--network={path}", "--classes=3", f"--out={picture}")
    command("images", f"--network={path}", "--seeds=1", "--class=0,0,1", "--trunc=0.7", f"--outdir={tmp_path / 'v'}")
    assert pixels(tmp_path / "v" / "seed0001.png").tobytes() == pixels(tmp_path / "seed0001.png").tobytes()
    for label, message in [
        ([], "--class is missing: give a vector of 3 numbers, a number from 0 to 2$"),
        (["--class=3"], "class=3: give a vector of 3 numbers"),
        (["--class=1,0"], "class=1,0: give a vector of 3 numbers"),
        (["--class=1,x,0"], "class=1,x,0: give a vector of 3 numbers"),
        (["--class=1,nan,0"], "class=1,nan,0: give a vector of 3 numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            command("images", f"--network={path}", *label, f"--outdir={tmp_path}")


def test_a_label_of_one_number_is_no_class(command: Command, tmp_path: Path) -> None:
    path, kept = tmp_path / "age.keras", tmp_path / "kept.npz"
    tiny("stylegan3-t", label_dim=1).save(path)
    for text, number in (("0", 0), ("1", 1), ("-0.5", -0.5)):
        flags = ["--seeds=0", f"--class={text}", f"--outdir={tmp_path}", f"--save_latents={kept}"]
        command("images", f"--network={path}", *flags)
        with np.load(kept) as arrays:
            np.testing.assert_array_equal(arrays["label"], [[number]])
    with pytest.raises(ValueError, match="class=old: give a number$"):
        command("images", f"--network={path}", "--class=old", f"--outdir={tmp_path}")
    with pytest.raises(ValueError, match=r"age\.keras: its label is one number, .*; grid --class=NUMBER takes one$"):
        command("sheet", f"--network={path}", f"--out={tmp_path / 'sheet.png'}")


def test_numbers_that_the_data_set_has_standardized(command: Command, tmp_path: Path) -> None:
    """Given as they were before, where the run or a file beside the network knows the scale."""
    path, kept = tmp_path / "age.keras", tmp_path / "kept.npz"

    def label_of(text: str) -> list[float]:
        flags = ["--seeds=0", f"--class={text}", f"--outdir={tmp_path / 'images'}", f"--save_latents={kept}"]
        command("images", f"--network={path}", *flags)
        with np.load(kept) as arrays:
            (label,) = arrays["label"].tolist()
        return label

    tiny("stylegan3-t", label_dim=1).save(path)
    (tmp_path / "label_scale.json").write_text('{"mean": [40.0], "std": [10.0]}')  # as the trainer writes it
    assert label_of("30") == [-1] and label_of("40") == [0]
    expected = r"give a number, as before they were standardized \(means 40, standard deviations 10\)$"
    for flag, given in (["--class=old"], "class=old"), ([], "--class is missing"):
        with pytest.raises(ValueError, match=f"{given}: {expected}"):
            command("images", f"--network={path}", *flag, f"--outdir={tmp_path}")
    (tmp_path / "age-label_scale.json").write_text('{"mean": [0.0], "std": [2.0]}')  # its own, which comes first
    assert label_of("3") == [1.5]

    path = tmp_path / "two.keras"
    tiny("stylegan3-t", label_dim=2).save(path)
    assert label_of("0.5,3") == [0.5, 3]  # the scale is of other labels
    (tmp_path / "two-label_scale.json").write_text('{"mean": [20200101.5, 5], "std": [2, 0]}')
    assert label_of("20200102,6") == [0.25, 1]
    with pytest.raises(ValueError, match="class=1: give a vector of 2 numbers, as before they were standardized"):
        label_of("1")
    with pytest.raises(ValueError, match=r"its label is 2 numbers, .*; grid --class=NUMBER,NUMBER,\.\.\. takes them$"):
        command("sheet", f"--network={path}", f"--out={tmp_path / 'sheet.png'}")
    (tmp_path / "two-label_scale.json").write_text("{")
    (tmp_path / "label_scale.json").unlink()
    assert label_of("0.5,3") == [0.5, 3]


def test_truncation_towards_the_average_of_a_class(command: Command, tmp_path: Path) -> None:
    path, kept = tmp_path / "classes.keras", tmp_path / "kept.npz"
    tiny("stylegan3-t", label_dim=3).save(path)
    network = open_network(str(path))
    averages = np.stack([network.class_average(label) for label in np.eye(3)])
    center = [f"--network={path}", "--trunc_center=class", f"--save_latents={kept}"]
    command("sheet", *center, "--seeds=0,1", "--trunc=0", f"--out={tmp_path / 'sheet.png'}")
    with np.load(kept) as arrays:  # all of a class are its average
        np.testing.assert_allclose(arrays["ws"][:, 0], np.tile(averages, [2, 1]), atol=1e-6)
    command("images", *center, "--seeds=7", "--class=1", "--trunc=0,0.5", f"--outdir={tmp_path / 'images'}")
    with np.load(kept) as arrays:
        np.testing.assert_allclose(arrays["ws"][0, 0], averages[1], atol=1e-6)
        whole = network.map(z_from_seeds([7], 6), label=[0, 1, 0])[0]
        np.testing.assert_allclose(arrays["ws"][1], (averages[1] + whole) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="trunc_center=class: leave it out, as network=.*tiny.keras has no labels"):
        command("images", "--trunc_center=class", "--trunc=0.5", f"--outdir={tmp_path}")


REFUSED = [
    ("images", ["--seeds=3-x"], "seeds=3-x: give numbers and ranges"),
    ("images", ["--seeds=3", "--latents=x.npz"], "seeds=3, latents=x.npz: give one of them"),
    ("images", ["--tiles=3"], "tiles=3: counts the images of a file; give it with --latents"),
    ("images", ["--trunc=a"], "trunc=a: give numbers, separated by commas"),
    ("images", ["--trunc=nan"], "trunc=nan: give numbers"),
    ("images", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("grid", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("mix", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("interpolate", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("layers", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("sheet", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("edit", ["--trunc_cutoff=9", "--trunc=0.5"], "trunc_cutoff=9: network=.* has 8 style vectors"),
    ("images", ["--trunc_cutoff=4"], "trunc_cutoff=4: has no effect without --trunc; add it, such as --trunc=0.7"),
    ("layers", ["--trunc_cutoff=4"], "trunc_cutoff=4: has no effect without --trunc"),
    ("sheet", ["--trunc_center=class"], "trunc_center=class: has no effect without --trunc"),
    ("interpolate", ["--trunc_center=class", "--class=1"], "trunc_center=class: has no effect without --trunc"),
    ("images", ["--seeds=3,9-7"], "seeds=3,9-7: give numbers and ranges, the smaller number first"),
    ("images", ["--latents={latents}", "--tiles=1-0"], "tiles=1-0: give numbers and ranges, the smaller number first"),
    ("layers", ["--layers=3-1"], "layers=3-1: give numbers and ranges, the smaller number first"),
    ("mix", ["--layers=coarse,7-5"], "layers=coarse,7-5: give .* ranges, the smaller number first"),
    ("edit", ["--label_latents=x.npz"], "label_latents=x.npz: has no effect without --labels; add it or leave it out"),
    ("images", ["--translate=1"], "translate=1: give X,Y"),
    ("images", ["--translate=0,0:1,0"], "rotate=0, translate=0,0:1,0: give one value each; several are for videos"),
    ("images", ["--rotate=0,90"], "rotate=0,90, translate=0,0: give one value each"),
    ("images", ["--class=0"], "class=0: leave it out, as network=.* has no labels"),
    ("images", ["--timeout_s=3"], "network=.*tiny.keras: timeout_s are for grpc://HOST:PORT/MODEL; leave them out"),
    ("mix", ["--rows=5-3"], "rows=5-3: give numbers and ranges, the smaller number first"),
    ("mix", ["--cols=7,-1"], "cols=7,-1: give numbers and ranges"),
    ("layers", ["--frames=99"], "frames=99, out=.*: a .png file shows the keyframes alone; leave frames out"),
    ("layers", ["--curve=lerp"], "curve=lerp, out=.*: a .png file shows the keyframes alone"),
    ("layers", ["--fps=10"], "fps=10, out=.*: a .png file shows the keyframes alone"),
    ("mix", ["--layers=thick"], "layers=thick: give coarse, middle, fine, or numbers"),
    ("mix", ["--layers=8"], "layers=8: this network has style vectors 0 to 7"),
    ("mix", ["--trunc=0,1"], "trunc=0,1: give one number"),
    ("interpolate", ["--latents=x.npz", "--curve=slerp"], "latents=x.npz: slerp interpolates the z of seeds"),
    ("interpolate", ["--grid=2"], "grid=2: give COLUMNSxROWS"),
    ("interpolate", ["--translate=0,0:1"], "translate=0,0:1: give X,Y, or several of them"),
    ("layers", ["--seeds=0", "--trunc=0,1"], "trunc=0,1: give one number"),
    ("layers", ["--seeds=0", "--rotate=0,90"], "rotate=0,90, translate=0,0: give one value each"),
    ("layers", ["--layers=6"], "layers=6: this network has layers 0 to 5"),
    ("sheet", [], "has no classes to show; grid takes networks without labels"),
]


@pytest.fixture(scope="module")
def two_latents(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latents") / "two.npz"
    latents_file.save(path, latents_from_seeds(network, [0, 1]))
    return path


@pytest.mark.parametrize(("name", "flags", "message"), REFUSED)
def test_refusals(
    command: Command, two_latents: Path, tmp_path: Path, name: str, flags: list[str], message: str
) -> None:
    out = "outdir" if name == "images" else "out"
    flags = [flag.replace("{latents}", str(two_latents)) for flag in flags]
    with pytest.raises(ValueError, match=message) as caught:
        command(name, *flags, f"--{out}={tmp_path / 'x.png'}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "out"),
    [("grid", "x.jpg"), ("mix", "x"), ("interpolate", "x.avi"), ("layers", "x.jpg"), ("edit", "x.webp")],
)
def test_pictures_of_other_formats_are_refused_before_they_are_drawn(command: Command, name: str, out: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match=rf"flag --out={out}: give a name that ends in \."):
        command(name, f"--out={out}")


@pytest.mark.parametrize("name", ["images", "grid", "mix", "edit"])
def test_latents_are_saved_under_names_that_other_commands_take_for_files(command: Command, name: str) -> None:
    out = "--outdir=x" if name == "images" else "--out=x.png"
    with pytest.raises(flags.IllegalFlagValueError, match=r"flag --save_latents=face: give a name that ends in \.npz"):
        command(name, out, "--save_latents=face")


def test_only_commands_with_sweeps_tell_of_them() -> None:
    for name, sweeps in (("grid", True), ("images", True), ("edit", True), ("mix", False), ("sheet", False)):
        module = importlib.import_module(f"sg3tf.cli.{'edit' if name == 'edit' else f'generate.{name}'}")
        options = flags.FlagValues()
        module.define_flags(options)
        assert ("several values" in options["trunc"].help) == sweeps, name


@pytest.fixture(scope="module")
def transparent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three classes and four channels, under a name that shells and formats treat specially."""
    folder = tmp_path_factory.mktemp("x") / "a[b]*?\\ 'c' \"d\" $e 50%s {f}\n~ü:g"
    folder.mkdir()
    tiny("stylegan2", image_channels=4, label_dim=3).save(folder / "rgba.keras")
    return folder


def test_sheets_keep_transparency(command: Command, transparent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = f"--network={transparent / 'rgba.keras'}"
    out, kept = transparent / ("x" * 200 + ".png"), transparent / "kept.npz"
    command("sheet", network, "--seeds=3", "--classes=0,2", f"--out={out}", f"--save_latents={kept}")
    G = open_network(str(transparent / "rgba.keras"))
    latents = latents_file.load(kept, G)
    drawn, sheet = G.synthesize(latents.ws), pixels(out)
    assert sheet.shape[2] == 4 and drawn.shape == (2, 16, 16, 4) and drawn[..., 3].min() < 255
    first = find(sheet, drawn[0])
    assert first and find(sheet, drawn[1])[0] == first[0]
    command("layers", network, f"--latents={kept}", "--columns=3", f"--out={out}")
    assert find(pixels(out), drawn[0])
    command("edit", network, f"--latents={kept}", "--strength=0", "--count=1", "--class=0", f"--out={out}")
    assert find(pixels(out), drawn[0])
    command("images", network, f"--latents={kept}", f"--outdir={transparent / 'out'}")
    assert sorted(path.name for path in (transparent / "out").iterdir()) == [
        f"seed0003-class{number}.png" for number in (0, 2)
    ]


def find(sheet: Array, tile: Array) -> tuple[int, int] | None:
    """Row and column of the upper left corner of a tile; None if the sheet does not have it."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, tile.shape)[:, :, 0]
    places = np.argwhere((windows == tile).all(axis=(2, 3, 4)))
    return tuple(places[0]) if len(places) else None


def test_a_video_of_any_name_is_finished(command: Command, transparent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(transparent)
    for out in ("./a:b.mp4", "-c.gif", "%d"):
        command("interpolate", "--network=./rgba.keras", "--seeds=0,1", "--frames=2", f"--out={out}", "--class=1")
        assert Path(out).exists() and not list(transparent.glob(".*"))
