"""Batching parameters, and batches of several callers' requests."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from serving import saved_model
from serving.saved_model import export_saved_model
from serving.server.batching import BatchingParameters, batched_function, is_batchable, read_parameters
from serving.server.errors import RequestError
from serving.server.model import ServedModel, warm_up

TEXT = """
# as TensorFlow Serving reads it
max_batch_size { value: 8 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 2 }
thread_pool_name { value: "pool" }
allowed_batch_sizes: 1
allowed_batch_sizes: 8
"""


def read(tmp_path, text):
    file = tmp_path / "parameters.txt"
    file.write_text(text)
    return read_parameters(file)


def test_parameters_file(tmp_path):
    assert read(tmp_path, TEXT) == BatchingParameters(8, 1000, 100, 2, (1, 8))
    assert read(tmp_path, "batch_timeout_micros { value: 0 }").max_batch_size == 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_sice { value: 8 }", "max_batch_sice"),
        ("max_batch_size { value: 0 }", "max_batch_size is 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros is -1"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "last must be max_batch_size=8"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 4", "increase"),
        ("max_batch_size: 8", "parameters.txt"),
    ],
)
def test_wrong_parameters_are_explained(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, text)


# Long enough for all callers to meet.
PARAMETERS = BatchingParameters(8, 300_000, 100, 1, (8,))


@pytest.fixture(scope="module")
def model(model_base_path):
    return ServedModel(model_base_path / "1", PARAMETERS, max_batch=6)


@pytest.fixture(scope="module")
def named_model(model_base_path):
    return ServedModel(model_base_path / "2", PARAMETERS)


def inputs(seed, rows, psi):
    z = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return {"z": z, "psi": np.float32(psi), "label": np.eye(2, dtype=np.float32)[np.arange(rows) % 2]}


def test_callers_get_their_own_rows(model, fake_generator):
    requests = [inputs(0, 2, 0.5), inputs(1, 3, [0.1, 0.9, -1]), inputs(2, 1, 1.0), inputs(3, 2, [0.3])]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda request: model.run("generate", request)["images"], requests))
    for request, got in zip(requests, answers, strict=True):
        expected = fake_generator.images(request["z"], request["label"], request["psi"])
        np.testing.assert_allclose(got.astype(int), expected, atol=1)


def test_two_signatures_at_once_are_not_mixed_up(model):
    """The kernel keeps its queues by name: one name for both would put images of one into the answers of the other."""
    request = inputs(4, 3, 0.5)
    with ThreadPoolExecutor() as pool:
        ws = pool.submit(model.run, "map", request)
        images = pool.submit(model.run, "generate", request)
        assert ws.result()["ws"].shape == (3, 3, 4)
        assert images.result()["images"].shape == (3, 8, 8, 3)


def test_the_mask_for_all_images_is_each_ones(model):
    ws_a, ws_b = np.random.default_rng(5).normal(size=(2, 3, 3, 4)).astype(np.float32)
    one = np.float32([0, 1, 1])
    for_all = model.run("mix", {"ws_a": ws_a, "ws_b": ws_b, "mask": one})["images"]
    each = model.run("mix", {"ws_a": ws_a, "ws_b": ws_b, "mask": np.tile(one, (3, 1))})["images"]
    np.testing.assert_array_equal(for_all, each)


def test_a_bad_request_does_not_spoil_the_batch_of_others(model):
    bad = inputs(6, 2, 0.5) | {"seed": np.int64([1, -1])}
    bad.pop("z")
    good = inputs(6, 2, 0.5) | {"seed": np.int64([1, 2])}
    good.pop("z")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(model.run, "generate_png", good)
        with pytest.raises(RequestError, match="'seed' has -1"):
            model.run("generate_png", bad)
        assert len(answer.result()["png_bytes"]) == 2
    good["class_name"], bad = np.array(["1", "0"], object), good | {"class_name": np.array(["1", "2"], object)}
    good.pop("label"), bad.pop("label")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(model.run, "generate_png_class", good)
        with pytest.raises(
            RequestError, match="'class_name' is '2'; it must be a number from 0 to 1, of a class; a vector of 2"
        ):
            model.run("generate_png_class", bad)
        assert len(answer.result()["png_bytes"]) == 2
    rows = {"ws": np.zeros((2, 3, 4), np.float32), "transform": np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(model.run, "synthesize_png", rows | {"scale": np.int32(2)})
        with pytest.raises(RequestError, match="'scale' is 2147483647; it must be from 1 to 65536"):
            model.run("synthesize_png", rows | {"scale": np.int32([1, 2**31 - 1])})
        assert len(answer.result()["png_bytes"]) == 2
    with pytest.raises(RequestError, match="'z' has 7 rows|'label' has 7 rows"):
        model.run("generate", inputs(0, 7, 1.0))


def test_names_are_split_as_the_graph_splits_them(named_model):
    """A no-break space is part of a name in TensorFlow: passed on, it would fail the whole batch."""
    rest = {"z": np.zeros((1, 6), np.float32), "psi": np.float32(1)}
    with ThreadPoolExecutor() as pool:
        good = rest | {"class_name": np.array([b"tabby,\tmanx "], object)}
        answer = pool.submit(named_model.run, "generate_class", good)
        with pytest.raises(RequestError, match=r"'class_name' is 'tabby,\\xa0manx'; it must be"):
            named_model.run("generate_class", rest | {"class_name": np.array(["tabby,\xa0manx".encode()], object)})
        assert len(answer.result()["images"]) == 1


def test_a_number_that_no_class_has_spoils_nothing(named_model):
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(named_model.run, "class_name", {"number": np.int64([1])})
        with pytest.raises(RequestError, match="number must be from 0 to 1"):
            named_model.run("class_name", {"number": np.int64([2])})
        assert answer.result()["class_name"].tolist() == [b"manx"]


def test_reloads_start_no_threads(model, named_model, model_base_path):
    """The kernel's threads outlive the model, and each wakes a thousand times a second."""
    before = len(os.listdir("/proc/self/task"))
    warm_up(ServedModel(model_base_path / "2", PARAMETERS), model_base_path / "2")
    assert len(os.listdir("/proc/self/task")) - before < 3


