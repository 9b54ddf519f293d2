"""Demonstrate all of sg3tf: pictures, data, training, export, server, client. `make demo` runs this program.

python examples/demo/demo.py                      # portraits under neon light
python examples/demo/demo.py --data=FOLDER        # your own pictures

A trained network generates pictures immediately, and then learns the style of other pictures. Run the program again to
continue, whether or not it was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from results_page import write_results

from sg3tf.utils import command_line
from sg3tf.utils.files import atomic_write, hidden_name

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
# For a few minutes of training: a small batch gives many updates and lets the average of G follow quickly.
_TRAINING = ["--batch=8", "--loss=relativistic", "--gamma=0.5", "--mirror", "--aug=noaug", "--precision=auto"]
_REPORTS = ["--metrics=none", "--tick=1", "--snap=2"]
_STOPPED = "stopped; run the demo again to continue"
_NETWORK = str(_ROOT / "examples/portraits-32.keras")
_SOURCE = "source.json"
_FILM = "interpolation.gif"


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the demo."""
    flags.DEFINE_string(
        "data", "", "Folder or zip file of pictures; default: draw portraits in another style.", flag_values=options
    )
    flags.DEFINE_string(
        "network",
        _NETWORK,
        "Trained generator to start from, of stylegan3-t or -r.",
        flag_values=options,
    )
    flags.DEFINE_float(
        "kimg", 12.0, "Thousands of images to train on, in addition to finished runs.", flag_values=options
    )
    flags.DEFINE_integer("portraits", 3000, "Number of portraits to draw.", flag_values=options)
    flags.DEFINE_string(
        "out", "runs", "Parent of the output folder, which is demo, or demo-NAME with --data=NAME.", flag_values=options
    )


def main(options: flags.FlagValues) -> None:
    """Run every step as a command, and print the command first."""
    out = _folder(options)
    out.mkdir(parents=True, exist_ok=True)
    _keep_source(options, out)
    steps = _Steps()
    with _native_build(out) as build:
        steps.begin("A picture by the included trained network")
        before = [f"--network={options.network}", "--seeds=0-31", "--trunc=0.8", "--columns=8", "--scale=3"]
        _python("-m", "sg3tf", "generate", "grid", *before, f"--out={out / 'first.png'}", SG3TF_OPS="matmul")
        steps.begin("Pictures that the network has not seen")
        data = _make_data(options, out)
        steps.begin("Native operations, which make training faster")
        _wait_for(build, out)
    steps.begin("Training")
    run = _train(options, out, data)
    steps.begin("Export to a SavedModel")
    models = out / "models" / "sg3"
    _python("-m", "sg3tf", "export", f"--network={run}", f"--model_base_path={models}")
    steps.begin("A server, and requests to it")
    with _server(models) as address:
        _ask_server(address, out)
    steps.end()
    page = write_results(out, run, steps.seconds, _next_commands(options, run, models))
    print(f"\nOpen {page} in a browser.\n\n{_next_commands(options, run, models)}")


