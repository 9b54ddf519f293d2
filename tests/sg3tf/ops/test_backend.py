"""The choice of a backend: by argument, by scope, by environment, and by the library at hand."""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Generator
from sg3tf.ops import cuda, filtered_lrelu, native, upfirdn2d, use_backend
from sg3tf.ops.backend import BACKENDS, training_backend
from sg3tf.utils.errors import ExpectedError
from tests.helpers import contexts
from tests.helpers.numerics import relative_error

X = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32)
TAPS = np.array([1.0, 3.0, 2.0]) / 6
STOCK = ("xla", "matmul")
NAMES = [pytest.param(name, marks=() if name in STOCK else pytest.mark.native) for name in BACKENDS]
native_only = pytest.mark.native

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SG3TF_OPS", raising=False)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(tensorflow=...) -> the new folder of the library, which cannot be loaded."""

    def install(tensorflow: str = tf.__version__) -> Path:
        (tmp_path / native.OPERATIONS).write_text("not a library")
        (tmp_path / native.BUILD).write_text(json.dumps({"tensorflow": tensorflow}))
        monkeypatch.setattr(native, "FOLDER", tmp_path)
        return tmp_path

    return install


@pytest.fixture
def no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the library's."""
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [f"a {kind}"])


def both(x: tf.Tensor, impl: str | None = None) -> tf.Tensor:
    """Both operations."""
    return filtered_lrelu(upfirdn2d(x, TAPS, impl=impl), TAPS, TAPS, impl=impl)


def in_graph(impl: str | None = None) -> str:
    """The backend that a traced function contains."""
    graph = tf.function(lambda x: both(x, impl)).get_concrete_function(tf.constant(X)).graph
    ours = {op.type for op in graph.get_operations() if op.type.startswith("Sg3>")}
    if ours:
        assert ours == {"Sg3>Upfirdn2d", "Sg3>FilteredLrelu"}
        return "native"
    return "xla" if contexts.compiles(lambda x: both(x, impl), X) else "matmul"


def under_jit_compile(impl: str | None = None) -> tf.Tensor:
    return tf.function(lambda x: both(x, impl), jit_compile=True)(X)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("sg3tf") and r.levelno == logging.WARNING]


