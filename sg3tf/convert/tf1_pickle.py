"""Networks in pickles of the official TensorFlow 1 code; StyleGAN2's are translated to the PyTorch code's names.

A stored network is a tree of components, each with its own list of variables. Dense kernels are [in, out], convolution
kernels are [height, width, in, out]. Two more things differ from PyTorch: styles are the output of the dense layer plus
1, and kernels of upsampling convolutions are rotated by 180 degrees, because these correlate, whereas PyTorch's
transposed convolution convolves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.convert import weights
from sg3tf.convert.official_network import (
    NETWORKS,
    OfficialNetwork,
    Options,
    UnsupportedNetworkError,
    doublings,
    to_config,
    to_plain_types,
)
from sg3tf.models.configs import DiscriminatorConfig, StyleGAN1Config, StyleGAN2Config
from sg3tf.utils.error_text import shown
from sg3tf.utils.resolution import longer_side
from sg3tf.utils.safe_pickle import PickledArray, PickleError

Array = NDArray[Any]
Name = tuple[str, str, Callable[[Array], Array]]

_COMPONENTS = ("mapping", "synthesis")
_FIELDS = {
    "resolution": "resolution",
    "num_channels": "image_channels",
    "label_size": "label_dim",
    "fmap_base": "channel_base",
    "fmap_max": "channel_max",
    "conv_clamp": "conv_clamp",
}
_FIXED = {"resample_kernel": [1, 3, 3, 1], "nonlinearity": "lrelu", "fmap_decay": 1.0, "fmap_min": 1}
_ARCHITECTURES = ("resnet", "orig")  # of discriminators, residual and plain
_UNUSED_VARIABLES = {"lod"}  # left over from progressive growing
_UNUSED_OPTIONS = {"num_fp16_res", "fused_modconv", "dtype", "structure"}
_GENERATOR = Options(
    {
        **_FIELDS,
        "latent_size": "z_dim",
        "dlatent_size": "w_dim",
        "mapping_layers": "mapping_layers",
        "mapping_features": "mapping_features",
        "use_noise": "noise",
    },
    {
        **_FIXED,
        "architecture": "skip",
        "mapping_nonlinearity": "lrelu",
        "mapping_lrmul": 0.01,
        "normalize_latents": True,
    },
    frozenset(
        {
            *_UNUSED_OPTIONS,
            "truncation_psi",
            "truncation_cutoff",
            "style_mixing_prob",
            "dlatent_avg_beta",
            "randomize_noise",
            "mapping_func",
            "synthesis_func",
        }
    ),
)
_DISCRIMINATOR = Options(
    {
        **_FIELDS,
        "architecture": "architecture",
        "mbstd_group_size": "mbstd_group_size",
        "mbstd_num_features": "mbstd_channels",
    },
    _FIXED,
    frozenset({*_UNUSED_OPTIONS, "mapping_layers", "mapping_fmaps", "mapping_lrmul", "mapping_nonlinearity"}),
)


_STYLEGAN1_FUNCTION = "G_style"  # builds the original StyleGAN's generator, whose arrays keep their names
_STYLEGAN1_GENERATOR = Options(
    {name: field for name, field in _GENERATOR.fields.items() if field not in ("label_dim", "conv_clamp", "noise")},
    {
        **_GENERATOR.fixed,
        "label_size": 0,
        "use_noise": True,
        "use_wscale": True,
        "use_styles": True,
        "use_pixel_norm": False,
        "use_instance_norm": True,
        "const_input_layer": True,
        "mapping_use_wscale": True,
        "blur_filter": [1, 2, 1],
        "fused_scale": "auto",
    },
    _GENERATOR.unused,
)


class StoredNetwork:
    """Replacement for dnnlib.tflib.network.Network."""

    state: Any = None


def is_network_triple(data: Any) -> bool:
    """Return True for the object stored by the TensorFlow 1 training loops: G, D, and the average of G."""
    return isinstance(data, (tuple, list)) and len(data) == 3 and all(isinstance(n, StoredNetwork) for n in data)


def to_network(data: Any, name: str) -> OfficialNetwork:
    """Translate one network of a triple that `is_network_triple` accepts; see `sg3tf.convert.nvidia_pickle.read`."""
    stored = data[NETWORKS.index(name)]
    function, options = _state(stored, "build_func_name"), to_plain_types(_state(stored, "static_kwargs"))
    if not isinstance(function, str) or not isinstance(options, dict):
        raise PickleError("a network in it is not stored in the form of TensorFlow 1")
    is_discriminator = name == "D"
    given = dict(options)
    if type(given.get("fmap_base")) is int:
        given["fmap_base"] *= 2  # a layer at resolution R has 2 * fmap_base / R channels
    if not is_discriminator and "mapping_fmaps" in given:
        given["mapping_features"] = given.pop("mapping_fmaps")
    if is_discriminator and given.get("label_size"):
        raise UnsupportedNetworkError(
            f"label_size={given['label_size']}: discriminators with labels are not read from TensorFlow 1"
        )
    if function == _STYLEGAN1_FUNCTION:
        width = given.pop("mapping_features", None)
        if width not in (None, given.get("dlatent_size", 512)):
            raise UnsupportedNetworkError(f"mapping_fmaps={width!r:.50}: only dlatent_size is supported in StyleGAN")
        config: Any = to_config(StyleGAN1Config, given, _STYLEGAN1_GENERATOR)
        return OfficialNetwork("TensorFlow 1", function, options, config, weights.drop_unused(_variables(stored)))
    given.setdefault("conv_clamp", None)
    if is_discriminator:
        if given.get("architecture", "resnet") not in _ARCHITECTURES:
            raise UnsupportedNetworkError(
                f"architecture={given['architecture']!r:.50}: only {', '.join(map(repr, _ARCHITECTURES))} are read "
                "from TensorFlow 1"
            )
        config = to_config(DiscriminatorConfig, given, _DISCRIMINATOR)
        names = _discriminator_names(config)
    else:
        config = to_config(StyleGAN2Config, given, _GENERATOR)
        names = _generator_names(config)
    return OfficialNetwork("TensorFlow 1", function, options, config, dict(_converted(_variables(stored), names)))


def _state(network: Any, name: str) -> Any:
    if not isinstance(network, StoredNetwork) or not isinstance(network.state, dict) or name not in network.state:
        raise PickleError(f"a network in it has no {name}")
    return network.state[name]


def _variables(network: StoredNetwork) -> dict[str, Array]:
    """Return the variables of the network and, prefixed with the component's name, of its components."""
    found = dict(_own_variables(network))
    components = _state(network, "components")
    if not isinstance(components, dict) or set(components) - set(_COMPONENTS):
        raise PickleError("a network in it has components besides mapping and synthesis")
    for name, component in components.items():
        found |= {f"{name}/{key}": value for key, value in _own_variables(component)}
    return found


