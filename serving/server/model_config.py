"""TensorFlow Serving's configuration of the served model."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import RequestError, invalid


def check_name(name: str, what: str) -> None:
    """Raise if a model's name cannot be part of a REST address; `what` is the flag or field.

    Raises:
        ValueError: the name is empty or contains a slash or a colon.
    """
    if not name or "/" in name or ":" in name:
        raise ValueError(f"{what}={name}: give a name without / and :, as it is part of addresses")


def read_model_config(file: Path) -> model_server_config_pb2.ModelConfig:
    """Read the one model of a file of TensorFlow Serving's ModelServerConfig in protobuf text form.

    Raises:
        OSError: the file cannot be read.
        ValueError: the form is wrong, or there is not exactly one TensorFlow model.
    """
    try:
        text = file.read_text(encoding="utf-8")
        config = model_config(text_format.Parse(text, model_server_config_pb2.ModelServerConfig()))
    except (text_format.ParseError, UnicodeDecodeError, RequestError) as error:
        raise ValueError(f"--model_config_file={file}: {error}") from error
    if not config.name or not config.base_path or config.model_platform not in ("", "tensorflow"):
        raise ValueError(f'--model_config_file={file}: give name, base_path and model_platform: "tensorflow"')
    check_name(config.name, f"--model_config_file={file}: name")
    return config


def model_config(config: model_server_config_pb2.ModelServerConfig) -> model_server_config_pb2.ModelConfig:
    """Return the only model of a configuration.

    Raises:
        RequestError: INVALID_ARGUMENT, if there is none or more than one.
    """
    configs = config.model_config_list.config
    if len(configs) != 1:
        raise invalid(f"model_config_list has {[each.name for each in configs]}; this server serves one model")
    policy = configs[0].model_version_policy
    if policy.HasField("specific") and not policy.specific.versions:
        raise invalid("model_version_policy: specific has no versions; list some, or give all {} or latest {}")
    return configs[0]
