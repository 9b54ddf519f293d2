"""--init_from: the weights of another model, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from sg3tf.convert.official_network import from_config
from sg3tf.convert.weights import to_arrays
from sg3tf.models.discriminator_loading import discriminator_of
from sg3tf.ops import use_backend
from sg3tf.utils.resolution import Size
from tests.helpers import tiny_run
from tests.helpers.dtype_policy import global_dtype_policy
from tests.helpers.numerics import nchw
from tests.helpers.official_writer import dumps, network, usual_clamps
from tests.helpers.reference.resampling import upfirdn2d
from trainer import run_dir, transfer
from trainer.errors import OptionError
from trainer.layer_matching import copy_layers
from trainer.state import TrainState

NETWORKS = transfer.NETWORKS


@pytest.fixture(scope="module")
def options(faces):
    return tiny_run.options(faces)


@pytest.fixture(scope="module")
def source(options, tmp_path_factory):
    """(run folder, its state)"""
    run = run_dir.create(tmp_path_factory.mktemp("runs"), options)
    state = TrainState(dataclasses.replace(options, seed=5))
    for part in ("G", "D", "G_ema"):
        for index, variable in enumerate(getattr(state, part).variables):
            variable.assign(np.full(variable.shape, index + len(part), np.float32))
    state.cur_nimg, state.step = 4808, 601
    state.pl_mean.assign(3.0)
    state.save(run_dir.new_checkpoint(run, 4808))
    state.G_ema.save(run / "network-snapshot-000004.keras")
    return run, state


def new(options, source, **changes):
    begun = dataclasses.replace(options, init_from=str(source), **changes)
    differences = transfer.check_init_from(begun)
    state = TrainState(begun)
    notes = transfer.init_from(state, source)
    assert differences == [note for note in notes if " has " in note and " has no " not in note]
    return state, notes


def assert_equal(model, expected):
    for one, other in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize("what", ["run", "checkpoint"])
def test_all_networks_of_a_run_and_nothing_else(options, source, what):
    run, saved = source
    state, notes = new(options, run if what == "run" else run_dir.checkpoints(run)[-1])
    for part in ("G", "D", "G_ema"):
        assert_equal(getattr(state, part), getattr(saved, part))
    assert notes == []
    assert (state.cur_nimg, state.step, float(state.pl_mean)) == (0, 0, 0.0)


def test_both_generators_of_a_keras_file(options, source):
    run, saved = source
    state, (note,) = new(options, run / "network-snapshot-000004.keras")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.G_ema, saved.G_ema)
    assert_equal(state.D, TrainState(options).D)  # the seed alone decides
    assert "has no D, which starts from random weights" in note


def test_a_discriminator_beside_a_generator(options, source, tmp_path):
    _, saved = source
    saved.G_ema.save(tmp_path / "faces.keras")
    saved.D.save(tmp_path / "faces-discriminator.keras")
    state, notes = new(options, tmp_path / "faces.keras")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.D, saved.D)
    assert notes == []
    _, notes = new(options, tmp_path / "faces.keras", cmax=4)
    assert "G has channel_max 8 there, 4 here" in notes[0]
    saved.G.save(tmp_path / "faces-discriminator.keras")
    with pytest.raises(OptionError, match="faces-discriminator.keras: holds a StyleGAN3Generator, not a Discrim"):
        new(options, tmp_path / "faces.keras")


def test_the_discriminator_of_converted_networks(options, source, tmp_path):
    _, saved = source
    for part in NETWORKS:
        getattr(saved, part).save(tmp_path / f"{part}.keras")
    state, notes = new(options, tmp_path / "G_ema.keras")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.D, saved.D)
    assert notes == []
    assert_equal(discriminator_of(tmp_path), saved.D)
    (tmp_path / "G_ema.keras").rename(tmp_path / "faces.keras")
    _, (note,) = new(options, tmp_path / "faces.keras")
    assert "has no D" in note


def test_a_generator_whose_discriminator_would_have_too_long_a_name(options, source, tmp_path):
    file = tmp_path / f"{'x' * 248}.keras"
    source[1].G_ema.save(tmp_path / "faces.keras")
    (tmp_path / "faces.keras").rename(file)
    state, notes = new(options, file)
    assert_equal(state.G, source[1].G_ema)
    assert "has no D, which starts from random weights" in notes[0]
    with pytest.raises(FileNotFoundError, match="x-discriminator.keras does not exist; put the discriminator there"):
        discriminator_of(file)


def test_the_discriminator_of_a_run(source, tmp_path, capsys):
    """From the newest checkpoint that is not after the generator."""
    run, saved = source
    assert_equal(discriminator_of(run), saved.D)
    with global_dtype_policy("mixed_float16"):
        assert discriminator_of(run).dtype_policy.name == "float32"
    assert_equal(discriminator_of(run_dir.checkpoints(run)[-1]), saved.D)
    assert capsys.readouterr().err == ""
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .* is of 4 kimg or before; name one of its 1 check"):
        discriminator_of(run / "network-snapshot-000004.keras")
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copy(copy / "network-snapshot-000004.keras", copy / "network-snapshot-000005.keras")
    shutil.copytree(copy / "checkpoints" / "000004808", copy / "checkpoints" / "000004808.bak")
    assert_equal(discriminator_of(copy), saved.D)
    assert "discriminator after 4.808 kimg, checkpoints/000004808" in capsys.readouterr().err
    with open(copy / "checkpoints" / "000004808" / "state.index", "ab") as file:
        file.write(b"0")
    with pytest.raises(ValueError, match=r"000004808: the discriminator cannot be read \(state.index is damaged"):
        discriminator_of(copy)


def test_the_address_of_a_generator(options, source, tmp_path, monkeypatch):
    """With the discriminator beside it, from a prepared cache; notes name the address, not the cache."""
    _, saved = source
    folder = tmp_path / "models--user--faces" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (tmp_path / "models--user--faces" / "refs").mkdir()
    (tmp_path / "models--user--faces" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    saved.G_ema.save(folder / "generator.keras")
    saved.D.save(folder / "generator-discriminator.keras")
    state, notes = new(options, "hf://user/faces")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.D, saved.D)
    assert notes == []
    _, notes = new(options, "hf://user/faces", cmax=4)
    assert notes[0].startswith("--init_from=hf://user/faces: G has channel_max 8 there, 4 here")


def test_each_network_of_a_folder(options, source, tmp_path):
    _, saved = source
    saved.G.save(tmp_path / "G.keras")
    state, (note,) = new(options, tmp_path)
    assert_equal(state.G, saved.G)
    assert_equal(state.G_ema, saved.G)
    assert "has no D" in note
    saved.D.save(tmp_path / "D.keras")
    saved.G_ema.save(tmp_path / "G_ema.keras")
    state, notes = new(options, tmp_path)
    for part in ("G", "D", "G_ema"):
        assert_equal(getattr(state, part), getattr(saved, part))
    assert notes == []
    state, notes = new(options, tmp_path / "D.keras")
    assert_equal(state.D, saved.D)
    assert [note.split(": ")[1][:8] for note in notes] == ["has no G", "has no G"]


def test_a_network_without_a_clamp(options, tmp_path):
    """As some published ones are; float32's maximum stands for none."""
    config = dataclasses.replace(options.generator(), conv_clamp=3.4e38)
    G = build_generator(config)
    G.save(tmp_path / "noclamp.keras")
    transfer.check_init_from(dataclasses.replace(options, init_from=str(tmp_path / "noclamp.keras")))
    state, notes = new(options, tmp_path / "noclamp.keras")
    assert_equal(state.G, G)
    assert sum("G clamps activations at 3.4e+38 there, and at 256 here" in note for note in notes) == 1


