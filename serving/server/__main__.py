"""Serve an exported model over gRPC and REST, with TensorFlow Serving's protocols, until SIGTERM or Ctrl-C.

python -m serving.server --model_base_path=models/sg3 --model_name=sg3
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags, logging

from sg3tf.utils import command_line

if TYPE_CHECKING:
    from serving.server.server import ServerOptions


def define_flags(values: flags.FlagValues) -> None:
    """Define the server's flags in `values`; those that TensorFlow Serving has too have its names."""
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
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all interfaces.", flag_values=values)
    flags.DEFINE_integer("port", 8500, "Port for gRPC; 0: any free port.", 0, 65535, flag_values=values)
    flags.DEFINE_integer("rest_api_port", 8501, "Port for REST; 0: any free port.", 0, 65535, flag_values=values)
    flags.DEFINE_integer(
        "rest_api_timeout_in_ms",
        30_000,
        "Deadline of REST requests in milliseconds; gRPC clients set theirs.",
        1,
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
        "Maximum number of predictions running or waiting; further ones are refused.",
        1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_batch", 64, "Maximum number of images in one request; 0: no limit.", 0, flag_values=values
    )
    flags.DEFINE_integer("max_request_mb", 64, "Largest request, in MiB.", 1, 2047, flag_values=values)
    flags.DEFINE_string("ssl_cert_file", None, "TLS certificate in PEM form; needs --ssl_key_file.", flag_values=values)
    flags.DEFINE_string("ssl_key_file", None, "Private key of --ssl_cert_file in PEM form.", flag_values=values)
    flags.DEFINE_string(
        "api_key_file", None, "File with the key that requests must send as x-api-key.", flag_values=values
    )


def main(argv: Sequence[str] | None = None, name: str = "serving.server") -> int:
    """Run the command `name` with the arguments `argv`, or those of the process; return the exit status."""
    # gRPC reports a port in use as a RuntimeError.
    return command_line.run(name, serve, define_flags, __doc__ or "", argv, foreseen=(RuntimeError,))


def serve(options: flags.FlagValues) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight; return the exit status."""
    # Imported here, so that --help is answered without TensorFlow, and a missing extra is one line.
    from serving.server.server import Server

    logging.set_verbosity(logging.ERROR)  # TensorFlow warns that the model has no gradients, which is deliberate
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server_options = _server_options(options)
    server = Server(server_options)
    if not server_options.key and server_options.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"--host={options.host} without --api_key_file: anyone who can reach it may use it", file=sys.stderr)
    version = server.models.find(options.model_name, None).version
    scheme = "https" if server_options.certificate else "http"
    rest = f"{scheme}://{options.host}:{server.rest_port}/v1/models/{options.model_name}"
    print(
        f"ready: {options.model_name} version {version}, gRPC {options.host}:{server.grpc_port}, REST {rest}",
        flush=True,
    )
    stop.wait()
    if not server.drain():
        print("stopped before all requests were answered", file=sys.stderr, flush=True)
        os._exit(1)  # the interpreter's own exit would wait for their threads
    return 0


def _server_options(options: flags.FlagValues) -> ServerOptions:
    """Check the flags.

    Raises:
        OSError: a file that cannot be read.
        ValueError: values that do not fit together.
    """
    from serving.server.batching import BatchingParameters, read_parameters
    from serving.server.model_manager import parse_policy
    from serving.server.security import ApiKey, Certificate
    from serving.server.server import ServerOptions

    if not options.model_base_path:
        raise ValueError("--model_base_path is missing: give the folder that serving.export wrote")
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
        name=options.model_name,
        base=Path(options.model_base_path),
        policy=parse_policy(options.model_version_policy),
        poll_seconds=options.file_system_poll_wait_seconds,
        host=options.host,
        port=options.port,
        rest_port=options.rest_api_port,
        rest_seconds=options.rest_api_timeout_in_ms / 1000,
        batching=batching,
        max_in_flight=options.max_in_flight,
        max_batch=options.max_batch,
        max_bytes=options.max_request_mb << 20,
        key=ApiKey(Path(options.api_key_file)) if options.api_key_file else None,
        certificate=certificate,
    )


if __name__ == "__main__":
    sys.exit(main())
