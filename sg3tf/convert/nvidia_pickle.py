"""Read official network pickles without PyTorch, TensorFlow 1 or the official code, and without running their code.

Pickles of stylegan3 and stylegan2-ada-pytorch are dictionaries of modules. Each module contains its source code, which
is ignored: its class and constructor arguments determine the configuration. TensorFlow 1 pickles are handled by
sg3tf.convert.tf1_pickle.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.convert import state_dict, tf1_pickle, torch_file
from sg3tf.convert.official_network import (
    NETWORKS,
    NO_CLAMP,
    OFFICIAL,
    OfficialNetwork,
    UnsupportedNetworkError,
    to_config,
    to_plain_types,
)
from sg3tf.models.configs import ConfigError, DiscriminatorConfig, GeneratorConfig, StyleGAN2Config
from sg3tf.utils import safe_pickle
from sg3tf.utils.safe_pickle import Foreign, PickleError

# In the order of the constructors, because arguments may be positional.
_GENERATOR_ARGUMENTS = (
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "img_channels",
    "mapping_kwargs",
    "synthesis_kwargs",
)
_DISCRIMINATOR_ARGUMENTS = (
    "c_dim",
    "img_resolution",
    "img_channels",
    "architecture",
    "channel_base",
    "channel_max",
    "num_fp16_res",
    "conv_clamp",
    "cmap_dim",
    "block_kwargs",
    "mapping_kwargs",
    "epilogue_kwargs",
)
#: Layers without a clamp, regardless of the constructor's conv_clamp.
_NEVER_CLAMPED = (".skip", "b4.fromrgb")
_SYNTHESIS = "synthesis."
_HEAD_BYTES = 64  # enough to recognize a torch.save file
_MAX_NAME_LENGTH = 200  # of a module's dotted name


@dataclasses.dataclass(eq=False)
class Module:
    """A stored module with its attributes, including parameters, buffers and submodules.

    Examples:
        >>> linear = Module("FullyConnectedLayer", {"_parameters": {"bias": np.zeros(3)}, "_modules": {}})
        >>> linear.table("_parameters")["bias"].shape
        (3,)
    """

    class_name: str
    state: dict[str, Any]

    def table(self, name: str) -> dict[str, Any]:
        """Return _parameters, _buffers or _modules."""
        table = self.state.get(name)
        if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
            raise PickleError(f"a {self.class_name:.50} has no {name}")
        return table


def read(path: str | Path, name: str = "G_ema") -> OfficialNetwork:
    """Read one network of an official pickle.

    Args:
        path: a pickle from stylegan3 or stylegan2-ada-pytorch, plain or written by torch.save; from stylegan2-ada,
            stylegan2 or stylegan for TensorFlow 1; or a file in the format of `sg3tf.convert.state_dict`.
        name: G, D or G_ema.

    Returns:
        Its configuration, and its arrays as views of the file's bytes.

    Raises:
        PickleError: the file is not such a pickle, is broken, or refers to something that is not allowed.
        UnsupportedNetworkError, ConfigError: the network is not supported, or is larger than the file.
        OSError: the file cannot be opened.
    """
    found, errors = read_several(path, [name])
    if errors:
        raise errors[name]
    return found[name]


def read_several(
    path: str | Path, names: Iterable[str]
) -> tuple[dict[str, OfficialNetwork], dict[str, UnsupportedNetworkError | ConfigError]]:
    """Read several networks from a pickle in one pass.

    Args:
        path, names: see `read`.

    Returns:
        {name: network}, and {name: error} for unsupported networks.

    Raises:
        PickleError, OSError: see `read`.
    """
    found: dict[str, OfficialNetwork] = {}
    errors: dict[str, UnsupportedNetworkError | ConfigError] = {}
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = _load(file)
            for name in names:
                try:
                    found[name] = _network(data, name)
                    found[name].check(size)
                except (UnsupportedNetworkError, ConfigError) as error:
                    errors[name] = error
                    found.pop(name, None)
        except PickleError as error:
            raise PickleError(f"{path}: {' '.join(str(error).split())}") from error
    return found, errors


def _load(file: io.BufferedReader) -> Any:
    if torch_file.is_torch_file(file.peek(_HEAD_BYTES)[:_HEAD_BYTES]):
        return torch_file.read_stream(file, _ALLOWED, _set_state, skip_foreign=True)
    return safe_pickle.load(file, {**torch_file.ALLOWED, **_ALLOWED}, _no_storage, _set_state, skip_foreign=True)


def _network(data: Any, name: str) -> OfficialNetwork:
    if tf1_pickle.is_network_triple(data):
        _refuse_foreign(data, name)
        return tf1_pickle.to_network(data, name)
    if state_dict.is_state_dicts(data):
        return state_dict.to_network(data, name)
    if isinstance(data, Module):  # a single network
        data = {"D" if data.class_name == "Discriminator" else "G_ema": data}
    if not isinstance(data, dict):
        _refuse_foreign(data, "it")
        raise PickleError(f"it has none of the networks {', '.join(NETWORKS)}")
    _refuse_foreign(data.get(name), name)
    present = [name for name in NETWORKS if isinstance(data.get(name), Module)]
    if not present:
        raise PickleError(f"it has none of the networks {', '.join(NETWORKS)}")
    if name not in present:
        raise UnsupportedNetworkError(f"{name} is not in the file: it has {', '.join(present)}")
    try:
        data_options = to_plain_types(data.get("training_set_kwargs"))
    except UnsupportedNetworkError:  # only metadata
        data_options = None
    return dataclasses.replace(_to_network(data[name]), training_set_options=data_options)


def _refuse_foreign(root: Any, name: str) -> None:
    """Reject a network that is, or contains, something that is not allowed."""
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Foreign):
            raise UnsupportedNetworkError(f"{name} refers to {value.name!r}, which is not allowed")
        if isinstance(value, Module | tf1_pickle.StoredNetwork):
            value = value.state
        if isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def _to_network(root: Module) -> OfficialNetwork:
    """Translate a stored generator or discriminator; its class and submodules determine the configuration class."""
    modules = _modules(root)
    if root.class_name == "Generator":
        kind: type = GeneratorConfig if "synthesis.input" in modules else StyleGAN2Config
        options = _options(root, _GENERATOR_ARGUMENTS)
        given = _flat(options)
    elif root.class_name == "Discriminator":
        kind, options = DiscriminatorConfig, _options(root, _DISCRIMINATOR_ARGUMENTS)
        given = dict(options)
        if not given.get("c_dim"):  # without labels, options of their embedding have no effect
            for name in ("mapping_kwargs", "cmap_dim"):
                given.pop(name, None)
    else:
        raise UnsupportedNetworkError(f"class {root.class_name!r:.50}: only Generator and Discriminator exist here")
    arrays = dict(_arrays(modules))
    clamps = _stored_clamps(modules)
    if clamps:
        given["conv_clamp"] = _usual_clamp(clamps)
    elif kind is not GeneratorConfig and "conv_clamp" not in given:
        raise UnsupportedNetworkError("conv_clamp: neither the constructor's arguments nor the layers contain it")
    config: Any = to_config(kind, given, OFFICIAL[kind])
    config = dataclasses.replace(config, layer_clamps=_layer_clamps(clamps, config.conv_clamp, kind))
    return OfficialNetwork("PyTorch", root.class_name, options, config, arrays)


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in stylegan3's flat form; stylegan2-ada-pytorch nests some in synthesis_kwargs."""
    nested = options.get("synthesis_kwargs", {})
    if not isinstance(nested, dict):
        raise UnsupportedNetworkError(f"synthesis_kwargs={nested!r:.50}: must be a dict")
    return {**{name: value for name, value in options.items() if name != "synthesis_kwargs"}, **nested}


