"""Serve an exported model over gRPC and REST, with TensorFlow Serving's protocols, until SIGTERM or Ctrl-C.

sg3tf serve --model_base_path=models/sg3 --model_name=sg3
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from absl import flags
from absl import logging as absl_logging

from sg3tf.utils import command_line
from sg3tf.utils.files import local_path
from sg3tf.utils.hosts import is_loopback

if TYPE_CHECKING:
    from serving.server.server import ServerOptions


def define_flags(values: flags.FlagValues) -> None:
    """Define the server's flags in `values`; those that TensorFlow Serving also has are named as there."""
    flags.DEFINE_string("model_base_path", None, "Folder of the model's versions 1, 2, ...", flag_values=values)
    flags.DEFINE_string("model_name", "sg3", "Name of the model in requests.", flag_values=values)
    flags.DEFINE_string(
        "model_version_policy", "latest", "Versions to serve: latest, all or specific:1,3.", flag_values=values
    )
    flags.DEFINE_float(
        "file_system_poll_wait_seconds",
        1.0,
        "Seconds between checks for new versions; 0: never check.",
        0.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "model_config_file",
        None,
        "ModelServerConfig in protobuf text form, with one model, its version policy and version labels; "
        "in place of --model_base_path, --model_name and --model_version_policy.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address to listen on, IPv4 or IPv6, such as ::1; 0.0.0.0 for all IPv4 interfaces, :: for all IPv4 and "
        "IPv6 interfaces.",
        flag_values=values,
    )
    flags.DEFINE_integer("port", 8500, "Port for gRPC; 0: any free port.", 0, 65535, flag_values=values)
    flags.DEFINE_integer("rest_api_port", 8501, "Port for REST; 0: any free port.", 0, 65535, flag_values=values)
    flags.DEFINE_integer(
        "rest_api_timeout_in_ms",
        30_000,
        "Deadline of REST requests in milliseconds; gRPC clients set their own.",
        1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "rest_api_enable_cors_support",
        False,
        "Allow web pages of any origin to use the REST interface, by CORS headers in every response.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "enable_serialization_as_tensor_content",
        False,
        "Return arrays in gRPC responses as tensor_content: faster, but not every client can read it.",
        flag_values=values,
    )
    flags.DEFINE_bool("enable_batching", False, "Run waiting requests together, as one batch.", flag_values=values)
    flags.DEFINE_string(
        "batching_parameters_file",
        None,
        "BatchingParameters in protobuf text form, for --enable_batching.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_in_flight",
        64,
        "Maximum number of predictions running or waiting; further ones are rejected.",
        1,
        flag_values=values,
    )
    flags.DEFINE_integer("max_batch", 64, "Maximum number of images per request; 0: no limit.", 0, flag_values=values)
    flags.DEFINE_integer("max_request_mb", 64, "Largest request, in MiB.", 1, 2047, flag_values=values)
    flags.DEFINE_string("ssl_cert_file", None, "TLS certificate in PEM form; needs --ssl_key_file.", flag_values=values)
    flags.DEFINE_string("ssl_key_file", None, "Private key of --ssl_cert_file in PEM form.", flag_values=values)
    flags.DEFINE_string(
        "api_key_file", None, "File with the key that requests must send as x-api-key.", flag_values=values
    )


def main(argv: Sequence[str] | None = None, name: str = "serving.server") -> int:
    """Run the command `name` with the arguments `argv`, by default those of the process; return the exit status."""
    return command_line.run(name, functools.partial(serve, name), define_flags, __doc__ or "", argv)


