"""Command line of the embedded server: start, say when ready, drain on SIGTERM or Ctrl-C."""

import signal
import threading
from pathlib import Path

from absl import app, flags, logging

from serving.server.catalog import Catalog
from serving.server.grpc_service import make_grpc_server
from serving.server.rest import RestServer

_BASE = flags.DEFINE_string("model_base_path", None, "Folder of the versions 1, 2, ...")
_NAME = flags.DEFINE_string("model_name", "sg3", "Name of the model in requests.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
_PORT = flags.DEFINE_integer("port", 8500, "gRPC port; 0 takes a free one.", 0, 65535)
_REST = flags.DEFINE_integer("rest_api_port", 8501, "REST port; 0 takes a free one.", 0, 65535)

_DRAIN_SECONDS = 30


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
        catalog = Catalog(_NAME.value, Path(_BASE.value))
        grpc_server = make_grpc_server(catalog)
        grpc_port = grpc_server.add_insecure_port(f"{_HOST.value}:{_PORT.value}")
        rest_server = RestServer(_HOST.value, _REST.value, catalog)
    except (OSError, RuntimeError) as error:
        # gRPC reports a port in use as a RuntimeError.
        raise SystemExit(f"cannot start: {error}") from error
    grpc_server.start()
    rest_thread = threading.Thread(target=rest_server.serve_forever, name="rest")
    rest_thread.start()
    version = catalog.find(_NAME.value, None).version
    rest = f"http://{_HOST.value}:{rest_server.server_port}/v1/models/{_NAME.value}"
    print(
        f"ready: {_NAME.value} version {version}, gRPC {_HOST.value}:{grpc_port}, REST {rest}",
        flush=True,
    )
    stop.wait()
    # Both stop accepting first, then finish what they have.
    drained = grpc_server.stop(_DRAIN_SECONDS)
    rest_server.shutdown()
    rest_thread.join()
    rest_server.server_close()
    drained.wait()


if __name__ == "__main__":
    app.run(main)