def _own_variables(network: Any) -> Iterator[tuple[str, Array]]:
    variables = _state(network, "variables")
    if not isinstance(variables, list):
        raise PickleError("a network in it has no list of variables")
    for variable in variables:
        if not isinstance(variable, tuple) or len(variable) != 2:
            raise PickleError("a network in it has variables that are not pairs of name and value")
        name, value = variable
        array = value.value if isinstance(value, PickledArray) else value
        if not isinstance(name, str) or not isinstance(array, (np.ndarray, float)):
            raise PickleError(f"variable {shown(name)} is not an array")
        yield name, np.asarray(array, np.float32 if isinstance(array, float) else None)


def _converted(variables: Mapping[str, Array], names: Iterator[Name]) -> Iterator[tuple[str, Array]]:
    known = {name: (official, convert) for name, official, convert in names}
    for name, array in variables.items():
        if name in _UNUSED_VARIABLES:
            continue
        if name not in known:
            raise UnsupportedNetworkError(
                f"variable {name!r:.80}: unknown variable, which may belong to another network"
            )
        official, convert = known[name]
        try:
            yield official, convert(array)
        except (ValueError, IndexError) as error:
            raise UnsupportedNetworkError(f"variable {name!r:.80} has shape {array.shape}") from error


def _generator_names(config: StyleGAN2Config) -> Iterator[Name]:
    yield "dlatent_avg", "mapping.w_avg", np.asarray
    if config.label_dim:
        yield from _layer("mapping/LabelEmbed", "mapping.embed", np.transpose)
    for index in range(config.mapping_layers):
        yield from _layer(f"mapping/Dense{index}", f"mapping.fc{index}", np.transpose)
    yield "synthesis/4x4/Const/const", "synthesis.b4.const", lambda const: const[0]
    convs = [("4x4/Conv", "b4.conv1", _hwio_to_oihw)]
    for side in doublings(config.resolution):
        convs.append((f"{side}x{side}/Conv0_up", f"b{side}.conv0", _rotated_kernel))
        convs.append((f"{side}x{side}/Conv1", f"b{side}.conv1", _hwio_to_oihw))
    for index, (name, official, convert) in enumerate(convs):
        yield from _styled(f"synthesis/{name}", f"synthesis.{official}", convert)
        yield f"synthesis/{name}/noise_strength", f"synthesis.{official}.noise_strength", np.asarray
        yield f"synthesis/noise{index}", f"synthesis.{official}.noise_const", lambda noise: noise[0, 0]
        if official.endswith("conv1"):
            block, torgb = name.split("/")[0], official.replace("conv1", "torgb")
            yield from _styled(f"synthesis/{block}/ToRGB", f"synthesis.{torgb}", _hwio_to_oihw)


def _discriminator_names(config: DiscriminatorConfig) -> Iterator[Name]:
    side = longer_side(config.resolution)
    yield from _layer(f"{side}x{side}/FromRGB", f"b{side}.fromrgb", _hwio_to_oihw)
    for side in reversed(doublings(config.resolution)):
        for name, official in (("Conv0", "conv0"), ("Conv1_down", "conv1"), ("Skip", "skip")):
            yield from _layer(f"{side}x{side}/{name}", f"b{side}.{official}", _hwio_to_oihw)
    yield from _layer("4x4/Conv", "b4.conv", _hwio_to_oihw)
    yield from _layer("4x4/Dense0", "b4.fc", np.transpose)
    yield from _layer("Output", "b4.out", np.transpose)


def _styled(name: str, official: str, convert: Callable[[Array], Array]) -> Iterator[Name]:
    yield from _layer(name, official, convert)
    yield f"{name}/mod_weight", f"{official}.affine.weight", np.transpose
    yield f"{name}/mod_bias", f"{official}.affine.bias", lambda bias: bias + np.float32(1)


def _layer(name: str, official: str, convert: Callable[[Array], Array]) -> Iterator[Name]:
    yield f"{name}/weight", f"{official}.weight", convert
    yield f"{name}/bias", f"{official}.bias", np.asarray


def _hwio_to_oihw(kernel: Array) -> Array:
    return np.transpose(kernel, (3, 2, 0, 1))


def _rotated_kernel(kernel: Array) -> Array:
    return _hwio_to_oihw(kernel[::-1, ::-1])


#: {"module.name": replacement}, for `sg3tf.utils.safe_pickle.load`.
ALLOWED: dict[str, Any] = {"dnnlib.tflib.network.Network": StoredNetwork}