class _Steps:
    """Titles on stdout, and the seconds that each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._title, self._started = "", time.monotonic()

    def begin(self, title: str) -> None:
        """End the previous step, and print the title of the next one with the elapsed time."""
        self.end()
        minutes, seconds = divmod(round(sum(self.seconds.values())), 60)
        print(f"\n== {minutes}:{seconds:02d}  {title}", flush=True)
        self._title = title

    def end(self) -> None:
        """End a step."""
        now = time.monotonic()
        if self._title:
            self.seconds[self._title] = now - self._started
        self._started = now


# --- The folder -------------------------------------------------------------------------------------------------------


def _folder(options: flags.FlagValues) -> Path:
    return Path(options.out) / (f"demo-{Path(os.path.abspath(options.data)).name}" if options.data else "demo")


def _keep_source(options: flags.FlagValues, out: Path) -> None:
    """Record --data and --network in `out`, and print a line if --data has changed since its pictures were taken.

    Raises:
        ValueError: `out` already has a data set from another source.
    """
    file = out / _SOURCE
    source = {
        "data": os.path.abspath(options.data) if options.data else "",
        "network": os.path.abspath(options.network) if options.network != _NETWORK else "",  # a checkout may move
    }
    state = _state_of_files(options.data) if options.data else {}
    if (out / "data").exists() and not file.exists():
        print(f"{out} is from an earlier revision: if it was begun with other pictures, remove it and run again")
    elif (out / "data").exists():
        begun = json.loads(file.read_text())
        for name, value in source.items():
            if value != begun[name]:
                before = f"with --{name}={begun[name]}" if begun[name] else f"without --{name}"
                remedy = "move or remove that folder, or choose another with --out"
                raise ValueError(f"--{name}={options[name].value}: {out} was begun {before}; {remedy}")
        begun_with = begun.get("files", state)  # earlier revisions did not keep it
        if state != begun_with:
            print(f"new pictures in {options.data} are not used; to start over, remove {out}")
        state = begun_with
    with atomic_write(file) as written:
        written.write(json.dumps({**source, "files": state}).encode())


def _state_of_files(data: str) -> dict[str, float]:
    """Number of files in a folder (1 for a file), and the newest time of their last change in seconds."""
    paths = [data, *(os.path.join(folder, name) for folder, _, names in os.walk(data) for name in names)]
    times = [os.path.getmtime(path) for path in paths if os.path.isfile(path)]
    return {"count": len(times), "newest": max(times, default=0.0)}


# --- Steps ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _native_build(out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Build the native operations in the background, at low priority, and stop the build with all its processes.

    They are in a session of their own, which Ctrl-C does not reach.
    """
    command = ["nice", str(_ROOT / "custom_ops/install.sh"), sys.executable, "--no-xla"]
    with (
        (out / "native-build.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def _wait_for(build: subprocess.Popen[bytes], out: Path) -> None:
    try:
        status = build.wait()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_STOPPED) from None
    if status:
        lines = (out / "native-build.log").read_text(errors="replace").splitlines() or ["nothing was printed"]
        print(f"not built, so training takes longer: {lines[-1]} ({out / 'native-build.log'})")
    else:
        print("built")


def _make_data(options: flags.FlagValues, out: Path) -> Path:
    resolution = network_flags(options.network)["resolution"]
    data = out / "data"
    if not options.data:
        size = [f"--count={options.portraits}", f"--resolution={resolution}"]
        _python(str(_HERE / "portraits.py"), f"--outdir={data}", *size, "--style=neon", "--seed=1")
    elif not data.exists():
        build = ["-m", "sg3tf", "data", "build", f"--source={options.data}", f"--outdir={data}", "--crop=center"]
        _python(*build, f"--resolution={resolution}", "--nolabels")
    return data


def _train(options: flags.FlagValues, out: Path, data: Path) -> Path:
    """Continue the run in `out`, or start one from --network; return its folder.

    A finished run is only trained further after results.html has shown it.
    """
    runs = out / "training"
    started = sorted(path for path in runs.glob("*") if any(path.glob("checkpoints/[0-9]*")))
    if started:
        run = started[-1]
        planned = json.loads((run / "options.json").read_text())["kimg"]
        last = max(run.glob("checkpoints/[0-9]*"), key=lambda path: int(path.name))
        length = planned
        if int(last.name) / 1000 >= planned:
            page = out / "results.html"
            if not page.exists() or page.stat().st_mtime < last.stat().st_mtime:
                print(f"finished earlier, in {run}; its results come first", flush=True)
                return run
            length += options.kimg
        _python("-m", "sg3tf", "train", f"--resume={run}", f"--kimg={length:g}")
        return run
    network = [f"--{name}={value}" for name, value in network_flags(options.network).items()]
    where = [f"--outdir={runs}", f"--data={data}", f"--init_from={options.network}"]
    _python("-m", "sg3tf", "train", *where, *network, *_TRAINING, *_REPORTS, f"--kimg={options.kimg:g}")
    return max(path for path in runs.iterdir() if (path / "checkpoints").is_dir())


def network_flags(path: str | Path) -> dict[str, Any]:
    """Flags {name: value} with which `sg3tf train` creates a network that fits --init_from=PATH.

    Args:
        path: .keras file of a generator of config T or R.

    Raises:
        ValueError: it is another kind of file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))["config"]["config"]
        is_r = config.get("use_radial_filters") or config.get("radial")  # the latter in files of earlier versions
        doubled = 2 if is_r else 1  # config R has twice the channels that its flags say
        return {
            "cfg": "stylegan3-r" if is_r else "stylegan3-t",
            "resolution": config["resolution"],
            "cbase": config["channel_base"] // doubled,
            "cmax": config["channel_max"] // doubled,
            "map_depth": config["mapping_layers"],
        }
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise ValueError(f"--network={path}: not the .keras file of a generator of StyleGAN3 ({error})") from error


@contextlib.contextmanager
def _server(models: Path) -> Iterator[str]:
    """Run the embedded server on a free port; yield HOST:PORT."""
    arguments = ["-m", "sg3tf", "serve", f"--model_base_path={models}", "--port=0", "--rest_api_port=0"]
    print(f"$ {_shown(arguments)}", flush=True)
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            match = re.search(r"gRPC (\S+:\d+)", ready)
            if not match:
                raise ValueError("the server did not start; its message is above")
            print(ready, end="")
            yield match[1]
        finally:
            process.send_signal(signal.SIGTERM)


def _ask_server(address: str, out: Path) -> None:
    """Generate a grid and a film."""
    served = [f"--network=grpc://{address}/sg3", "--trunc=0.8"]
    _python("-m", "sg3tf", "generate", "grid", *served, "--seeds=0-31", "--columns=8", f"--out={out / 'served.png'}")
    # Frames of an interrupted film are identified by their server's port, which differs in every run.
    shutil.rmtree(out / hidden_name(_FILM, ".frames"), ignore_errors=True)
    walk = ["--seeds=0-11", "--grid=4x1", "--frames=20", "--loop", "--fps=20", f"--out={out / _FILM}"]
    _python("-m", "sg3tf", "generate", "interpolate", *served, *walk)


def _next_commands(options: flags.FlagValues, run: Path, models: Path) -> str:
    again = ["make", "demo", *([f"DATA={options.data}"] if options.data else [])]
    defaults = {name: options[name].default for name in ("data", "network", "out")}
    given = {name: options[name].value for name, default in defaults.items() if options[name].value != default}
    if given.keys() & {"network", "out"}:  # which make demo does not take
        again = [".venv/bin/python", "examples/demo/demo.py", *(f"--{name}={value}" for name, value in given.items())]
    return f"""train further    {shlex.join(again)}
watch            .venv/bin/tensorboard {shlex.quote(f"--logdir={run.parent}")}
generate         .venv/bin/sg3tf generate grid {shlex.quote(f"--network={run}")} --seeds=0-15 --trunc=0.7 --out=grid.png
serve            .venv/bin/sg3tf serve {shlex.quote(f"--model_base_path={models}")}
ask the server   .venv/bin/sg3tf generate grid --network=grpc://127.0.0.1:8500/sg3 --seeds=100-115 --out=grid.png"""


# --- Processes --------------------------------------------------------------------------------------------------------


def _python(*arguments: str, **environment: str) -> None:
    print(f"$ {_shown(arguments)}", flush=True)
    with subprocess.Popen([sys.executable, *arguments], env={**os.environ, **environment}) as process:
        status = _status_of(process)
    if status in (130, -signal.SIGINT):
        raise KeyboardInterrupt(_STOPPED)
    if status:
        raise ValueError(f"{_shown(arguments)} failed with status {status}; its message is above")


def _status_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, even after Ctrl-C, which it receives as well: training then saves a checkpoint."""
    interrupted = False
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt(_STOPPED)
    return status


def _shown(arguments: Sequence[str]) -> str:
    """Return the command line of Python's `arguments` as users write it."""
    return shlex.join(["python", *arguments]).replace("python -m sg3tf ", "sg3tf ", 1)


if __name__ == "__main__":
    sys.exit(command_line.run("demo", main, define_flags, __doc__ or ""))
