"""Official pickles: accepted contents, and refusals."""

from __future__ import annotations

import random
import struct
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg3tf.convert import nvidia_pickle
from sg3tf.convert.official_network import NO_CLAMP, OfficialNetwork, UnsupportedNetworkError, num_kernel_parameters
from sg3tf.models.configs import ConfigError, DiscriminatorConfig, GeneratorConfig, StyleGAN2Config
from sg3tf.models.presets import generator_preset
from sg3tf.utils import safe_pickle
from sg3tf.utils.safe_pickle import PickleError
from tests.conftest import Golden
from tests.helpers import torch_writer
from tests.helpers.numerics import Array
from tests.helpers.official_networks import OPTIONS, parameters, stored
from tests.helpers.official_writer import (
    LOAD_FROM_BYTES,
    REBUILD_TENSOR,
    RECONSTRUCT,
    Calls,
    EasyDict,
    dumps,
    module,
    network,
    usual_clamps,
)
from tests.helpers.official_writer import Network as StoredNetwork
from tests.helpers.torch_writer import Call, Global, ordered

REFUSED = (PickleError, UnsupportedNetworkError, ConfigError)
NAME = "torch_utils.persistence._reconstruct_persistent_obj"


def read(data: bytes, folder: Path, name: str = "G_ema") -> OfficialNetwork:
    path = folder / "network.pkl"
    path.write_bytes(data)
    return nvidia_pickle.read(path, name)


