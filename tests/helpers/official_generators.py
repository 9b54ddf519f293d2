"""The small generators whose weights and images, of the official PyTorch code, are in tests/golden."""

import numpy as np

import sg3tf
from sg3tf.convert import weights
from tests.helpers.numerics import nhwc, relative_error
from tests.helpers.official_networks import parameters

#: Presets and sizes by file of tests/golden.
OFFICIAL = {
    "generator_t32": ("stylegan3-t", {"channel_base": 512, "channel_max": 24, "label_dim": 4, "z_dim": 20}),
    "generator_r32": ("stylegan3-r", {"channel_base": 256, "channel_max": 12, "z_dim": 16}),
    "generator_sg2_32": (
        "stylegan2",
        {"channel_base": 256, "channel_max": 24, "label_dim": 3, "z_dim": 16, "mapping_layers": 4},
    ),
}


def official_generator(name, arrays):
    preset, sizes = OFFICIAL[name]
    G = sg3tf.Generator.from_preset(preset, 32, w_dim=16, **sizes)
    weights.load_arrays(G, parameters(arrays))
    return G


def check_official_numbers(G, arrays, run):
    """Compare what `run` makes of inputs by name with the official numbers.

    In 15 layers of sums of some 200 numbers, float32 is some 1e-6 off, as the Keras generators are.
    """
    count = len(arrays["z"])
    inputs = {"z": arrays["z"], "psi": np.ones(count, np.float32), "cutoff": np.full(count, G.num_ws)}
    if "c" in arrays:
        inputs["label"] = np.float32(arrays["c"])
    if G.supports_transform:
        inputs["transform"] = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    plain = run(inputs)
    assert relative_error(plain["ws"], arrays["ws"]) < 1e-6
    assert relative_error(plain["images"], nhwc(arrays["image_nchw"])) < 1e-5
    truncated = run(inputs | {"psi": np.full(count, 0.5, np.float32)})
    assert relative_error(truncated["images"], nhwc(arrays["image_psi05"])) < 1e-5
    cut = run(inputs | {"psi": np.full(count, 0.7, np.float32), "cutoff": np.full(count, 5)})
    assert relative_error(cut["ws"], arrays["ws_psi07_cutoff5"]) < 1e-6
    if G.supports_transform:
        moved = run(inputs | {"transform": np.tile(np.float32(arrays["transform"]), (count, 1, 1))})
        assert relative_error(moved["images"], nhwc(arrays["image_transformed"])) < 1e-5
