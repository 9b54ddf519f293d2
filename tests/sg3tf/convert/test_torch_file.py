"""Files of torch.save: both layouts, broken files, and files that refer to code."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sg3tf.convert import torch_file
from sg3tf.convert.torch_file import TorchFileError
from sg3tf.utils.safe_pickle import PickleError
from tests.helpers.torch_writer import (
    STORAGES,
    Call,
    Global,
    Opcodes,
    Persistent,
    legacy,
    ordered,
    tensor,
    whole,
    zipped,
)

Layout = Callable[[Any, Mapping[str, NDArray[Any]]], bytes]
LAYOUTS = pytest.mark.parametrize("layout", [zipped, legacy])
SIX = {"0": np.arange(6, dtype=np.float32)}


def read(data: bytes, **options: Any) -> Any:
    return torch_file.read_stream(io.BytesIO(data), **options)


def of_six(offset: Any = 0, size: Any = (2, 3), stride: Any = (3, 1), *, count: Any = 6) -> Call:
    return tensor("0", "torch.FloatStorage", count, offset, size, stride)


@LAYOUTS
@pytest.mark.parametrize("name", STORAGES)
def test_tensors_of_every_type(layout: Layout, name: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    expected = {"a": np.array([[1, 0, 3], [4, 5, 0]]).astype(dtype), "scalar": np.array(1).astype(dtype)}

    actual = read(layout(*whole(expected)))

    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert actual[key].dtype == dtype
        np.testing.assert_array_equal(actual[key], value)


@LAYOUTS
def test_views(layout: Layout) -> None:
    views = [
        of_six(),
        of_six(1, (2, 2), (3, 1)),
        of_six(0, (3, 2), (1, 3)),
        of_six(6, (0, 4), (4, 1)),
        of_six(5, (), ()),
    ]

    actual = read(layout(views, SIX))

    rows = np.float32([[0, 1, 2], [3, 4, 5]])
    for value, expected in zip(actual, [rows, rows[:, 1:], rows.T, np.zeros((0, 4)), np.float32(5)], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert np.shares_memory(actual[0], actual[2])


@LAYOUTS
def test_plain_values(layout: Layout) -> None:
    values = [1, -2, 2**40, 1.5, True, None, "text ä", (1, (2,)), [], {"k": {"l": [3]}}, b"\xff\x00"]
    assert read(layout(values, {})) == values


@LAYOUTS
def test_parameters_and_state_dicts(layout: Layout) -> None:
    parameter = Call("torch._utils._rebuild_parameter", (of_six(), True, ordered({})))
    state = Opcodes(ordered({"weight": parameter}).raw + b"}U\x09_metadata}sb")  # BUILD, as in state dicts

    actual = read(layout({"step": 3, "size": Call("torch.Size", ((2, 3),)), "model": state}, SIX))

    assert actual["step"] == 3
    assert actual["size"] == (2, 3)
    np.testing.assert_array_equal(actual["model"]["weight"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("protocol", range(6))
def test_values_of_every_protocol(protocol: int) -> None:
    """Files written by Python's pickler use other opcodes than the hand-written ones."""
    shared = ["x", 1.25]
    value = {
        "a": [shared, shared, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "b": 2**70,
        "c": -300,
        "d": "é" * 300,
        5: None,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("any/data.pkl", pickle.dumps(value, protocol))

    actual = read(file.getvalue())

    assert actual == value
    assert actual["a"][0] is actual["a"][1]


def test_big_endian() -> None:
    data = zipped(of_six(), {"0": SIX["0"].astype(">f4")}, byteorder="big")
    np.testing.assert_array_equal(read(data), np.arange(6).reshape(2, 3))


def test_more_globals_can_be_allowed() -> None:
    data = zipped(Call("torch_utils.persistence._reconstruct", ({"a": of_six()},)), SIX)
    with pytest.raises(TorchFileError, match=r"torch_utils\.persistence\._reconstruct"):
        read(data)
    actual = read(data, allowed={"torch_utils.persistence._reconstruct": lambda meta: ("built", meta)})
    assert actual[0] == "built"
    assert actual[1]["a"].shape == (2, 3)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(TorchFileError, match=r"weights\.pth: not a file of torch\.save"):
        torch_file.read(path)
    with pytest.raises(FileNotFoundError):
        torch_file.read(tmp_path / "absent.pth")


# A list that contains the one before it twice, 200 times: its text would have 2**200 parts.
LAUGHS = Opcodes(b"]q\x00" + b"0](h\x00h\x00eq\x00" * 200)


def with_keys(keys: list[Any]) -> Opcodes:
    return Opcodes(b"}(" + b"".join(pickle.dumps(key, 2)[2:-1] + b"N" for key in keys) + b"u")


HOSTILE = {
    "system": (Call("os.system", ("true",)), "it refers to 'os.system', which is not allowed"),
    "eval": (Call("builtins.eval", ("1",)), "builtins.eval"),
    "uncalled": (Global("subprocess.Popen"), "subprocess.Popen"),
    "dotted": (Global("torch._utils._rebuild_tensor_v2.__globals__"), "__globals__"),
    "calls_a_type": (Call("torch.FloatStorage", (10**9,)), "calls torch.FloatStorage"),
    "calls_a_tensor": (Opcodes(b"]" + b")R"), "calls a list"),
    "sets_attributes": (Opcodes(b"ctorch._utils\n_rebuild_parameter\n(N}U\x04nameU\x01xstb"), "sets attributes"),
    "builds_a_function": (Opcodes(b"ctorch._utils\n_rebuild_tensor_v2\n}b"), "sets attributes of a Global"),
    "inst": (Opcodes(b"(U\x04trueios\nsystem\n"), "INST"),
    "obj": (Opcodes(b"(cos\nsystem\no"), "os.system"),
    "extension": (Opcodes(b"\x82\x01"), "EXT1"),
    "stack_global": (Opcodes(b"U\x02osU\x06system\x93"), "os.system"),
    "deep_global": (Opcodes(b")" + b"\x85" * 100_000 + b"U\x01x\x93"), "not text"),
    "deep_key": (Opcodes(b"})" + b"\x85" * 200_000 + b"Ns"), "cannot be a key"),
    "deep_key_of_ordered_dict": (
        Opcodes(b"ccollections\nOrderedDict\n(](])" + b"\x85" * 200_000 + b"aNaetR"),
        "broken",
    ),
    "no_storage": (Call("torch._utils._rebuild_tensor_v2", ("x", 0, (1,), (1,), False, None)), "no storage"),
    "laughing_kind": (Persistent((LAUGHS, LAUGHS, "y", "cpu", 1)), "unknown kind: a list, a list"),
    "laughing_key": (
        Persistent(("storage", Global("torch.FloatStorage"), LAUGHS, "cpu", 1)),
        "name of a storage is not text but a list",
    ),
    "laughing_count": (
        Persistent(("storage", Global("torch.FloatStorage"), "0", "cpu", LAUGHS)),
        "number of elements is a list, not a whole number",
    ),
    "laughing_encoding": (Call("_codecs.encode", ("x", LAUGHS)), "encoding a list"),
    "keys_of_equal_hashes": (with_keys([i * (2**61 - 1) for i in range(20_000)]), "large numbers as keys"),
    "float_keys": (with_keys([0.5 + i for i in range(20_000)]), "large numbers as keys"),
    "keys_of_ordered_dict": (Call("collections.OrderedDict", ([[2**61 - 1, None]],)), "cannot be a key"),
    "storage_of_unknown_kind": (Persistent(("module", "x", "y", "cpu", 1)), "unknown kind"),
    "storage_view": (Persistent(("storage", Global("torch.FloatStorage"), "0", "cpu", 6, ("1", 0, 3))), "views"),
    "line_breaks": (tensor("\n", "torch.FloatStorage", 10**9, 0, (1,), (1,)), "truncated"),
    "storage_twice": (
        [of_six(), tensor("0", "torch.IntStorage", 6, 0, (1,), (1,))],
        "referred to twice",
    ),
}


@LAYOUTS
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(layout: Layout, name: str) -> None:
    value, message = HOSTILE[name]
    with pytest.raises(TorchFileError, match=message) as error:
        read(layout(value, SIX))
    assert "\n" not in str(error.value)


def test_optimizer_states() -> None:
    """Their keys are numbers of the parameters or, before PyTorch 1.6, their addresses."""
    keys = [*range(10_000), *range(140_000_000_000_000, 140_000_000_001_000)]
    assert list(read(zipped(with_keys(keys), {}))) == keys


@LAYOUTS
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (1, (2, 3), (3, 1)),
        (-1, (2, 3), (3, 1)),
        (0, (2, 3), (-3, 1)),
        (0, (-2, 3), (3, 1)),
        (0, (2, 3), (4, 1)),
        (0, (2, 3), (1,)),
        (0, (2**62, 2**62), (0, 0)),
        (0, (7,), (0,)),
        (0, (2,), (2**63,)),
        (2**64, (1,), (1,)),
        (7, (), ()),
        (0, (True,), (1,)),
        (0, (1.0,), (1,)),
        (0, (1,) * 65, (1,) * 65),
        (0, (0, 2**62, 2**62), (1, 1, 1)),
    ],
)
def test_tensors_outside_of_their_storage(layout: Layout, offset: int, size: Any, stride: Any) -> None:
    with pytest.raises(TorchFileError):
        read(layout(of_six(offset, size, stride), SIX))