def arrays_of(name: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return parameters(arrays, "D/" if name == "training_step" else "G/")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_tensor_is_there(name: str, protocol: int, golden: Golden, tmp_path: Path) -> None:
    which = "D" if name == "training_step" else "G_ema"
    content = {"G": None, "D": None, which: stored(name, golden(name)), "training_set_kwargs": EasyDict(path="x")}

    read_network = read(dumps(content, protocol), tmp_path, which)

    expected = arrays_of(name, golden(name))
    there = {key: array for key, array in read_network.arrays.items() if not key.endswith("_filter")}
    assert sorted(there) == sorted(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(there[key], array, strict=True)
    assert len(read_network.arrays) > len(there)
    assert read_network.training_set_options == {"path": "x"}
    assert read_network.options == OPTIONS[name]


def test_configurations(golden: Golden, tmp_path: Path) -> None:
    def config(name: str, which: str = "G_ema", **changes: Any) -> Any:
        return read(dumps({which: stored(name, golden(name), **changes)}), tmp_path, which).config

    small = {"channel_base": 512, "channel_max": 24, "z_dim": 20, "w_dim": 16, "label_dim": 4}
    assert config("generator_t32") == GeneratorConfig(32, **small, magnitude_ema_beta=0.5 ** (32 / 20e3))
    every = {
        "num_layers": 12, "num_critical": 3, "first_cutoff": 2.5, "first_stopband": 5, "last_stopband_rel": 1.5,
        "margin_size": 8, "output_scale": 0.5, "conv_clamp": None, "img_channels": 1, "magnitude_ema_beta": 0.99,
    }  # fmt: skip
    assert config("generator_t32", **every) == GeneratorConfig(
        32, **small, num_layers=12, num_critical=3, first_cutoff=2.5, first_stopband=5.0, last_stopband_rel=1.5,
        margin_size=8, output_scale=0.5, conv_clamp=NO_CLAMP, image_channels=1, magnitude_ema_beta=0.99,
    )  # fmt: skip
    r = generator_preset("stylegan3-r", 32, channel_base=256, channel_max=12, z_dim=16, w_dim=16)
    assert config("generator_r32") == r
    skip = StyleGAN2Config(32, 3, 3, 16, 16, 4, 256, 24)
    assert config("generator_sg2_32") == skip
    assert config("generator_sg2_32", use_noise=False).noise is False
    group = {"channel_base": 512, "channel_max": 24, "mbstd_group_size": 2}
    assert config("training_step", "D") == DiscriminatorConfig(32, label_dim=4, **group)
    assert config("training_step", "D", architecture="orig").architecture == "orig"
    # Without labels, options of their mapping have no effect.
    unused = EasyDict(num_layers=0, lr_multiplier=0.1)
    without = config("training_step", "D", c_dim=0, mapping_kwargs=unused, cmap_dim=512, num_fp16_res=0)
    assert without == DiscriminatorConfig(32, **group)


def test_nested_arguments_and_clamp_of_stylegan2_ada_pytorch(golden: Golden, tmp_path: Path) -> None:
    """In stylegan2-ada-pytorch, arguments of the synthesis network are nested, and layers do not clamp by default."""
    arrays, options = parameters(golden("generator_sg2_32")), OPTIONS["generator_sg2_32"]
    inner = {name: options[name] for name in ("channel_base", "channel_max")}
    outer = {name: options[name] for name in options if name not in inner} | {"synthesis_kwargs": EasyDict(inner)}
    for clamp, expected in ((None, NO_CLAMP), (256, 256.0), (100, 100.0)):
        G = network("Generator", arrays, outer, clamps=usual_clamps(clamp))
        assert read(dumps({"G_ema": G}), tmp_path).config == StyleGAN2Config(
            32, 3, 3, 16, 16, 4, 256, 24, conv_clamp=expected
        )


def test_positional_arguments(golden: Golden, tmp_path: Path) -> None:
    options = dict(OPTIONS["generator_t32"])
    first = tuple(options.pop(name) for name in ("z_dim", "c_dim", "w_dim", "img_resolution"))
    G = network("Generator", parameters(golden("generator_t32")), options, _init_args=first)
    assert read(dumps({"G_ema": G}), tmp_path).config.z_dim == 20


@pytest.mark.parametrize("layout", [torch_writer.zipped, torch_writer.legacy])
def test_files_of_torch_save(layout: Any, tmp_path: Path) -> None:
    """Files of torch.save have their storages outside of the pickle."""
    weights = {f"fc{i}.weight": np.full([4, 4], i, np.float32) for i in range(2)}
    tensors, storages = torch_writer.whole(weights)
    inner = {"type": "class", "class_name": "Mapping", "module_src": "", "state": _state(_parameters=tensors)}
    outer = {
        "type": "class",
        "class_name": "Generator",
        "module_src": "",
        "state": _state(
            _modules=ordered(
                {"mapping": Call(NAME, (inner,)), "synthesis": Call(NAME, ({**inner, "state": _state()},))}
            ),
            _init_kwargs={
                **{"img_resolution": 16, "channel_base": 32, "channel_max": 1, "z_dim": 1, "w_dim": 1},
                "conv_clamp": 256,
            },
        ),
    }
    read_network = read(layout({"G_ema": Call(NAME, (outer,))}, storages), tmp_path)
    assert sorted(read_network.arrays) == ["mapping.fc0.weight", "mapping.fc1.weight"]
    for i in range(2):
        np.testing.assert_array_equal(read_network.arrays[f"mapping.fc{i}.weight"], np.full([4, 4], i))


def _state(**changes: Any) -> dict[str, Any]:
    return {"_parameters": ordered({}), "_buffers": ordered({}), "_modules": ordered({}), **changes}


def test_storages_within_may_be_zip_archives(golden: Golden, tmp_path: Path) -> None:
    golden_t = golden("generator_t32")
    G = stored("generator_t32", golden_t, layout=torch_writer.zipped)
    arrays = read(dumps({"G_ema": G}), tmp_path).arrays
    np.testing.assert_array_equal(arrays["synthesis.input.freqs"], golden_t["G/synthesis.input.freqs"])


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("generator_t32", {"filter_size": 99}, "filter_size=99: must be from 0 to 32"),
        ("generator_t32", {"lrelu_upsampling": 4}, "lrelu_upsampling=4: only 2"),
        ("generator_t32", {"no_such": 1}, "no_such=1: unknown option"),
        ("generator_t32", {"conv_kernel": 5}, "conv_kernel=5: must be 1"),
        ("generator_t32", {"img_resolution": 33}, "resolution=33: must be a power of two"),
        ("generator_t32", {"img_resolution": "32"}, "resolution='32': must be a whole number"),
        (
            "generator_t32",
            {"img_resolution": [32, 48]},
            r"img_resolution=\[32, 48\]: squares alone are known in official",
        ),
        ("generator_t32", {"use_radial_filters": 1}, "use_radial_filters=1: must be True or False"),
        ("generator_t32", {"z_dim": True}, "z_dim=True: must be a whole number"),
        ("generator_t32", {"channel_max": 10**6}, "channel_max=1000000|describe .* parameters, more than"),
        ("generator_t32", {"channel_base": 10**9}, "channel_base=1000000000: must be from 0 to"),
        ("generator_t32", {"first_stopband": float("nan")}, "first_stopband=nan: must be from 0 to"),
        ("generator_t32", {"first_stopband": 1e-9}, "first_stopband=1e-09: must be from 1.0"),
        ("generator_t32", {"first_cutoff": 9.0}, "first_cutoff=9.0: must be below"),
        ("generator_t32", {"num_layers": 10**6}, "num_layers=1000000: must be from 0 to 64"),
        ("generator_t32", {"mapping_kwargs": {"lr_multiplier": 0}}, "mapping_lr_multiplier=0.0: must be above 0"),
        ("generator_t32", {"mapping_kwargs": {"layer_features": -8}}, "mapping_features=-8: must be from 0"),
        ("generator_t32", {"mapping_kwargs": {"activation": "swish"}}, "mapping_activation='swish': only 'linear'"),
        ("generator_t32", {"mapping_kwargs": 5}, "its options are not in the official form"),
        ("generator_t32", {"mapping_kwargs": b"x"}, "contain a bytes, not only"),
        ("generator_sg2_32", {"architecture": "unet"}, "architecture='unet': only 'skip', 'resnet', 'orig'"),
        ("generator_sg2_32", {"resample_filter": [[1, 2], [2, 1]]}, "resample_filter=.*: must be numbers along one"),
        ("generator_sg2_32", {"resample_filter": [-1, 1]}, "resample_filter=.*: must be 1 to 32 numbers whose sum"),
        ("generator_sg2_32", {"synthesis_kwargs": 3}, "synthesis_kwargs=3: must be a dict"),
        ("training_step", {"cmap_dim": 0}, "cmap_dim=0: must be at least 1"),
        ("training_step", {"epilogue_kwargs": {"mbstd_group_size": None}}, "mbstd_group_size=None: must be a whole"),
    ],
)
def test_options_that_do_not_exist_here(name: str, changes: Any, message: str, golden: Golden, tmp_path: Path) -> None:
    which = "D" if name == "training_step" else "G_ema"
    with pytest.raises(REFUSED, match=message) as error:
        read(dumps({which: stored(name, golden(name), **changes)}), tmp_path, which)
    assert "\n" not in str(error.value)