def test_other_labels_and_precision_copy_what_fits(options, source):
    run, saved = source
    state, notes = new(options, run, label_dim=3, precision="bf16")
    assert_equal(state.G.fourier_input, saved.G.fourier_input)
    lines = [note.split(": ", 1)[1] for note in notes]
    assert [line for line in lines if " has " in line] == [f"{part} has label_dim 0 there, 3 here" for part in NETWORKS]
    for part in NETWORKS:
        assert f"{part} mapping.embed: initial" in lines
    assert "G mapping.fc0: resized (kernel 512x512 to 1024x512)" in lines
    assert "G mapping.fc1: copied" in lines and "D b4.out: initial" in lines and "D b16.fromrgb: copied" in lines
    # The label has no effect at first: with twice as many inputs, weights are divided by a larger root.
    fc0, before = state.G.mapping_network.dense[0].kernel.numpy(), saved.G.mapping_network.dense[0].kernel.numpy()
    np.testing.assert_allclose(fc0[:512], 2**0.5 * before, rtol=1e-6)
    assert not fc0[512:].any()


def test_class_numbers_without_images(options):
    """Weights of classes move to the numbers of the same classes in the data, and mean what they did before."""
    there, here = (dataclasses.replace(options, label_dim=dim) for dim in (5, 3))
    label = np.eye(5, dtype=np.float32)[[1, 4, 2]]
    z = np.random.default_rng(0).normal(size=[3, 512])
    for build in (lambda o: build_generator(o.generator()), lambda o: Discriminator(o.discriminator())):
        source, target = build(there), build(here)
        randomize(source)
        lines = copy_layers(source, target, (1, 4, 2))
        assert "mapping.embed: resized (kernel of 3 of 5 classes)" in lines
        assert not any("initial" in line for line in lines)
        inputs = () if isinstance(source, Discriminator) else (z,)
        expected = source.mapping_network(*inputs, label=label)
        found = target.mapping_network(*inputs, label=np.eye(3, dtype=np.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert "mapping.embed: initial" in copy_layers(source, target)


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        (("1", "2", "4"), (), (1, 2, 4)),  # of an official pickle
        (("1", "2", "3"), ("1", "2", "3", "4", "5"), (0, 1, 2)),
        (("dog", "cat"), ("cat", "cow", "dog"), (2, 0)),
        (("dog", "ox"), ("cat", "cow", "dog"), ()),
        (("dog", "cat"), (), ()),
        (("01", "1"), (), ()),
        ((), (), ()),
    ],
)
def test_numbers_of_classes_in_the_source(classes, names, expected):
    assert transfer._class_numbers(classes, names, 5) == expected


