"""Deployment files: each parses as its format, and they agree with one another and with the exporter."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format
from onnx import TensorProto
from tensorflow_serving.config import model_server_config_pb2

import sg3tf
from serving.onnx_export import onnx_model
from serving.server.batching import read_parameters
from sg3tf.utils.protobuf import message_classes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "serving" / "deploy"
ARGUMENTS = {
    "--port=8500",
    "--rest_api_port=8501",
    "--model_config_file=/config/models.config",
    "--enable_batching",
    "--batching_parameters_file=/config/batching_parameters.txt",
    "--monitoring_config_file=/config/monitoring.config",
}

# TensorFlow Serving's messages that tensorflow-serving-api leaves out; text has no field numbers.
MONITORING = message_classes(
    "test",
    """
    message PrometheusConfig {
      bool enable = 1;
      string path = 2;
    }
    message MonitoringConfig {
      PrometheusConfig prometheus_config = 1;
    }
    """,
)

TRITON = message_classes(
    "triton",
    """
    message ModelTensorReshape {
      repeated int64 shape = 1;
    }
    message Tensor {
      string name = 1;
      string data_type = 2;
      repeated int64 dims = 3;
      ModelTensorReshape reshape = 4;
    }
    message ModelDynamicBatching {
      repeated int32 preferred_batch_size = 1;
      uint64 max_queue_delay_microseconds = 2;
    }
    message ModelConfig {
      string name = 1;
      string backend = 2;
      int32 max_batch_size = 3;
      repeated Tensor input = 4;
      repeated Tensor output = 5;
      ModelDynamicBatching dynamic_batching = 6;
    }
    """,
)


def read(name, message):
    return text_format.Parse((DEPLOY / name).read_text(), message)


def documents(name):
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_triton():
    text = re.sub(
        r"data_type: (\w+)", r'data_type: "\1"', (DEPLOY / "triton_config.pbtxt").read_text()
    )  # an enum there
    parsed = text_format.Parse(text, TRITON["ModelConfig"]())
    G = sg3tf.Generator.from_preset("stylegan3-t", 16, channel_base=32, channel_max=2, mapping_layers=1)
    graph = onnx_model(G, "z").graph
    types = {"TYPE_FP32": TensorProto.FLOAT, "TYPE_INT64": TensorProto.INT64}
    for described, values in ((parsed.input, graph.input), (parsed.output, graph.output)):
        for tensor, value in zip(described, values, strict=True):
            assert (tensor.name, types[tensor.data_type]) == (value.name, value.type.tensor_type.elem_type)
            # Triton adds the batch itself, and requires a dimension besides.
            batch, *dims = value.type.tensor_type.shape.dim
            shape = [d.dim_value for d in dims]
            assert batch.dim_param  # free, as max_batch_size requires
            sizes = [256 if size == 16 and tensor.name == "images" else size for size in shape]
            assert list(tensor.dims) == (sizes or [1]) and tensor.HasField("reshape") == (not sizes)
    assert max(parsed.dynamic_batching.preferred_batch_size) == parsed.max_batch_size


def test_models():
    parsed = read("models.config", model_server_config_pb2.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("sg3", "/models/sg3", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    # What the comments propose is right, too.
    text = (DEPLOY / "models.config").read_text().replace("model_version_policy { latest { num_versions: 1 } }", "")
    uncommented = re.sub(r"# (model_version_policy|version_labels)", r"\1", text)
    (model,) = text_format.Parse(uncommented, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert set(model.version_labels.values()) == set(model.model_version_policy.specific.versions) == {3, 4}


def test_batching():
    text = (DEPLOY / "batching_parameters.txt").read_text()
    batching = read_parameters(DEPLOY / "batching_parameters.txt")
    sizes = batching.allowed_batch_sizes
    assert sizes[-1] == batching.max_batch_size
    assert f"--max_batch={sizes[-1]} --warmup_batch_sizes={','.join(map(str, sizes))}" in text
    assert 0 <= batching.batch_timeout_micros < 100_000


def test_monitoring():
    prometheus = read("monitoring.config", MONITORING["MonitoringConfig"]()).prometheus_config
    assert prometheus.enable
    assert prometheus.path == "/monitoring/prometheus/metrics"


def test_container(tmp_path):
    script = DEPLOY / "run_container.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    models = tmp_path / "my models"
    models.mkdir()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GPUS": "--gpus all"}
    done = subprocess.run([script, models], env=environment, capture_output=True, text=True, check=True)
    arguments = done.stdout.splitlines()
    assert arguments[:5] == ["run", "--rm", "--gpus", "all", "-p"]
    assert {f"{models}:/models/sg3:ro", f"{DEPLOY}:/config:ro"} <= set(arguments)
    assert set(arguments[arguments.index("tensorflow/serving:2.21.0") + 1 :]) == ARGUMENTS


def test_compose():
    (compose,) = documents("docker-compose.yaml")
    (service,) = compose["services"].values()
    assert service["image"] == "tensorflow/serving:2.21.0"
    assert set(service["command"]) == ARGUMENTS
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    assert set(mounts) == {"/models/sg3", "/config"}
    # In the short syntax models/sg3 would be a named volume, and a folder that is missing would be made, empty.
    for mount in mounts.values():
        assert mount["type"] == "bind" and mount["read_only"] and mount["bind"] == {"create_host_path": False}
    assert mounts["/models/sg3"]["source"] == "${SG3_MODELS:-../../models/sg3}"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_kubernetes():
    deployment, service, autoscaler = documents("kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert set(container["args"]) == ARGUMENTS
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/sg3", "port": "rest"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    volumes = {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    (adapter,) = documents("prometheus_adapter.yaml")
    (rule,) = adapter["rules"]["custom"]
    assert autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
    scrape = deployment["spec"]["template"]["metadata"]["annotations"]
    assert (
        scrape["prometheus.io/path"]
        == read("monitoring.config", MONITORING["MonitoringConfig"]()).prometheus_config.path
    )


def test_native_server():
    """The repository that stands for the wheel's TensorFlow has all that the operations take from that."""
    given = set(re.findall(r'name = "(\w+)"', (DEPLOY / "native_server" / "local_tensorflow.BUILD").read_text()))
    files = [*(ROOT / "custom_ops").rglob("BUILD"), *(ROOT / "custom_ops").rglob("*.bzl")]
    taken = {name for file in files for name in re.findall(r"@local_tensorflow//:(\w+)\"", file.read_text())}
    assert taken and taken <= given
    assert "TENSORFLOW_VERSION = " in (DEPLOY / "native_server" / "version.bzl").read_text()
    lines = (DEPLOY / "native_server" / "WORKSPACE.lines").read_text()
    for file in re.findall(r'SG3TF/([\w./]+)"', lines):
        assert (ROOT / file).exists()
    assert 'name = "native_ops"' in (ROOT / "custom_ops" / "BUILD").read_text()