def serve(name: str, options: flags.FlagValues) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight; return the exit status.

    Args:
        name: name of the command, which starts every message.
        options: flags of `define_flags`.
    """
    # Imported here, so that --help does not load TensorFlow, and a missing extra is a one-line error.
    from serving.server import address
    from serving.server.server import Server, exit_undrained, stop_on_signals

    # TensorFlow warns that the model has no gradients, which is deliberate.
    absl_logging.set_verbosity(absl_logging.ERROR)
    _log_to_stderr(name)
    stop = stop_on_signals()
    checked = server_options(options)
    server = Server(checked)
    if not checked.key and not is_loopback(options.host):
        print(f"--host={options.host} without --api_key_file: anyone who can reach it may use it", file=sys.stderr)
    model = checked.name
    version = server.models.find(model, None).version
    scheme = "https" if checked.certificate else "http"
    rest = f"{scheme}://{address.join(options.host, server.rest_port)}/v1/models/{quote(model, safe='')}"
    grpc = address.join(options.host, server.grpc_port)
    print(f"ready: {model} version {version}, gRPC {grpc}, REST {rest}", flush=True)
    stop.wait()
    if not server.drain():
        exit_undrained()
    return 0


def _log_to_stderr(name: str) -> None:
    """Write this package's messages to stderr immediately, one line each, after the name of the command."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    logger = logging.getLogger("serving")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl's handler would write messages again, in another form


def server_options(options: flags.FlagValues) -> ServerOptions:
    """Check the flags of `define_flags`, and return the options that they define.

    Raises:
        OSError: a file cannot be read.
        ValueError: values contradict each other.
    """
    from serving.server.batching import BatchingParameters, read_parameters
    from serving.server.security import ApiKey, Certificate
    from serving.server.server import ServerOptions

    if not options.model_base_path and not options.model_config_file:
        raise ValueError("--model_base_path is missing: give the folder that sg3tf export wrote")
    if options.model_base_path and options.model_config_file:
        raise ValueError("--model_config_file has the folder: leave out --model_base_path, or give it alone")
    for flag in ("model_name", "model_version_policy"):
        if options.model_config_file and options[flag].present:
            raise ValueError(f"--{flag}={options[flag].value}: --model_config_file has it too; leave one of them out")
    if options.batching_parameters_file and not options.enable_batching:
        raise ValueError("--batching_parameters_file needs --enable_batching")
    if bool(options.ssl_cert_file) != bool(options.ssl_key_file):
        raise ValueError("--ssl_cert_file and --ssl_key_file go together; give both or neither")
    batching = None
    if options.enable_batching:
        file = options.batching_parameters_file
        batching = read_parameters(Path(file)) if file else BatchingParameters()
    certificate = None
    if options.ssl_cert_file:
        certificate = Certificate(Path(options.ssl_cert_file), Path(options.ssl_key_file))
    return ServerOptions(
        **_model_options(options),
        poll_seconds=options.file_system_poll_wait_seconds,
        host=options.host,
        port=options.port,
        rest_port=options.rest_api_port,
        rest_seconds=options.rest_api_timeout_in_ms / 1000,
        rest_cors=options.rest_api_enable_cors_support,
        batching=batching,
        max_in_flight=options.max_in_flight,
        max_batch=options.max_batch,
        max_bytes=options.max_request_mb << 20,
        as_tensor_content=options.enable_serialization_as_tensor_content,
        key=ApiKey(Path(options.api_key_file)) if options.api_key_file else None,
        certificate=certificate,
    )


def _model_options(options: flags.FlagValues) -> dict[str, Any]:
    """Return name, base, policy and labels of the model, from --model_config_file or the flags in its place."""
    from serving.server.model_config import check_name, read_model_config
    from serving.server.version_policy import parse_policy, policy_from_config

    if options.model_config_file:
        config = read_model_config(Path(options.model_config_file))
        return {
            "name": config.name,
            "base": local_path(config.base_path),
            "policy": policy_from_config(config.model_version_policy),
            "labels": dict(config.version_labels),
        }
    check_name(options.model_name, "--model_name")
    return {
        "name": options.model_name,
        "base": local_path(options.model_base_path),
        "policy": parse_policy(options.model_version_policy),
        "labels": {},
    }


if __name__ == "__main__":
    sys.exit(main())