def _options(root: Module, names: tuple[str, ...]) -> dict[str, Any]:
    positional, named = to_plain_types(root.state.get("_init_args", ())), to_plain_types(root.state.get("_init_kwargs"))
    if not isinstance(positional, list) or not isinstance(named, dict) or len(positional) > len(names):
        raise PickleError(f"the {root.class_name} does not have its constructor's arguments in the official form")
    return {**dict(zip(names, positional, strict=False)), **named}


def _stored_clamps(modules: Mapping[str, Module]) -> dict[str, float]:
    """Return the clamp of every convolution that stores one.

    The constructors' default differs between stylegan2-ada-pytorch and stylegan3.
    """
    convs = {name: module for name, module in modules.items() if _is_conv(module)}
    if not any("conv_clamp" in module.state for module in convs.values()):
        return {}
    clamps = {}
    for name, module in convs.items():
        value = to_plain_types(module.state.get("conv_clamp"))
        if value is not None and (type(value) not in (int, float) or not 0 <= value <= NO_CLAMP):
            raise UnsupportedNetworkError(f"conv_clamp={value!r:.50} of {name:.100}: must be a number of at least 0")
        clamps[name.removeprefix(_SYNTHESIS)] = NO_CLAMP if value is None else float(value)
    return clamps


def _is_conv(module: Module) -> bool:
    weight = module.table("_parameters").get("weight")
    return isinstance(weight, np.ndarray) and weight.ndim == 4