def test_other_files(golden: Golden, tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=r"network\.pkl: it has none of the networks G, D, G_ema"):
        read(dumps({"step": 3}), tmp_path)
    with pytest.raises(UnsupportedNetworkError, match="D is not in the file: it has G_ema"):
        read(dumps({"G_ema": stored("generator_r32", golden("generator_r32"))}), tmp_path, "D")
    with pytest.raises(UnsupportedNetworkError, match="class 'Projected': only Generator and Discriminator"):
        read(dumps({"D": network("Projected", {}, {})}), tmp_path, "D")
    with pytest.raises(PickleError, match="network.pkl"):
        read(b"<html>not found</html>", tmp_path)
    with pytest.raises(PickleError, match="network.pkl"):
        read(b"", tmp_path)
    options = {**OPTIONS["generator_sg2_32"], "conv_clamp": 256}
    wide = network("Generator", {"mapping.fc0.weight": np.zeros([2, 2])}, options)
    with pytest.raises(UnsupportedNetworkError, match="mapping.fc0.weight is float64"):
        read(dumps({"G_ema": wide}), tmp_path)


def g(**state: Any) -> Calls:
    """Return a minimal generator with changes."""
    return module(
        "Generator", {"_parameters": {}, "_buffers": {}, "_modules": {}, "_init_kwargs": {}, "conv_clamp": 256, **state}
    )


def recursive_options() -> Any:
    inside: list[Any] = []
    inside.append(inside)
    return g(_init_kwargs={"z_dim": inside})


def laughs(levels: int = 60) -> Any:
    """Return nested lists, each with the inner one twice."""
    value: Any = []
    for _ in range(levels):
        value = [value, value]
    return g(_init_kwargs={"z_dim": value})


def deep(levels: int = 5_000) -> bytes:
    """Return modules within modules, written from the innermost."""
    names = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    pickled = torch_writer.pickled
    before = (
        pickled({"type": "class", "class_name": "Generator"})[2:-1]
        + b"U\x05state}(U\x0b_parameters}U\x08_buffers}U\x08_modules}"
    )
    return b"\x80\x02}U\x05G_ema" + levels * (names + before + b"U\x01m") + b"}" + levels * b"sus\x85R" + b"s."


def blob(data: bytes) -> Calls:
    """Return a tensor whose storage is in `data`."""
    return Calls(REBUILD_TENSOR, Calls(LOAD_FROM_BYTES, data), 0, (6,), (1,), False, None)