def test_the_models_own_limit_counts(fake_generator, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "validate_export", lambda *_: {})  # which starts a process
    version = export_saved_model(fake_generator, tmp_path, max_batch=4)
    with pytest.raises(OSError, match="takes at most 4 images: give batching a max_batch_size that is no larger"):
        ServedModel(version, BatchingParameters(8))
    with pytest.raises(RequestError, match="has 5 rows; send at most 4"):
        ServedModel(version).run("generate", inputs(0, 5, 1.0))


def test_slots_before_the_kernel():
    """More than the kernel can work at waits where deadlines count: at one image a batch, one runs and one follows."""
    assert BatchingParameters(1, num_batch_threads=1).num_slots == 2
    assert BatchingParameters(8, num_batch_threads=2).num_slots == 24


def test_requests_run_together(model):
    """The kernel itself: what four callers sent is computed once, padded to the allowed size."""
    sizes = []
    definition = model.signature_def("map")
    assert is_batchable(definition)

    def count(**rows):
        seen = tf.py_function(lambda z: sizes.append(len(z)), [rows["z"]], [])
        with tf.control_dependencies([seen] if seen is not None else []):
            return {"ws": rows["z"] * rows["psi"][:, None]}

    parameters = BatchingParameters(8, 300_000, 10, 1, (4, 8))
    function = batched_function(
        count, definition, model.per_image_shapes["map"], "test_requests_run_together", parameters
    )

    def call(seed):
        request = inputs(seed, 1, [seed])
        return request["z"] * seed, function(**request)["ws"].numpy()

    with ThreadPoolExecutor(4) as pool:
        for expected, got in pool.map(call, range(4)):
            np.testing.assert_array_equal(got, expected)
    assert sizes == [4]