def _usual_clamp(clamps: Mapping[str, float]) -> float:
    """Return the most frequent clamp of the layers that can have one."""
    counts = Counter(clamp for name, clamp in clamps.items() if not name.endswith(_NEVER_CLAMPED))
    return counts.most_common(1)[0][0] if counts else NO_CLAMP


def _layer_clamps(clamps: Mapping[str, float], usual: float, kind: type) -> tuple[tuple[str, float], ...]:
    """Return the layers whose clamp differs from the one that the architecture implies."""
    found = {
        name: clamp
        for name, clamp in sorted(clamps.items())
        if clamp != (NO_CLAMP if name.endswith(_NEVER_CLAMPED) else usual)
    }
    for name, clamp in found.items():
        if kind is StyleGAN2Config and name.endswith(".skip"):
            raise UnsupportedNetworkError(f"conv_clamp={clamp:g} of {name:.100}: only None is supported there")
    return tuple(found.items())


def _modules(root: Module) -> dict[str, Module]:
    """Return {dotted name: module} of all submodules."""
    found: dict[str, Module] = {}
    waiting, seen = [("", root)], set()
    while waiting:
        name, module = waiting.pop()
        if not isinstance(module, Module) or id(module) in seen or len(name) > _MAX_NAME_LENGTH:
            raise PickleError("its modules are not nested like those of a network")
        seen.add(id(module))
        found[name] = module
        waiting += [(f"{name}.{part}".lstrip("."), inner) for part, inner in module.table("_modules").items()]
    return found


def _arrays(modules: Mapping[str, Module]) -> Mapping[str, NDArray[Any]]:
    arrays = {}
    for prefix, module in modules.items():
        for name, array in (module.table("_parameters") | module.table("_buffers")).items():
            full = f"{prefix}.{name}".lstrip(".")
            if array is None:  # a layer without this filter
                continue
            if not isinstance(array, np.ndarray):
                raise PickleError(f"{full:.100} is not a tensor")
            arrays[full] = array
    return arrays


def _reconstruct(meta: Any) -> Module:
    """Replacement for the function that rebuilds a persistent object: keeps class name and state, but not the code."""
    name, state = meta["class_name"], meta["state"]
    if meta["type"] != "class" or not isinstance(name, str) or not isinstance(state, dict):
        raise PickleError("it has a persistent object that is not an instance of a class")
    return Module(name, state)


def _set_state(target: Any, state: Any) -> None:
    if isinstance(target, tf1_pickle.StoredNetwork):
        target.state = state
    else:
        safe_pickle.set_state(target, state)


def _no_storage(identity: Any) -> Any:
    raise PickleError("it refers to a storage outside of the pickle, which only files of torch.save have")


def _path(*parts: Any) -> str:
    """Replacement for pathlib's classes, found in the options of some networks: returns the path as text."""
    if not all(isinstance(part, str) for part in parts):
        raise PickleError("it has a path that is not made of text")
    return str(PurePosixPath(*parts))


def _device(*arguments: Any) -> str:
    """Replacement for torch.device: returns its name."""
    if not all(isinstance(argument, str | int) for argument in arguments):
        raise PickleError("it has a device that is not text or a number")
    return ":".join(str(argument) for argument in arguments)[:_MAX_NAME_LENGTH]


def _set(values: Any = ()) -> set[Any]:
    if not all(isinstance(value, str) for value in values):
        raise PickleError("it has a set whose elements are not names")
    return set(values)


_ALLOWED: dict[str, Any] = {
    **safe_pickle.ALLOWED,
    **tf1_pickle.ALLOWED,
    "torch_utils.persistence._reconstruct_persistent_obj": _reconstruct,
    "torch.storage._load_from_bytes": torch_file.storage_in,
    "dnnlib.util.EasyDict": safe_pickle.ordered_dict,
    "torch.device": _device,
    **{
        f"{module}.{kind}": _path
        for module in ("pathlib", "pathlib._local")  # the second in Python 3.13
        for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    },
    "builtins.set": _set,
    "__builtin__.set": _set,
}