def floats(count: int = 6) -> Any:
    return torch_writer.Persistent(("storage", Global("torch.FloatStorage"), "0", "cpu", count, None))


def with_tensor(value: Any) -> Calls:
    return g(_parameters={"w": value})


def bomb() -> Calls:
    zeros = {"0": np.zeros(10**6, np.float32)}
    return with_tensor(blob(torch_writer.zipped(floats(10**6), zeros, compression=zipfile.ZIP_DEFLATED)))


def shared() -> Calls:
    inner = g()
    return g(_modules={"a": inner, "b": inner})


LEGACY = torch_writer.legacy(floats(), {"0": np.zeros(6, np.float32)})
RUNS = torch_writer.legacy(Call("os.system", ("true",)), {})
NO_CLASS = {"type": "function", "class_name": "x", "state": {}}

HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "getoutput": (lambda: g(x=Calls(subprocess.getoutput, "true")), "'subprocess.getoutput', which is not allowed"),
    "eval": (lambda: Calls(eval, "1"), "'builtins.eval', which is not allowed"),
    "exec_in_tensor": (lambda: with_tensor(Calls(exec, "1")), "'builtins.exec', which is not allowed"),
    "uncalled": (lambda: g(hook=subprocess.Popen), "'subprocess.Popen', which is not allowed"),
    "object_array": (lambda: g(size=np.array([print], object)), "elements are not numbers"),
    "module_twice": (shared, "modules are not nested"),
    "recursive_options": (recursive_options, "too many or too deep"),
    "laughs": (laughs, "too many or too deep"),
    "no_tensor": (lambda: with_tensor(3), "w is not a tensor"),
    "no_parameters": (lambda: g(_parameters=None), "has no _parameters"),
    "no_options": (lambda: g(_init_kwargs=None), "constructor's arguments"),
    "not_a_class": (lambda: Calls(RECONSTRUCT, NO_CLASS), "persistent object"),
    "long_names": (lambda: g(_modules={"m" * 300: g()}), "modules are not nested"),
    "blob": (lambda: with_tensor(blob(b"\x80\x02K\x01.")), "not a file of torch.save"),
    "blob_without_storage": (
        lambda: with_tensor(blob(torch_writer.legacy({}, {}))),
        "something else in the place of a storage",
    ),
    "short_blob": (lambda: with_tensor(blob(LEGACY[:-4])), "truncated"),
    "blob_with_code": (lambda: with_tensor(blob(RUNS)), "'os.system', which is not allowed"),
    "bomb": (bomb, "compressed"),
}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"ctorch\ndevice\n(h\x00tR", "a device that is not text"),
        (b"cnumpy\ndtype\n(U\x02f4tR(K\x03h\x00NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb", r"byte order \(a list\)"),
    ],
)
def test_values_whose_text_would_be_endless(raw: bytes, message: str, tmp_path: Path) -> None:
    """A list that contains the one before it twice, 200 times."""
    laughs = b"]q\x00" + b"0](h\x00h\x00eq\x00" * 200
    (tmp_path / "network.pkl").write_bytes(b"\x80\x02" + laughs + raw + b".")
    with pytest.raises(PickleError, match=message):
        nvidia_pickle.read(tmp_path / "network.pkl")