@LAYOUTS
@pytest.mark.parametrize("count", [5, 7, -1, 2**62, 2**70, 6.0])
def test_wrong_number_of_elements(layout: Layout, count: Any) -> None:
    with pytest.raises(TorchFileError):
        read(layout(of_six(0, (1,), (1,), count=count), SIX))


@LAYOUTS
def test_truncated(layout: Layout) -> None:
    data = layout(*whole({"a": np.arange(4.0), "b": np.arange(2)}))
    for length in range(len(data)):
        with pytest.raises(TorchFileError):
            read(data[:length])


def test_compressed_entries() -> None:
    """A zip bomb; stored entries cannot be larger than the file."""
    zeros = {"0": np.zeros(10**6, np.float32)}
    value = tensor("0", "torch.FloatStorage", 10**6, 0, (1,), (1,))
    bomb = zipped(value, zeros, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    with pytest.raises(TorchFileError, match="compressed"):
        read(bomb)


def test_entries_larger_than_the_file(tmp_path: Path) -> None:
    """A false size in the archive's directory, 4 GB, that a buffered file would reserve before reading."""
    data = zipped(of_six(), SIX)
    large = struct.pack("<I", 2**32 - 16)
    for name in (b"archive/data/0", b"archive/data.pkl", b"archive/byteorder"):
        directory = data.rindex(name) - 46
        broken = data[: directory + 20] + 2 * large + data[directory + 28 :]
        (tmp_path / "weights.pt").write_bytes(broken)
        tracemalloc.start()
        with pytest.raises(TorchFileError):
            torch_file.read(tmp_path / "weights.pt")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


def test_a_storage_alone() -> None:
    """Storages in plain pickles are files of torch.save within the file."""
    storage = Persistent(("storage", Global("torch.FloatStorage"), "0", "cpu", 6, None))
    for layout in (zipped, legacy):
        blob = layout(storage, SIX)
        array = torch_file.storage_in(blob)
        np.testing.assert_array_equal(array, np.arange(6, dtype=np.float32), strict=True)
        assert np.shares_memory(array, np.frombuffer(blob, np.uint8)) == (layout is legacy)
    for value in (of_six(), [storage], {}, 3, Global("torch.FloatStorage")):
        with pytest.raises(PickleError):
            torch_file.storage_in(legacy(value, SIX))


@LAYOUTS
def test_declared_sizes_reserve_nothing(layout: Layout) -> None:
    """Counts far above the file's size: of a storage, of a byte string, of the memo."""
    hostile = [
        tensor("0", "torch.DoubleStorage", 2**40, 0, (1,), (1,)),
        [tensor(str(i), "torch.DoubleStorage", 60, 0, (1,), (1,)) for i in range(1000)],
        Opcodes(b"\x8e" + struct.pack("<Q", 2**40)),
        Opcodes(b"\x96" + struct.pack("<Q", 2**40)),
        Opcodes(b"Nr\xff\xff\xff\xff0q\x00"),
        Opcodes(b"\x8b\xff\xff\xff\x7f"),
    ]
    for value in hostile:
        data = layout(value, SIX)
        tracemalloc.start()
        with contextlib.suppress(TorchFileError):
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50 * len(data) + 2**18


def test_deep_nesting_does_not_overflow() -> None:
    value = read(zipped(Opcodes(b"]" * 200_000 + b"a" * 199_999), {}))
    for _ in range(199_999):
        (value,) = value
    assert value == []


ARRAYS = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(3), "h": np.float16([[1.5]])}
INTACT = [layout(*whole(ARRAYS)) for layout in (zipped, legacy)]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_mutated_bytes_give_arrays_or_one_error(seed: int) -> None:
    """A hundred files per example, as drawing an example costs Hypothesis more than reading a file."""
    draw = random.Random(seed)
    for _ in range(100):
        data = mutated(draw.choice(INTACT), draw)
        try:
            value = read(data)
        except TorchFileError as error:
            assert "\n" not in str(error)
        else:
            arrays = value.values() if isinstance(value, dict) else []
            assert sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)) <= len(data)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Damage a file one to four times: up to three bytes in the place of one."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        data = data[:at] + draw.randbytes(draw.randint(0, 3)) + data[at + 1 :]
    return data