@pytest.mark.parametrize("name", NAMES)
def test_argument(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", "matmul" if name != "matmul" else "xla")
    assert in_graph(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", name)
    for default in (None, "auto"):
        assert in_graph(default) == name
    assert training_backend() == name
    other = "matmul" if name != "matmul" else "xla"
    with use_backend(other):
        assert in_graph() == other
    assert in_graph(other) == other


@native_only
@pytest.mark.parametrize("setting", ["auto", ""])
def test_auto_is_native_with_a_library(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", setting)
    assert in_graph() == in_graph("auto") == training_backend() == "native"
    with use_backend("xla"), use_backend("auto"):
        assert in_graph() == "native"


@pytest.mark.parametrize("setting", ["cuda", "Native", "xla "])
def test_unknown_setting(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SG3TF_OPS", setting)
    for function in (in_graph, training_backend):
        with pytest.raises(ValueError, match=f"SG3TF_OPS='{setting}': use 'auto', 'native', 'xla', 'matmul'"):
            function()


def test_unknown_scope_and_argument() -> None:
    with pytest.raises(ValueError, match="name='fast': use 'auto'"), use_backend("fast"):
        pass
    with pytest.raises(ValueError, match="impl='fast': use 'auto'"):
        upfirdn2d(X, TAPS, impl="fast")


def test_nested_scopes() -> None:
    with use_backend("xla"):
        for default in (None, "auto"):
            assert in_graph(default) == "xla"
        assert in_graph("matmul") == "matmul"
        with use_backend("matmul"):
            assert in_graph() == "matmul"
            assert in_graph("xla") == "xla"
        assert in_graph() == "xla"


def test_scope_ends_with_an_exception() -> None:
    before = in_graph()
    with pytest.raises(KeyError), use_backend("xla"):
        raise KeyError
    assert in_graph() == before != "xla"


def test_scope_holds_in_all_threads() -> None:
    """MirroredStrategy traces its replicas in threads of their own."""
    seen = []
    with use_backend("xla"):
        thread = threading.Thread(target=lambda: seen.append(in_graph()))
        thread.start()
        thread.join()
    assert seen == ["xla"]


def test_scopes_of_two_threads_may_overlap() -> None:
    before = in_graph()
    first, second = use_backend("xla"), use_backend("matmul")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert in_graph() == "matmul"
    second.__exit__(None, None, None)
    assert in_graph() == before


def test_a_traced_function_keeps_its_implementation() -> None:
    function = tf.function(both)
    with use_backend("matmul"):
        traced = function.get_concrete_function(tf.TensorSpec(X.shape))
    with use_backend("xla"):
        function(X)
    assert function.experimental_get_tracing_count() == 1
    assert not any(op.type == "PartitionedCall" for op in traced.graph.get_operations())


def test_no_library(no_library: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert in_graph() == in_graph("auto") == "matmul"
    assert training_backend() == "xla"
    (message,) = warnings(caplog)  # once, however often it was asked for
    assert f"there is no {no_library / native.OPERATIONS}" in message and "`make native`" in message


def test_no_library_where_it_is_asked_for(no_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"native operations asked for, but there is no {no_library}.*: build them with `make native`"
    with pytest.raises(ExpectedError, match=message):
        in_graph("native")
    with pytest.raises(ExpectedError, match=message), use_backend("native"):
        pass
    monkeypatch.setenv("SG3TF_OPS", "native")
    with pytest.raises(ExpectedError, match=message):
        in_graph()


@pytest.mark.parametrize("impl", [None, "matmul"])
def test_stock_operations_are_compiled_under_jit_compile(no_library: Path, impl: str | None) -> None:
    """The operations of `matmul` are slow under XLA on a CPU."""
    inner = tf.function(lambda x: both(x, impl), jit_compile=True).get_concrete_function(tf.constant(X))
    assert any(op.type == "PartitionedCall" for op in inner.graph.get_operations())
    assert relative_error(under_jit_compile(impl), both(X, "matmul")) < 1e-6


@native_only
@pytest.mark.parametrize("impl", [None, "native"])
def test_no_library_for_xla(
    impl: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even impl="native" falls back there; outside jit_compile nothing changes."""
    monkeypatch.setattr(native, "XLA", f"none {tmp_path.name}.so")
    expected = both(X, "matmul")
    for _ in range(2):
        assert relative_error(under_jit_compile(impl), expected) < 1e-6
    (message,) = warnings(caplog)
    assert f"there is no {native.FOLDER / native.XLA}" in message and "`make native`" in message
    inner = tf.function(lambda x: both(x, impl), jit_compile=True).get_concrete_function(tf.constant(X))
    assert not any(op.type.startswith("Sg3>") for op in inner.graph.get_operations())
    assert in_graph(impl) == "native"


@native_only
def test_damaged_library_for_xla(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    library = tmp_path / native.XLA
    library.write_text("not a library")
    reason = native.xla_unavailable_reason(library)
    assert f"{library} cannot be loaded" in reason and "\n" not in reason


def refused(reason: str, remedy: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` warns once, in one line, and takes a stock backend; `native` fails, whoever asks for it."""
    for _ in range(2):
        assert in_graph() == in_graph("auto") == "matmul" and training_backend() == "xla"
    (message,) = warnings(caplog)
    assert re.search(f"{reason}.*: {remedy}", message) and "\n" not in message
    for _ in range(2):
        with pytest.raises(ExpectedError, match=f"{reason}.*: {remedy}"):
            in_graph("native")
    with pytest.raises(ExpectedError, match=reason), use_backend("native"):
        pass
    monkeypatch.setenv("SG3TF_OPS", "native")
    with pytest.raises(ExpectedError, match=reason):
        in_graph()
    assert in_graph("xla") == "xla"


@pytest.mark.parametrize("version", [f"{tf.__version__.rsplit('.', 1)[0]}.99", "2.4.1"])
def test_library_for_another_tensorflow(
    install: Install, version: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = install(tensorflow=version) / native.OPERATIONS
    reason = f"{library} was built for TensorFlow {version}, but this is {tf.__version__}"
    refused(reason, "build it again with `make native`, or choose SG3TF_OPS=xla", caplog, monkeypatch)


def test_generator_beside_a_library_for_another_tensorflow(install: Install) -> None:
    install(tensorflow=f"{tf.__version__.rsplit('.', 1)[0]}.99")
    tiny = {"resolution": 16, "channel_base": 64, "channel_max": 4, "z_dim": 8, "w_dim": 8, "num_layers": 4}
    images = Generator.from_preset("stylegan3-t", **tiny).predict(np.ones([1, 8], np.float32), verbose=0)
    assert images.shape == (1, 16, 16, 3) and np.all(np.isfinite(images))


def test_library_for_a_distribution_with_a_suffix(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.importlib.metadata, "version", lambda _: f"{tf.__version__}+vendor1")
    assert native.unavailable_reason(install(tensorflow=f"{tf.__version__}+vendor1")) == ""


def test_unknown_instruction_set(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.setenv("SG3TF_ISA", "AVX2")
    with pytest.raises(ValueError, match="SG3TF_ISA='AVX2': use baseline, avx2 or avx512"):
        native.require()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"tensorfow": "2.21.0"}'])
def test_damaged_description_of_the_library(
    install: Install, content: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install() / native.BUILD
    path.unlink()
    if content is not None:
        path.write_text(content)
    refused(f"cannot read {path} ", "run `make native` again", caplog, monkeypatch)


def test_damaged_library(install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(f"cannot load {install() / native.OPERATIONS} ", "build it again with `make", caplog, monkeypatch)


@pytest.mark.parametrize("driver", [(0, 0), (11, 8)])
def test_driver_too_old(
    install: Install,
    gpu: None,
    driver: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: driver)
    install()
    reason = f"the GPU's driver is for CUDA {driver[0]}.{driver[1]}"
    refused(reason, "install driver 525 or newer, or choose SG3TF_OPS=xla", caplog, monkeypatch)


def test_no_compiler_for_the_kernels(
    install: Install, gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: (12, 0))
    monkeypatch.setattr(cuda, "find_nvrtc", lambda: None)
    monkeypatch.setattr(cuda, "has_system_compiler", lambda: False)
    install()
    remedy = r'pip install "sg3tf\[cuda\]", or choose SG3TF_OPS=xla'
    refused("neither NVRTC nor nvcc is found", remedy, caplog, monkeypatch)


@pytest.mark.parametrize("driver", [(12, 0), (13, 10)])
def test_driver_new_enough(
    install: Install, gpu: None, driver: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: driver)
    monkeypatch.setenv("SG3TF_NVRTC", str(tmp_path / "libnvrtc.so.12"))
    assert native.unavailable_reason(install()) == ""


def test_library_without_a_gpu(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [])
    monkeypatch.setattr(cuda, "driver_version", lambda: (0, 0))
    assert native.unavailable_reason(install()) == ""


def test_no_driver() -> None:
    if not tf.config.list_physical_devices("GPU"):
        assert cuda.driver_version() == (0, 0)


def test_nvrtc_of_the_python_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    file.parent.mkdir(parents=True)
    file.write_text("")
    monkeypatch.delenv("SG3TF_NVRTC", raising=False)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    assert cuda.find_nvrtc() == file
    monkeypatch.setenv("SG3TF_NVRTC", "/elsewhere/libnvrtc.so.12")
    assert cuda.find_nvrtc() == Path("/elsewhere/libnvrtc.so.12")
