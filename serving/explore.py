"""Open a generator in the explorer, a web page. It is exported to a temporary folder and served on this machine.

sg3tf explore --network=portraits-32
sg3tf explore --network=runs/00003-...,runs/00004-...    (both, to compare them: versions 1 and 2)
"""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from absl import flags, logging

from serving.server.explorer import location
from sg3tf.utils import command_line
from sg3tf.utils.files import scratch_folder

if TYPE_CHECKING:
    from serving.server.server import Server

_MODEL_NAME = "sg3"


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags of this command in `values`."""
    flags.DEFINE_list(
        "network",
        None,
        "Generator to explore: .keras file, run folder, checkpoint folder or preset; give several to compare them.",
        flag_values=values,
    )
    flags.DEFINE_integer("port", 0, "Port of the page; 0: any free port.", 0, 65535, flag_values=values)
    flags.DEFINE_bool("browser", True, "Open the page in a browser.", flag_values=values)


def main(argv: Sequence[str] | None = None, name: str = "serving.explore") -> int:
    """Run the command `name` with the arguments `argv`, by default those of the process; return the exit status."""
    return command_line.run(name, explore, define_flags, __doc__ or "", argv)


def explore(options: flags.FlagValues) -> None:
    """Export, serve, open the page, and wait for Ctrl-C or SIGTERM; the temporary folder is removed at the end."""
    if not options.network:
        raise ValueError("--network is missing: give a .keras file, run folder, checkpoint folder or preset")
    # Imported here, so that --help and errors in flags do not load TensorFlow, and a missing extra is a one-line error.
    from serving.server.server import exit_undrained, stop_on_signals

    logging.set_verbosity(logging.ERROR)  # TensorFlow lists every variable that it captures
    with scratch_folder() as folder:
        base = folder / _MODEL_NAME
        names = [_export(network, base) for network in options.network]
        stop = stop_on_signals()
        server = _serve(base, options.port)
        page = f"http://127.0.0.1:{server.rest_port}{location(_MODEL_NAME)}&network={quote(names[-1])}"
        print(f"explorer: {page}", flush=True)
        print("press Ctrl-C to stop", file=sys.stderr, flush=True)
        if options.browser and not webbrowser.open(page):
            print("no browser was found: open the address above", file=sys.stderr, flush=True)
        stop.wait()
        is_drained = server.drain()
    if not is_drained:
        exit_undrained()


def _export(network: str, base: Path) -> str:
    """Export a network, and return its name for the commands that the page copies: of a run folder, its snapshot."""
    from serving.saved_model import export_saved_model
    from sg3tf import Generator
    from sg3tf.models.loading import load, resolve_network
    from sg3tf.models.presets import PRESETS, STYLEGAN1_PRESET
    from sg3tf.models.provenance import training_provenance

    is_untrained = network in (*PRESETS, STYLEGAN1_PRESET) and not Path(network).exists()
    print(f"exporting {network}", file=sys.stderr, flush=True)
    file = network if is_untrained else resolve_network(network)  # the run may still be training
    generator = Generator.from_preset(file) if is_untrained else load(file)
    provenance = {"source": file} if is_untrained else training_provenance(file).to_json()
    export_saved_model(generator, base, metadata=provenance)
    return file if Path(network).is_dir() else network


def _serve(base: Path, port: int) -> Server:
    """Start the embedded server with its usual settings, all networks as versions of one model."""
    from serving.server import __main__ as command
    from serving.server.server import Server

    values = flags.FlagValues()
    command.define_flags(values)
    versions = [f"--model_base_path={base}", f"--model_name={_MODEL_NAME}", "--model_version_policy=all"]
    ports = ["--port=0", f"--rest_api_port={port}"]
    # Nothing is exported to the folder later, and the first image of a large network takes a long time.
    times = ["--file_system_poll_wait_seconds=0", "--rest_api_timeout_in_ms=60000"]
    values(["serve", *versions, *ports, *times])
    return Server(command.server_options(values))


if __name__ == "__main__":
    sys.exit(main())