def test_repeated_contents_of_arrays_do_not_multiply(tmp_path: Path) -> None:
    """The bytes of an array as text, as in Python 2, stored once and copied for each of many arrays."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\ntR"
    text = b"T" + struct.pack("<i", 10**5) + b"x" * 10**5 + b"q\x00"
    dtype = b"cnumpy\ndtype\n(U\x02u1tRq\x01"
    state = b"(K\x01(J" + struct.pack("<i", 10**5) + b"th\x01\x89h\x00tb"
    (tmp_path / "network.pkl").write_bytes(b"\x80\x02(" + text + dtype + 50 * (array + state) + b"t.")
    with pytest.raises(PickleError, match="more data than the file holds"):
        nvidia_pickle.read(tmp_path / "network.pkl")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle_is_refused(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(REFUSED, match=message) as error:
        read(dumps({"G_ema": make()}), tmp_path)
    assert "\n" not in str(error.value)


def test_the_source_code_in_a_pickle_is_not_run(golden: Golden, tmp_path: Path) -> None:
    """The source code in every module of these files would end this process."""
    data = dumps({"G_ema": stored("generator_r32", golden("generator_r32"))})
    assert b"raise SystemExit" in data
    read(data, tmp_path)


@pytest.mark.parametrize("code", [b"\x8e", b"\x8d", b"\x96"])
def test_declared_sizes_reserve_nothing(code: bytes, tmp_path: Path) -> None:
    """Bytes, text and a bytearray of 8 GB in a file of 12 bytes: buffered reading would reserve memory first."""
    tracemalloc.start()
    with pytest.raises(PickleError, match="broken"):
        read(b"\x80\x05" + code + struct.pack("<Q", 2**33) + b"x", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("shape", [(3,), (2, 2), (-1,), (2**40, 0, 2**40), (True, 2), (2.0,), [2], 2])
def test_arrays_of_wrong_shapes(shape: Any, tmp_path: Path) -> None:
    """Two numbers in a NumPy array that claims another shape."""
    dtype = Call("numpy.dtype", ("f4", False, True))
    raw = Call("numpy.core.numeric._frombuffer", (Call("_codecs.encode", ("12345678", "latin1")), dtype, shape, "C"))
    (tmp_path / "network.pkl").write_bytes(torch_writer.pickled(raw))
    with pytest.raises(PickleError, match="cannot reshape|whole numbers|too large|maximum"):
        nvidia_pickle.read(tmp_path / "network.pkl")


def test_a_module_within_itself(tmp_path: Path) -> None:
    """A cycle, added to the pickle by hand: Python's pickler does not write it this way."""
    inside = torch_writer.Opcodes(b"}q\x05")
    meta = {"type": "class", "class_name": "Generator", "state": _state(_modules=inside)}
    root = torch_writer.pickled(Call(NAME, (meta,)))[2:-1]
    data = b"\x80\x02}U\x05G_ema" + root + b"q\x06" + b"h\x05U\x04selfh\x06s0" + b"s."
    with pytest.raises(PickleError, match="modules are not nested"):
        read(data, tmp_path)


def test_deep_modules(tmp_path: Path) -> None:
    with pytest.raises(REFUSED):
        read(deep(), tmp_path)


def test_repeated_arguments_do_not_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text or list that is stored once and passed to a function many times, at a few bytes each."""
    text = b"\x8d" + struct.pack("<Q", 10**5) + b"x" * 10**5 + b"q\x00"
    encoded = b"c_codecs\nencode\nq\x01" + b"h\x01h\x00U\x06latin1\x86R" * 10_000  # a gigabyte
    pairs = b"]q\x00(" + b"".join(b"J" + struct.pack("<i", i) + b"N\x86" for i in range(10_000)) + b"e"
    dicts = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 10_000  # a hundred million items
    monkeypatch.setattr(safe_pickle, "_MAX_STEPS", 10**5)
    for body in (text + encoded, pairs + dicts):
        (tmp_path / "network.pkl").write_bytes(b"\x80\x02(" + body + b"t.")
        tracemalloc.start()
        with pytest.raises(PickleError, match="more data than the file holds"):
            nvidia_pickle.read(tmp_path / "network.pkl")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200 * 10**5


def test_many_small_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lists take 56 bytes of memory for each byte in the file."""
    monkeypatch.setattr(safe_pickle, "_MAX_STEPS", 10**5)
    (tmp_path / "network.pkl").write_bytes(b"\x80\x02" + b"]" * 10**6 + b".")
    with pytest.raises(PickleError, match="makes more objects than a network has"):
        nvidia_pickle.read(tmp_path / "network.pkl")


def test_truncated(golden: Golden, tmp_path: Path) -> None:
    data = dumps({"G_ema": stored("generator_r32", golden("generator_r32"))})
    for length in (*range(0, 2000, 7), *range(2000, len(data), 1013), len(data) - 1):
        with pytest.raises(PickleError):
            read(data[:length], tmp_path)


@pytest.mark.parametrize("preset", ["stylegan3-t", "stylegan3-r"])
def test_number_of_parameters(preset: str, golden: Golden) -> None:
    """The count is just below the official number and never above, so that no genuine network is refused."""
    for resolution in (64, 128, 256, 512, 1024):
        plan = golden("layer_plan")[f"{preset}-{resolution}"]
        config = generator_preset(
            preset, resolution, channel_base=plan["channel_base_flag"], channel_max=plan["channel_max_flag"]
        )
        assert 0.98 < num_kernel_parameters(config) / plan["parameters"] < 1


