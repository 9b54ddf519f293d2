"""The whole of sg3tf in one go: data, training, export, server, client. `make demo` runs it.

python examples/demo/demo.py                      # procedural portraits
python examples/demo/demo.py --data=FOLDER        # your own pictures
Run it again to go on training where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags

_DATA = flags.DEFINE_string("data", "", "Folder or zip of pictures; default: portraits drawn for the occasion.")
_KIMG = flags.DEFINE_float("kimg", 32.0, "How many thousand images more to train on.")
_RESOLUTION = flags.DEFINE_integer("resolution", 32, "Side of the images.")
_PORTRAITS = flags.DEFINE_integer("portraits", 4000, "How many portraits to draw.")
_OUT = flags.DEFINE_string("out", "runs", "Folder that demo/, or demo-NAME/ for your own pictures, is made in.")

# Small enough that two cores learn something to look at in minutes.
_TRAINING = ["--cfg=stylegan3-t", "--batch=16", "--gamma=0.05", "--cbase=1024", "--cmax=32", "--mirror", "--aug=noaug"]
_HERE = Path(__file__).parent
_QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}  # TensorFlow's start-up notices


def main(argv: list[str]) -> None:
    """Every step is a command line that is printed before it runs."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    out = Path(_OUT.value) / (f"demo-{Path(_DATA.value).stem}" if _DATA.value else "demo")
    data = _make_data(out)
    run = _train(out, data)
    models = out / "models" / "sg3"
    _python("-m", "serving.export", f"--network={run}", f"--model_base_path={models}")
    with _server(models) as address:
        served = [f"--network=grpc://{address}/sg3", "--trunc=0.8"]
        _python("-m", "sg3tf", "generate", "grid", *served, "--seeds=0-63", f"--out={out / 'served.png'}")
        _python(
            "-m", "sg3tf", "generate", "interpolate", *served, "--seeds=3,7,11,3", f"--out={out / 'interpolation.png'}"
        )
    shutil.copy(run / "reals.png", out / "reals.png")
    shutil.copy(sorted(run.glob("fakes*.png"))[-1], out / "fakes.png")
    _say_what_next(out, run, models)


def _make_data(out: Path) -> Path:
    if not _DATA.value:
        data = out / "portraits"
        count, size = _PORTRAITS.value, max(_RESOLUTION.value, 64)
        _python(str(_HERE / "portraits.py"), f"--outdir={data}", f"--count={count}", f"--resolution={size}")
        return data
    data = out / "data"
    if not data.exists():
        build = ["-m", "sg3tf.data.build", f"--source={_DATA.value}", f"--outdir={data}", "--crop=center"]
        _python(*build, f"--resolution={_RESOLUTION.value}")
    return data


def _train(out: Path, data: Path) -> Path:
    """Goes on with the run that is there, or begins one; returns its folder."""
    runs = out / "training"
    done_nimg = max((int(path.name) for path in runs.glob("*/checkpoints/[0-9]*")), default=0)
    length = [f"--kimg={done_nimg / 1000 + _KIMG.value:g}", "--tick=1", "--snap=4", "--resume=latest"]
    where = [f"--outdir={runs}", f"--data={data}", f"--resolution={_RESOLUTION.value}"]
    _python("-m", "trainer.main", *where, *_TRAINING, *length)
    return max(path for path in runs.iterdir() if (path / "checkpoints").is_dir())


@contextlib.contextmanager
def _server(models: Path) -> Iterator[str]:
    """The embedded server on a free port; yields HOST:PORT."""
    command = [sys.executable, "-m", "serving.server", f"--model_base_path={models}", "--port=0", "--rest_api_port=0"]
    _show(command)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_QUIET) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            match = re.search(r"gRPC (\S+:\d+)", ready)
            if not match:
                raise SystemExit("the server did not start; its message is above")
            print(ready, end="")
            yield match[1]
        finally:
            process.send_signal(signal.SIGTERM)


def _python(*arguments: str) -> None:
    command = [sys.executable, *arguments]
    _show(command)
    status = subprocess.run(command, env=_QUIET).returncode
    if status == 130:  # Ctrl-C during training: it stopped at a checkpoint and said so
        raise SystemExit("Stopped. Run the demo again to go on.")
    if status:
        raise SystemExit(f"{shlex.join(arguments)} failed with status {status}; its message is above")


def _show(command: list[str]) -> None:
    print(f"\n$ python {shlex.join(command[1:])}", flush=True)


def _say_what_next(out: Path, run: Path, models: Path) -> None:
    print(f"""
Look at {out}/reals.png, fakes.png, served.png and interpolation.png. Then:

  train on         make demo{f" DATA={_DATA.value}" if _DATA.value else ""}
  watch            .venv/bin/tensorboard --logdir={run.parent}
  generate         .venv/bin/sg3tf generate grid --network={run} --seeds=0-15 --trunc=0.7 --out=grid.png
  serve            .venv/bin/sg3tf serve --model_base_path={models}
  ask the server   .venv/bin/sg3tf generate grid --network=grpc://127.0.0.1:8500/sg3 --seeds=100-115 --out=grid.png
""")


if __name__ == "__main__":
    app.run(main)