def test_a_shorter_latent_beside_a_label(options):
    """The weights of the label stay those of the label."""
    config = dataclasses.replace(options.generator(), label_dim=2)
    source, target = build_generator(dataclasses.replace(config, z_dim=16)), build_generator(config)
    randomize(source)
    copy_layers(source, target)
    # [z, label]; when used, weights are divided by the root of the number of inputs.
    kernels = [model.mapping_network.dense[0].kernel.numpy() for model in (source, target)]
    before, after = (kernel / len(kernel) ** 0.5 for kernel in kernels)
    np.testing.assert_allclose(after[:16], before[:16], rtol=1e-5)
    np.testing.assert_allclose(after[512:], before[16:], rtol=1e-5)
    assert not after[16:512].any()


def test_channels_that_are_new_change_nothing_at_first(options):
    """Of StyleGAN3 and StyleGAN2: new channels add nothing to what was there before."""
    for cfg in ("stylegan3-t", "stylegan2"):
        small, large = (dataclasses.replace(options, cfg=cfg, cmax=cmax) for cmax in (2, 4))
        before, after = (build_generator(o.generator()) for o in (small, large))
        randomize(before)
        lines = copy_layers(before, after)
        assert not any("initial" in line and "resized" not in line for line in lines)
        z = np.random.default_rng(0).normal(size=[2, 512])
        with use_backend("matmul"):
            expected, images = before(z), after(z)
        # Rounding of some twenty layers in float32, at 6e-8 each, of images that are about 1.
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=cfg)


def randomize(model):
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.3 * rng.normal(size=variable.shape))