def test_number_of_parameters_of_the_others(golden: Golden) -> None:
    pairs = [
        (StyleGAN2Config(32, 3, 3, 16, 16, 4, 256, 24), "generator_sg2_32", "G/"),
        (DiscriminatorConfig(32, 3, 4, 512, 24), "training_step", "D/"),
    ]
    for config, name, prefix in pairs:
        there = parameters(golden(name), prefix)
        kernels = sum(array.size for key, array in there.items() if key.endswith(".weight"))
        assert 0.95 * kernels < num_kernel_parameters(config) < sum(array.size for array in there.values())


def torch_content() -> dict[str, Any]:
    options = {"img_resolution": 16, "channel_base": 32, "channel_max": 1, "z_dim": 1, "w_dim": 1}
    arrays = {"synthesis.input.freqs": np.ones([2, 2], np.float32), "mapping.w_avg": np.ones(1, np.float32)}
    return {"G_ema": network("Generator", arrays, {**options, "mapping_kwargs": EasyDict(num_layers=2)})}


def tf1_content() -> tuple[Any, ...]:
    options = {"resolution": 8, "fmap_base": 8, "fmap_max": 1, "latent_size": 1, "dlatent_size": 1}
    mapping = StoredNetwork("G_mapping", {}, {"Dense0/weight": np.ones([1, 1], np.float32)})
    variables = {"dlatent_avg": np.ones(1, np.float32), "lod": np.float32(0)}
    return (StoredNetwork("G_main", options, variables, mapping=mapping),) * 3


def intact() -> list[bytes]:
    """Return small files of every kind: most of their bytes are opcodes, not weights."""
    files = [dumps(torch_content(), protocol) for protocol in (2, 4)]
    files += [dumps(tf1_content(), protocol) for protocol in (2, 4, 5)]
    weights, storages = torch_writer.whole({"w": np.ones(2, np.float32)})
    options = {"img_resolution": 8, "channel_base": 16, "channel_max": 1, "z_dim": 1, "w_dim": 1, "conv_clamp": None}
    meta = {"type": "class", "class_name": "Generator", "state": _state(_parameters=weights, _init_kwargs=options)}
    content = {"G_ema": Call(NAME, (meta,))}
    return files + [layout(content, storages) for layout in (torch_writer.zipped, torch_writer.legacy)]


INTACT = intact()


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Damage a file one to four times: bytes replaced, or a range left out, repeated or copied over another."""
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at, other, length = draw.randrange(len(data)), draw.randrange(len(data)), draw.choice([1, 1, 2, 8, 40])
        match draw.randrange(4):
            case 0:
                data = data[:at] + draw.randbytes(draw.randint(0, 3)) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + length :] or b"."
            case 2:
                data = data[:at] + data[other : other + length] + data[at:]
            case 3:
                data = data[:at] + data[other : other + length] + data[at + length :]
    return data


ODD = [None, True, 0, -1, 3, 2**80, 0.5, float("nan"), float("inf"), "", "x\ny", b"x", (), (1, 2), [[]], {}, {"a": 1}]
ODD += [np.ones(2), np.float32(1), set(), {"z_dim": 1, "num_layers": -1}, "Generator", [("a", 1, 2)], 1 << 14]


def altered(value: Any, draw: random.Random) -> Any:
    """Return a copy with some values replaced, which Python's pickler then writes."""
    if draw.random() < 0.01:
        return draw.choice(ODD)
    if isinstance(value, Calls):
        function, arguments = value.reduced
        return Calls(function, *(altered(argument, draw) for argument in arguments))
    if isinstance(value, StoredNetwork):
        copy = StoredNetwork("", {}, {})
        copy.state = altered(value.state, draw)
        return copy
    if isinstance(value, dict):
        return type(value)((key, altered(item, draw)) for key, item in value.items() if draw.random() > 0.005)
    if isinstance(value, (list, tuple)):
        return type(value)(altered(item, draw) for item in value)
    return value


@pytest.mark.parametrize("damage", ["bytes", "values"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_damaged_file_gives_a_network_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, damage: str, seed: int
) -> None:
    """A hundred files per example, as drawing an example costs Hypothesis more than reading a file."""
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    for data in damaged(damage, random.Random(seed)):
        path.write_bytes(data)
        try:
            nvidia_pickle.read(path)
        except REFUSED as error:
            assert "\n" not in str(error)


def damaged(damage: str, draw: random.Random) -> Iterator[bytes]:
    for _ in range(100):
        if damage == "bytes":
            yield mutated(draw.choice(INTACT), draw)
        else:
            content = altered(draw.choice([torch_content(), tf1_content()]), draw)
            yield dumps(content, draw.choice([2, 4]))
