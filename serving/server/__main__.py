"""Command line of the embedded server: start, say when ready, drain on SIGTERM or Ctrl-C."""

import os
import signal
import sys
import threading
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

from serving.server.batching import BatchingParameters, read_parameters
from serving.server.model_manager import parse_policy
from serving.server.security import ApiKey, Certificate
from serving.server.server import Server, ServerOptions

_BASE = flags.DEFINE_string("model_base_path", None, "Folder of the versions 1, 2, ...")
_NAME = flags.DEFINE_string("model_name", "sg3", "Name of the model in requests.")
_POLICY = flags.DEFINE_string("model_version_policy", "latest", "latest, all or specific:1,3.")
_POLL = flags.DEFINE_float("file_system_poll_wait_seconds", 1.0, "Pause between looks for versions; 0: never.", 0.0)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
_PORT = flags.DEFINE_integer("port", 8500, "gRPC port; 0 takes a free one.", 0, 65535)
_REST = flags.DEFINE_integer("rest_api_port", 8501, "REST port; 0 takes a free one.", 0, 65535)
_REST_MS = flags.DEFINE_integer("rest_api_timeout_in_ms", 30_000, "REST's deadline; gRPC's callers set theirs.", 1)
_BATCHING = flags.DEFINE_bool("enable_batching", False, "Answer requests that wait together.")
_PARAMETERS = flags.DEFINE_string("batching_parameters_file", None, "BatchingParameters, text; with --enable_batching.")
_IN_FLIGHT = flags.DEFINE_integer("max_in_flight", 64, "Predictions inside; more are refused.", 1)
_MAX_BATCH = flags.DEFINE_integer("max_batch", 64, "Images in one request; 0: no limit.", 0)
_MAX_MB = flags.DEFINE_integer("max_request_mb", 64, "MiB of one request.", 1, 2047)
_CERT = flags.DEFINE_string("ssl_cert_file", None, "TLS certificate, PEM; with --ssl_key_file.")
_KEY = flags.DEFINE_string("ssl_key_file", None, "Its private key, PEM.")
_API_KEY = flags.DEFINE_string("api_key_file", None, "File of the key that requests must have as x-api-key.")


def main(argv: list[str]) -> None:
    """Serve until told to stop."""
    logging.set_verbosity(logging.ERROR)  # the model has no gradients, on purpose: no need to warn
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    if not _BASE.value:
        raise app.UsageError("--model_base_path is missing: the folder serving.export wrote")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        options = _options()
        process = Server(options)
    except (OSError, RuntimeError, ValueError) as error:
        # gRPC reports a port in use as a RuntimeError.
        raise SystemExit(f"cannot start: {error}") from error
    if not options.key and options.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"--host={options.host} without --api_key_file: whoever reaches it may use it", file=sys.stderr)
    version = process.catalog.find(_NAME.value, None).version
    scheme = "https" if options.certificate else "http"
    rest = f"{scheme}://{_HOST.value}:{process.rest_port}/v1/models/{_NAME.value}"
    print(
        f"ready: {_NAME.value} version {version}, gRPC {_HOST.value}:{process.grpc_port}, REST {rest}",
        flush=True,
    )
    stop.wait()
    if not process.drain():
        print("stopped before all requests were answered", file=sys.stderr, flush=True)
        os._exit(1)  # at the interpreter's own end it would wait for their threads


def _options() -> ServerOptions:
    """The flags, checked.

    Raises:
      OSError: a file that cannot be read.
      ValueError: values that do not fit.
    """
    if _PARAMETERS.value and not _BATCHING.value:
        raise ValueError("--batching_parameters_file needs --enable_batching")
    if bool(_CERT.value) != bool(_KEY.value):
        raise ValueError("--ssl_cert_file and --ssl_key_file go together; give both or neither")
    parameters = read_parameters(Path(_PARAMETERS.value)) if _PARAMETERS.value else BatchingParameters()
    return ServerOptions(
        name=_NAME.value,
        base=Path(_BASE.value),
        policy=parse_policy(_POLICY.value),
        poll_seconds=_POLL.value,
        host=_HOST.value,
        port=_PORT.value,
        rest_port=_REST.value,
        rest_seconds=_REST_MS.value / 1000,
        batching=parameters if _BATCHING.value else None,
        max_in_flight=_IN_FLIGHT.value,
        max_batch=_MAX_BATCH.value,
        max_bytes=_MAX_MB.value << 20,
        key=ApiKey(Path(_API_KEY.value)) if _API_KEY.value else None,
        certificate=Certificate(Path(_CERT.value), Path(_KEY.value)) if _CERT.value else None,
    )


if __name__ == "__main__":
    app.run(main)