def test_a_larger_stylegan2_continues_the_images_of_a_smaller_one(options):
    """Without the new ToRGB, twice the resolution is the small image, upsampled."""
    sizes = [dataclasses.replace(options, cfg="stylegan2", resolution=r).generator() for r in (16, 32)]
    before, after = map(build_generator, sizes)
    randomize(before)
    lines = copy_layers(before, after)
    initial = [f"b32.{layer}: initial" for layer in ("conv0", "conv1", "torgb")]
    assert [line for line in lines if not line.endswith(": copied")] == initial
    after.torgbs[-1].kernel.assign(tf.zeros_like(after.torgbs[-1].kernel))
    z = np.random.default_rng(0).normal(size=[2, 512])
    with use_backend("matmul"):
        small, large = nchw(before(z)), nchw(after(z))
    expected = upfirdn2d(small, np.array([1, 3, 3, 1]) / 8, up=2, pad=(2, 1, 2, 1), gain=4)
    np.testing.assert_allclose(large, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_stylegan3_layers_match_in_order_and_by_cutoff(options):
    def config(**changes):
        return dataclasses.replace(options.generator(), **changes)

    before, after = build_generator(config()), build_generator(config(resolution=32, channel_base=512))
    randomize(before)
    copy_layers(before, after)
    for one, other in zip(before.synthesis_layers[:-1], after.synthesis_layers[:-1], strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel[..., : one.plan.in_channels, : one.plan.out_channels])
    # Fewer layers: those of the nearest cutoffs, here 2 * 4^(i / 12) and 2 * 4^(i / 6).
    lines = copy_layers(before, build_generator(config(num_layers=8)))
    origins = [line.split(" from ")[1].split("_")[0] for line in lines if line.startswith("L") and " from " in line]
    assert origins == ["L2", "L4", "L6", "L8", "L10", "L12", "L13"]


def test_networks_of_another_shape(options):
    square = build_generator(dataclasses.replace(options, resolution=32).generator())
    randomize(square)
    tall = build_generator(dataclasses.replace(square.config, resolution=Size(16, 32)))
    lines = copy_layers(square, tall)
    assert lines and all(": copied" in line for line in lines)
    # The unit of frequencies and translations is the image width, which is half as great.
    one, other = square.fourier_input, tall.fourier_input
    np.testing.assert_allclose(other.freqs, 0.5 * one.freqs, rtol=1e-6)
    np.testing.assert_allclose(other.affine.bias, one.affine.bias * [1, 1, 2, 2], rtol=1e-6)
    before = Discriminator(dataclasses.replace(options.discriminator(), resolution=32))
    randomize(before)
    after = Discriminator(dataclasses.replace(before.config, resolution=Size(32, 16)))
    lines = copy_layers(before, after)
    assert "b32.fromrgb: copied" in lines and "b8.conv: copied from b4.conv" in lines
    assert "b8.fc: resized from b4.fc (kernel 128x8 to 256x8)" in lines
    # 8 x 4 positions in place of 4 x 4: of features that are the same everywhere, the same sum.
    x = np.random.default_rng(0).normal(size=[2, 8]).astype(np.float32)
    np.testing.assert_allclose(after.fc(np.tile(x, 32)), before.fc(np.tile(x, 16)), rtol=1e-4, atol=1e-5)
    # As many positions, in another order.
    turned = Discriminator(dataclasses.replace(before.config, resolution=Size(16, 32)))
    assert "b8.fc: resized (kernel from a grid of 8x4 to 4x8)" in copy_layers(after, turned)


@pytest.mark.parametrize(
    ("there", "here", "origins", "new"),
    [
        (32, Size(48, 32), {"b48": "b32", "b24": "b16", "b12": "b8"}, []),
        (16, Size(48, 32), {"b24": "b16", "b12": "b8"}, ["b48"]),
        (Size(48, 32), 32, {"b32": "b48", "b16": "b24", "b8": "b12"}, []),
        (Size(64, 32), 32, {"b32": "b32", "b16": "b16"}, ["b8"]),
        (64, 32, {"b32": "b32", "b16": "b16", "b8": "b8"}, []),
    ],
)
def test_discriminators_of_other_resolutions(options, there, here, origins, new):
    """Blocks match by resolution, or in their order if none agrees; a block without a counterpart halves its input."""
    config = dataclasses.replace(options.discriminator(), channel_base=2**20)  # as many channels everywhere
    before, after = (Discriminator(dataclasses.replace(config, resolution=size)) for size in (there, here))
    randomize(before)
    lines = copy_layers(before, after)
    blocks = {block.name: block for block in before.blocks}
    for block in after.blocks:
        if block.name in origins:
            assert_equal(block, blocks[origins[block.name]])
    assert {line for line in lines if "identity" in line} == {f"{block}.skip: identity" for block in new}
    if "b64" not in blocks:  # which reads the pixels of 64, and has no counterpart
        assert_equal(after.fromrgb, before.fromrgb)
    features = np.random.default_rng(0).normal(size=[1, 16, 16, 8]).astype(np.float32)
    for name in new:
        (block,) = [block for block in after.blocks if block.name == name]
        with use_backend("matmul"):
            halved = upfirdn2d(nchw(features), np.array([1, 3, 3, 1]) / 8, down=2, pad=(1, 1, 1, 1))
            np.testing.assert_allclose(nchw(block(features)), halved, atol=1e-5)


def test_stylegan2_of_another_shape(options):
    """All blocks match in their order, so that a 48 x 32 begins with what 32 x 32 has learned."""
    config = dataclasses.replace(options, cfg="stylegan2", resolution=32, cbase=2**20).generator()
    before, after = (build_generator(dataclasses.replace(config, resolution=size)) for size in (32, Size(48, 32)))
    randomize(before)
    lines = copy_layers(before, after)
    assert "b48.conv1: resized from b32.conv1 (noise_const 32x32 to 32x48)" in lines
    assert "b6.const: resized from b4.const (const 4x4x8 to 4x6x8)" in lines
    assert not [line for line in lines if "initial" in line]
    np.testing.assert_array_equal(after.const, before.const.numpy()[:, [0, 1, 1, 2, 3, 3]])  # nearest columns


def test_discriminators_of_another_size_and_image(options):
    before = Discriminator(options.discriminator())
    randomize(before)
    larger = dataclasses.replace(options.discriminator(), resolution=32, image_channels=1, label_dim=2)
    after = Discriminator(larger)
    lines = copy_layers(before, after)
    assert {"b32.conv0: initial", "b4.out: initial", "mapping.embed: initial"} < set(lines)
    for one, other in zip(before.blocks, after.blocks[1:], strict=True):
        assert_equal(one, other)
    assert_equal(before.fc, after.fc)
    larger = dataclasses.replace(before.config, resolution=64, channel_base=512)
    lines = copy_layers(before, after := Discriminator(larger))
    assert {
        "b64.skip: identity",
        "b64.conv1: zero",
        "b32.skip: identity",
        "b64.fromrgb: copied from b16.fromrgb",
    } < set(lines)
    image = np.random.default_rng(1).normal(size=[2, 64, 64, 3]).astype(np.float32)
    with use_backend("matmul"):
        expected = nchw(before.fromrgb(image))  # before the two new blocks, which only halve it
        for features in after.block_outputs(image)[:2]:
            expected = upfirdn2d(expected, np.array([1, 3, 3, 1]) / 8, down=2, pad=(1, 1, 1, 1))
            np.testing.assert_allclose(nchw(features), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    # A gray image gives the features that three equal colors gave, and the other way around.
    gray = Discriminator(dataclasses.replace(before.config, image_channels=1))
    copy_layers(before, gray)
    image = np.random.default_rng(0).normal(size=[2, 16, 16, 1]).astype(np.float32)
    with use_backend("matmul"):
        expected = before(np.repeat(image, 3, axis=3))
        np.testing.assert_allclose(gray(image), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        colored = Discriminator(before.config)
        copy_layers(gray, colored)
        logits = colored(np.repeat(image, 3, axis=3))
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("cfg", ["stylegan3-t", "stylegan2"])
def test_images_of_other_channels(options, cfg):
    """Gray images are the mean of the colors; all colors are what gray was."""
    config = dataclasses.replace(options, cfg=cfg).generator()
    z = np.random.default_rng(0).normal(size=[2, 512])
    for channels, changed in ((1, 3), (3, 1), (4, 1)):
        before, after = (build_generator(dataclasses.replace(config, image_channels=n)) for n in (channels, changed))
        randomize(before)
        copy_layers(before, after)
        with use_backend("matmul"):
            expected = np.mean(before(z)[..., :3], axis=3, keepdims=True)
            np.testing.assert_allclose(after(z), expected + np.zeros(changed), atol=1e-5 * np.abs(expected).max())


def test_weights_of_statistics_have_the_same_effect(options):
    """With fewer features, and then without the statistics: weights are divided by the root of all inputs."""
    before = Discriminator(options.discriminator())
    channels = before.conv.kernel.shape[2] - 1
    fewer = Discriminator(dataclasses.replace(before.config, channel_max=channels // 2))
    none = Discriminator(dataclasses.replace(before.config, mbstd_channels=0))
    for after, inputs in ((fewer, channels // 2), (none, channels)):
        copy_layers(before, after)
        old, new_ = (D.conv.kernel.numpy() / D.conv.kernel.shape[2] ** 0.5 for D in (before, after))
        outputs = new_.shape[3]
        np.testing.assert_allclose(new_[:, :, :inputs], old[:, :, :inputs, :outputs], rtol=1e-6)
        np.testing.assert_allclose(
            new_[:, :, inputs:], old[:, :, channels : channels + (after is fewer), :outputs], rtol=1e-6
        )


def test_config_t_as_the_start_of_r(options, source):
    _, saved = source
    R = build_generator(dataclasses.replace(options, cfg="stylegan3-r").generator())
    assert any(
        line.startswith("L0_36_16: resized from L0_36_8 (kernel 3x3x8x8 to 1x1x16x16")
        for line in copy_layers(saved.G, R)
    )
    kernel = R.synthesis_layers[0].kernel.numpy()[0, 0, :8, :8]
    summed = saved.G.synthesis_layers[0].kernel.numpy().sum(axis=(0, 1))
    np.testing.assert_allclose(kernel, 2**0.5 * summed, rtol=1e-6)


def test_pickles(options, tmp_path):
    """G, D and G_ema each from its own network; a generator of another kind is named."""
    content = {}
    for seed, part in enumerate(NETWORKS):
        model = Discriminator(options.discriminator()) if part == "D" else build_generator(options.generator())
        randomize(model)
        class_name = "Discriminator" if part == "D" else "Generator"
        arguments = from_config(model.config)
        arrays = {name: array + np.float32(seed) for name, array in to_arrays(model).items()}
        content[part] = network(class_name, arrays, arguments, clamps=usual_clamps(256))
    path = tmp_path / "network.pkl"
    path.write_bytes(dumps(content))
    state, notes = new(options, path)
    assert notes == []
    biases = [float(np.mean(getattr(state, part).mapping_network.w_avg)) for part in ("G", "G_ema")]
    assert biases == [0, 2]
    assert float(tf.reduce_min(state.D.fc.bias)) > -1
    with pytest.raises(OptionError, match="G is a GeneratorConfig there, a StyleGAN2Config here"):  # although D fits
        new(options, path, cfg="stylegan2")
    path.write_bytes(dumps(content | {"D": network("Projected", {}, {})}))
    _, (note,) = new(options, path)
    assert "has no supported D (class 'Projected': only Generator and Discriminator exist" in note
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OptionError, match="network.pkl: the pickle in it is broken"):
        new(options, path)


def test_nothing_to_copy_is_refused(options, source):
    path = source[0] / "network-snapshot-000004.keras"
    with pytest.raises(OptionError, match=f"--init_from={path}: another architecture") as refusal:
        new(options, path, cfg="stylegan2")
    kinds = "G is a GeneratorConfig there, a StyleGAN2Config here"
    assert str(refusal.value).endswith(f"({kinds}); give its --cfg, or the .keras file of D alone")


@pytest.mark.parametrize("name", ["nowhere", "nowhere.pkl", "nowhere.keras"])
def test_nothing_there_is_refused(options, tmp_path, name):
    with pytest.raises(OptionError, match=f"--init_from={tmp_path / name}: (does not exist|no such file)") as refusal:
        new(options, tmp_path / name)
    assert "\n" not in str(refusal.value)
