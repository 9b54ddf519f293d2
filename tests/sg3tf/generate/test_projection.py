"""Projection of generated images, tuned generators, and the project command."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import sg3tf
from sg3tf import images
from sg3tf.editing.perceptual import features, pixels, pixels_and
from sg3tf.editing.pivotal_tuning import tune
from sg3tf.editing.projector import mean_and_sigma, project_image
from sg3tf.generate import latents_file
from sg3tf.generate.keras_network import KerasNetwork
from sg3tf.generate.network import Network
from sg3tf.generate.projection import project, projection_frames, psnr, quality, tune_network
from sg3tf.images import save_png, to_uint8
from sg3tf.latents import transform_matrix, z_from_seeds
from sg3tf.metrics.detectors.lpips import Distance
from sg3tf.models.loading import class_names, label_scale
from sg3tf.models.presets import discriminator_preset
from sg3tf.utils.label_scale import LabelScale
from tests.helpers.dtype_policy import global_dtype_policy
from tests.sg3tf.generate.conftest import Command

R, DIM = 16, 8
STEPS = 300


def small(preset: str, **config: float) -> Network:
    """Random weights, activations of unit variance, and much contrast."""
    keras.utils.set_random_seed(0)
    size = {"resolution": R, "channel_base": 256, "channel_max": 8, "z_dim": DIM, "w_dim": DIM}
    alias_free = {} if preset == "stylegan2" else {"num_layers": 4, "magnitude_ema_beta": 0.0, "output_scale": 2.0}
    G = sg3tf.Generator.from_preset(preset, **size, **alias_free, **config)
    label = np.eye(2, dtype=np.float32)[np.arange(64) % 2] if G.config.label_dim else None
    G({"z": z_from_seeds(range(64), DIM), "label": label}, update_emas=True)
    return KerasNetwork(G, preset)


@pytest.fixture(scope="module")
def alias_free() -> Network:
    return small("stylegan3-t")


def drawn(network: Network, seed: int, transform: np.ndarray | None = None) -> np.ndarray:
    return network.generator.synthesis(network.map(z_from_seeds([seed], DIM)), transform=transform).numpy()[0]


def mean_image(network: Network) -> np.ndarray:
    mean, _ = mean_and_sigma(network.sample_w(seed=0))
    return network.synthesize(np.tile(mean, [1, network.num_ws, 1]))[0]


def test_an_image_is_found_again(alias_free: Network):
    target = drawn(alias_free, 1000)
    before = [np.array(variable) for variable in alias_free.generator.variables]
    found = project(alias_free, target, steps=STEPS)
    assert psnr(mean_image(alias_free), target) < 15
    assert psnr(found.image, target) > 30
    np.testing.assert_array_equal(found.image, alias_free.synthesize(found.latents.ws)[0])
    # Each layer has the same style vector, and all else is as it was.
    assert np.ptp(found.latents.ws, axis=1).max() == 0
    assert found.latents.transform is None
    for variable, old in zip(alias_free.generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    # The learning rate of the first step is 0: the search begins at the mean.
    mean, _ = mean_and_sigma(alias_free.sample_w(seed=0))
    np.testing.assert_array_equal(found.trace.ws[0, 0], mean)
    assert found.distances[-1] < 1e-2 * found.distances[0]


@pytest.mark.slow
def test_a_motion_is_found_again():
    """To a twelfth of a pixel, and half a degree, which moves the corners by a tenth of one.

    Of four seeds, rounding lets two or three get there and the others within a degree and a third of a pixel.
    """
    network = small("stylegan3-r")
    motion = np.radians(40), 0.1, -0.05
    target = drawn(network, 1002, transform_matrix(*motion))

    def errors(seed: int) -> tuple[float, float]:
        """Of the angle, and of the translation."""
        found = project(network, target, transform=True, steps=400, seed=seed)
        assert found.latents.transform is not None
        matrix = np.linalg.inv(found.latents.transform[0])
        return abs(np.arctan2(matrix[1, 0], matrix[0, 0]) - motion[0]), np.abs(matrix[:2, 2] - motion[1:]).max()

    searches = (errors(seed) for seed in range(3))  # no more of them than are needed
    assert any(angle < np.radians(0.5) and shift < 1 / 12 / R for angle, shift in searches)


@pytest.mark.slow
def test_style_vectors_of_their_own():
    """An image of mixed styles, which no single style vector makes."""
    network = small("stylegan2")
    ws = network.map(z_from_seeds([1000, 1001], DIM))
    ws[0, 3:] = ws[1, 3:]
    target = network.generator.synthesis(ws[:1]).numpy()[0]
    single, several = (project(network, target, space=space, steps=STEPS) for space in ("w", "w+"))
    assert psnr(several.image, target) > psnr(single.image, target) + 3
    assert np.ptp(several.latents.ws, axis=1).min() > 0


def test_the_same_bytes_every_time(alias_free: Network):
    target = drawn(alias_free, 5)
    first, second, other = (project(alias_free, target, steps=20, seed=seed, transform=True) for seed in (1, 1, 2))
    for name, array in first.trace.arrays().items():
        np.testing.assert_array_equal(array, second.trace.arrays()[name])
        assert not np.array_equal(array, other.trace.arrays()[name])


def test_labels_start_at_their_own_mean():
    network = small("stylegan3-t", label_dim=2)
    label = np.eye(2, dtype=np.float32)[1]
    found = project(network, np.zeros([R, R, 3], np.float32), steps=1, label=label)
    ws = network.map(z_from_seeds(range(400), DIM), label=label)[:, 0]
    np.testing.assert_allclose(found.latents.ws[0, 0], ws.mean(0), atol=5 * ws.std() / 400**0.5)
    np.testing.assert_array_equal(found.latents.label, [label])


def test_tuning(alias_free: Network):
    G = alias_free.generator
    target = drawn(alias_free, 7)
    pivot = project(alias_free, target, steps=10).latents
    before = [np.array(variable) for variable in G.variables]
    tuned = tune_network(alias_free, pivot, target, steps=60, learning_rate=3e-3)
    start, end = (psnr(network.synthesize(pivot.ws)[0], target) for network in (alias_free, tuned))
    assert end > start + 5
    for variable, old in zip(G.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    for ours, theirs in zip(G.mapping_network.variables, tuned.generator.mapping_network.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_frozen_generator_is_tuned(alias_free: Network):
    G = type(alias_free.generator).from_config(alias_free.generator.get_config())
    G.set_weights(alias_free.generator.get_weights())
    G.trainable = False
    ws, target = alias_free.map(z_from_seeds([7], DIM))[0], np.zeros([R, R, 3])
    tuned = tune(G, ws.astype(np.float64), np.eye(3), target, pixels, steps=2, learning_rate=3e-3)
    assert tuned.trainable and tuned.trainable_variables and not G.trainable
    mapping = {id(variable) for variable in tuned.mapping_network.variables}
    synthesis = [variable for variable in tuned.trainable_variables if id(variable) not in mapping]
    before = {variable.path: variable for variable in G.variables}
    moved = [not np.array_equal(variable, before[variable.path]) for variable in synthesis]
    assert np.mean(moved) > 0.9


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.zeros([R, R, 3], np.uint8), r"target of type uint8: give floats in \[-1, 1\], as sg3tf.images.to_float"),
        (np.zeros([R, R, 3], int), r"target of type int64: give floats in \[-1, 1\]"),
        (np.zeros([R, R, 1]), r"target of shape \(16, 16, 1\): give \[16, 16, 3\]"),
        (np.zeros([1, R, R, 3]), r"target of shape \(1, 16, 16, 3\): give \[16, 16, 3\]"),
        (np.zeros([8, 8, 3]), r"target of shape \(8, 8, 3\): give \[16, 16, 3\]"),
    ],
)
def test_targets_that_do_not_fit(alias_free: Network, target: np.ndarray, message: str):
    G, ws = alias_free.generator, np.zeros([alias_free.num_ws, DIM], np.float32)
    with pytest.raises(ValueError, match=message):
        project_image(G, target, pixels, np.zeros(DIM), 1.0, steps=1)
    with pytest.raises(ValueError, match=message):
        tune(G, ws, None, target, pixels, steps=1, learning_rate=1e-3)
    with (
        pytest.raises(ValueError, match=message),
        mock.patch.object(KerasNetwork, "sample_w", side_effect=AssertionError),
    ):
        project(alias_free, target, steps=1)  # before its samples are drawn


def test_targets_and_means_of_other_floats(alias_free: Network):
    """As NumPy makes them."""
    target, mean = np.random.default_rng(0).uniform(-1, 1, [R, R, 3]), np.random.default_rng(1).normal(size=DIM)
    found, expected = (
        project_image(alias_free.generator, target.astype(dtype), pixels, mean.astype(dtype), 1.0, steps=2)
        for dtype in (np.float64, np.float32)
    )
    np.testing.assert_array_equal(found.ws, expected.ws)
    with pytest.raises(ValueError, match=rf"mean of shape \(1, {DIM}\): give \[{DIM}\]"):
        project_image(alias_free.generator, target, pixels, mean[None], 1.0, steps=1)
    image = to_uint8(target)
    assert quality(image, target, pixels) == quality(image, target.astype(np.float32), pixels)


@pytest.mark.slow
def test_locality_keeps_other_images(alias_free: Network):
    target = to_uint8(drawn(alias_free, 7)).astype(np.float32) / 127.5 - 1
    pivot = project(alias_free, target, steps=10).latents
    others = alias_free.map(z_from_seeds(range(50, 58), DIM))
    change = {}
    for locality in (0.0, 1.0):
        tuned = tune_network(alias_free, pivot, target, steps=60, learning_rate=3e-3, locality=locality)
        difference = tuned.generator.synthesis(others) - alias_free.generator.synthesis(others)
        change[locality] = float(tf.reduce_mean(tf.square(difference)))
        assert psnr(tuned.synthesize(pivot.ws)[0], target) > psnr(alias_free.synthesize(pivot.ws)[0], target) + 3
    assert change[1.0] < 0.7 * change[0.0]


def test_locality_needs_others(alias_free: Network):
    ws, target = np.ones([8, 16], np.float32), np.zeros([16, 16, 3], np.float32)
    with pytest.raises(ValueError, match="locality=1: needs others"):
        tune(alias_free.generator, ws, None, target, pixels, steps=1, learning_rate=1e-3, locality=1.0)


def test_the_tuned_network_computes_like_the_original(alias_free: Network):
    ws, target = np.ones([alias_free.num_ws, alias_free.w_dim], np.float32), np.zeros([16, 16, 3], np.float32)
    with global_dtype_policy("mixed_float16"):
        tuned = tune(alias_free.generator, ws, None, target, pixels, steps=0, learning_rate=1e-3)
    assert tuned.dtype_policy.name == "float32"


def test_frames(alias_free: Network):
    target = drawn(alias_free, 1)
    found = project(alias_free, target, steps=7)
    shown = [*projection_frames(alias_free, target, found.trace, count=4)]
    assert len(shown) == 4
    np.testing.assert_array_equal(shown[-1], np.concatenate([to_uint8(target), found.image], axis=1))


def test_ratio():
    target = np.zeros([2, 2, 3], np.float32)
    assert psnr(to_uint8(target) + np.uint8(1), target) == pytest.approx(20 * np.log10(255))
    assert psnr(to_uint8(target), target) == np.inf


def test_networks_that_do_not_fit(stylegan2: Network, alias_free: Network):
    target = np.zeros([R, R, 3], np.float32)
    with pytest.raises(ValueError, match="its images cannot be rotated and translated"):
        project(stylegan2, target, transform=True)
    with pytest.raises(ValueError, match=r"space=z: use w or w\+"):
        project(alias_free, target, space="z", steps=1)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def fail(*_: object) -> None:
    raise OSError("no space")


def test_command(
    command: Command,
    network: Network,
    saved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    before = saved.read_bytes()
    picture = network.synthesize(network.map(z_from_seeds([3], network.z_dim)))[0]
    save_png(tmp_path / "target.png", picture)
    out, tuned = tmp_path / "out", tmp_path / "tuned.keras"
    arguments = [f"--target={tmp_path / 'target.png'}", f"--outdir={out}", "--steps=5", "--transform"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # the same command is given again
        patch.setattr(images, "save_png", interrupt)
        command("project", *arguments, f"--tune={tuned}", "--tune_steps=2")
    command("project", *arguments, f"--tune={tuned}", "--tune_steps=2")
    printed = capsys.readouterr()
    assert printed.err.count("distance: pixels alone, as no discriminator is found (") == 2
    assert "tiny-discriminator.keras does not exist; put the discriminator there" in printed.err
    names = {file.name for file in out.iterdir()}
    assert names == {"latents.npz", "target.png", "projected.png", "tuned.png", "side_by_side.png"}
    lines = [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]
    assert [line["image"] for line in lines] == ["projected", "tuned"]
    assert lines[1]["psnr"] > 0 and lines[1]["distance"] > 0
    assert latents_file.load(out / "latents.npz", network).transform is not None
    assert sg3tf.load(tuned).config == network.generator.config
    assert saved.read_bytes() == before
    with pytest.raises(FileExistsError, match="exists already"):
        command("project", *arguments, f"--tune={tuned}")
    with pytest.raises(ValueError, match=r"give the name of a \.keras file"):
        command("project", *arguments, "--tune=tuned.h5")
    with pytest.raises(ValueError, match="videos end in one of"):
        command("project", *arguments, "--video=film.avi")
    with pytest.raises(ValueError, match="fps=101: a GIF has at most 100"):
        command("project", *arguments, "--video=film.gif", "--fps=101")
    with monkeypatch.context() as patch:
        patch.setattr("sg3tf.generate.projection.project", None)
        for flag, file in (("outdir", saved), ("video", saved / "x.gif"), ("tune", saved / "x.keras")):
            with pytest.raises(OSError, match=f"^{flag}=.*: no files can be written to"):
                command("project", *arguments, f"--{flag}={file}")
    last = [*arguments, "--crop", f"--tune={tmp_path / 'last.keras'}", "--tune_steps=1"]
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("sg3tf.video.save", fail)
        command("project", *last, f"--video={tmp_path / 'x.gif'}")
    assert (tmp_path / "last.keras").exists()
    with Image.open(out / "projected.png") as image:
        assert image.text["crop"] == "true"
    command("project", *arguments, f"--seed={2**64 - 1}")  # without --tune
    assert not (out / "tuned.png").exists()


def test_a_tuned_network_keeps_what_its_labels_mean(command: Command, tmp_path: Path):
    """Otherwise --class=30 would be 30 standard deviations."""
    (tmp_path / "run").mkdir()
    G = small("stylegan2", label_dim=2).generator
    G.save(tmp_path / "run" / "two.keras")
    (tmp_path / "run" / "classes.json").write_text('["cat", "dog"]')
    (tmp_path / "run" / "label_scale.json").write_text('{"mean": [40, 5], "std": [10, 1]}')
    save_png(tmp_path / "target.png", np.full([R, R, 3], 191, np.uint8))
    arguments = [f"--network={tmp_path / 'run' / 'two.keras'}", f"--target={tmp_path / 'target.png'}", "--class=30,5"]
    tuned = tmp_path / "tuned" / "a.keras"
    command("project", *arguments, f"--outdir={tmp_path / 'out'}", "--steps=1", f"--tune={tuned}", "--tune_steps=1")
    assert class_names(tuned) == ("cat", "dog")
    assert label_scale(tuned) == LabelScale((40.0, 5.0), (10.0, 1.0))


def test_command_compares_the_features_of_the_discriminator_beside_the_network(
    command: Command, network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Unless flags say otherwise."""
    own, other = tmp_path / "own.keras", tmp_path / "other.keras"
    beside, film = tmp_path / "own-discriminator.keras", tmp_path / "film.gif"
    network.generator.save(own)
    other.write_bytes(own.read_bytes())
    D = sg3tf.Discriminator(discriminator_preset("stylegan3-t", R, channel_base=64, channel_max=4))
    D.save(beside)
    target = np.full([R, R, 3], 191, np.uint8)
    save_png(tmp_path / "target.png", target)
    arguments = [f"--target={tmp_path / 'target.png'}", f"--outdir={tmp_path / 'out'}", "--steps=3", "--space=w+"]

    def run(*changes: str) -> tuple[float, str]:
        command("project", *arguments, *changes)
        printed = capsys.readouterr()
        return json.loads(printed.out.splitlines()[0])["distance"], printed.err

    def expected(distance: Distance) -> float:
        ws = latents_file.load(tmp_path / "out" / "latents.npz", network).ws
        assert np.ptp(ws, axis=1).max() > 0
        return pytest.approx(quality(network.synthesize(ws)[0], target / np.float32(127.5) - 1, distance)["distance"])

    found, said = run(f"--network={own}", f"--video={film}")
    assert f"distance: pixels, and features of the discriminator {beside}\n" in said
    assert found == expected(pixels_and(features(D)))
    with Image.open(film) as frames:
        assert frames.format == "GIF" and frames.size == (2 * R, R)
    given, said = run(f"--network={other}", f"--discriminator={beside}")
    assert given == found and "distance:" not in said
    alone, said = run(f"--network={own}", "--discriminator=")
    assert alone == expected(pixels) and "distance:" not in said
    sg3tf.Discriminator(discriminator_preset("stylegan3-t", 8, channel_base=64, channel_max=4)).save(beside)
    for network_flags in ([f"--network={own}"], [f"--network={other}", f"--discriminator={beside}"]):
        message = r"^discriminator=.*own-discriminator\.keras: its images are of another size .*; give another"
        with pytest.raises(ValueError, match=message):
            run(*network_flags)
    beside.write_text("no")
    with pytest.raises(ValueError, match=r"cannot be loaded .*; give another --discriminator, or --discriminator= to"):
        run(f"--network={own}")
    with pytest.raises(ValueError, match=r"^discriminator=absent\.keras: no such file; give another --discriminator"):
        run(f"--network={own}", "--discriminator=absent.keras")
    with pytest.raises(ValueError, match=r"^detector_dir=lpips, discriminator=d\.keras: give one of them$"):
        run(f"--network={own}", "--detector_dir=lpips", "--discriminator=d.keras")
