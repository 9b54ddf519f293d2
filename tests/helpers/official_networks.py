"""The reference networks of tests/golden as the official code would have stored them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.models.filters import low_pass
from sg3tf.models.presets import generator_preset
from tests.helpers import torch_writer
from tests.helpers.official_writer import Calls, EasyDict, network, usual_clamps
from tests.helpers.reference import plan

Array = NDArray[Any]

#: Arguments of the official constructor for each of them.
OPTIONS: dict[str, dict[str, Any]] = {
    "generator_t32": {
        "z_dim": 20, "c_dim": 4, "w_dim": 16, "img_resolution": 32, "img_channels": 3,
        "mapping_kwargs": EasyDict(num_layers=2),
        "channel_base": 512, "channel_max": 24, "magnitude_ema_beta": 0.5 ** (32 / 20e3), "num_fp16_res": 4,
    },
    "generator_r32": {
        "z_dim": 16, "c_dim": 0, "w_dim": 16, "img_resolution": 32, "img_channels": 3,
        "mapping_kwargs": EasyDict(),
        "channel_base": 512, "channel_max": 24, "conv_kernel": 1, "use_radial_filters": True, "conv_clamp": 256,
    },
    "generator_sg2_32": {
        "z_dim": 16, "c_dim": 3, "w_dim": 16, "img_resolution": 32, "img_channels": 3,
        "mapping_kwargs": EasyDict(num_layers=4, layer_features=16, w_avg_beta=0.995),
        "channel_base": 256, "channel_max": 24,
    },
    "training_step": {
        "c_dim": 4, "img_resolution": 32, "img_channels": 3, "channel_base": 512, "channel_max": 24,
        "block_kwargs": EasyDict(freeze_layers=0), "mapping_kwargs": EasyDict(),
        "epilogue_kwargs": EasyDict(mbstd_group_size=2),
    },
}  # fmt: skip

SMOOTHING = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


def parameters(golden: Mapping[str, Array], prefix: str = "G/") -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in golden.items() if name.startswith(prefix)}


def stored(name: str, golden: Mapping[str, Array], layout: Any = torch_writer.legacy, **changes: Any) -> Calls:
    """Return a reference network with its filters, which the official code stores too."""
    if name == "training_step":
        arrays, class_name = parameters(golden, "D/"), "Discriminator"
        owners = {key.rpartition(".")[0] for key in arrays if key.count(".") > 1} - {"b4.fc", "b4.out"}
        owners = {owner for owner in owners if owner.startswith("b")} | {"b32", "b16", "b8"}
        filters: dict[str, Any] = {f"{owner}.resample_filter": SMOOTHING for owner in owners}
    else:
        arrays, class_name = parameters(golden), "Generator"
        convs = {key.removesuffix(".noise_const") for key in arrays if key.endswith(".noise_const")}
        owners = convs | {conv.rpartition(".")[0] for conv in convs}
        filters = {f"{owner}.resample_filter": SMOOTHING for owner in owners} or _filters(name)
    options = {**OPTIONS[name], **changes}
    return network(class_name, {**arrays, **filters}, options, layout, usual_clamps(options.get("conv_clamp", 256)))


def _filters(name: str) -> dict[str, Any]:
    filters = {}
    preset = "stylegan3-r" if name == "generator_r32" else "stylegan3-t"
    small = (
        {"channel_base": 512, "channel_max": 24}
        if name == "generator_t32"
        else {"channel_base": 256, "channel_max": 12}
    )
    for layer in plan.layers(generator_preset(preset, 32, **small)):
        up = low_pass(layer.up_taps, layer.in_cutoff, layer.in_half_width, layer.temporary_rate)
        down = low_pass(
            layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, layer.use_radial_filters
        )
        prefix = f"synthesis.{layer.name}"
        filters[f"{prefix}.up_filter"] = None if up is None else np.float32(up)
        filters[f"{prefix}.down_filter"] = None if down is None else np.float32(down)
    return filters
