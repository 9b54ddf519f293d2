"""Run all of sg3tf once: data, training, export, server, client. `make demo` runs this program.

python examples/demo/demo.py                      # procedural portraits
python examples/demo/demo.py --data=FOLDER        # your own pictures

Run it again to continue the training.
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

from absl import flags

from sg3tf.utils import command_line

# Small enough for recognizable images after minutes on two cores.
_TRAINING = ["--cfg=stylegan3-t", "--batch=16", "--gamma=0.05", "--cbase=1024", "--cmax=32", "--mirror", "--aug=noaug"]
_HERE = Path(__file__).parent
_QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}  # TensorFlow's start-up notices


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the demo."""
    flags.DEFINE_string(
        "data", "", "Folder or zip file of pictures; default: draw procedural portraits.", flag_values=options
    )
    flags.DEFINE_float(
        "kimg", 32.0, "Thousands of images to train on, in addition to earlier runs.", flag_values=options
    )
    flags.DEFINE_integer("resolution", 32, "Width and height of the images.", flag_values=options)
    flags.DEFINE_integer("portraits", 4000, "Number of portraits to draw.", flag_values=options)
    flags.DEFINE_string(
        "out", "runs", "Folder that gets the folder demo, or demo-NAME for --data=NAME.", flag_values=options
    )


def main(options: flags.FlagValues) -> None:
    """Run every step as a command line, which is printed first."""
    out = Path(options.out) / (f"demo-{Path(options.data).stem}" if options.data else "demo")
    data = _make_data(options, out)
    run = _train(options, out, data)
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
    _print_next_steps(options, out, run, models)


def _make_data(options: flags.FlagValues, out: Path) -> Path:
    if not options.data:
        data = out / "portraits"
        count, size = options.portraits, max(options.resolution, 64)
        _python(str(_HERE / "portraits.py"), f"--outdir={data}", f"--count={count}", f"--resolution={size}")
        return data
    data = out / "data"
    if not data.exists():
        build = ["-m", "sg3tf.data.build", f"--source={options.data}", f"--outdir={data}", "--crop=center"]
        _python(*build, f"--resolution={options.resolution}")
    return data


def _train(options: flags.FlagValues, out: Path, data: Path) -> Path:
    """Resume the run in `out`, or start one; return its folder."""
    runs = out / "training"
    done_nimg = max((int(path.name) for path in runs.glob("*/checkpoints/[0-9]*")), default=0)
    length = [f"--kimg={done_nimg / 1000 + options.kimg:g}", "--tick=1", "--snap=4", "--resume=latest"]
    where = [f"--outdir={runs}", f"--data={data}", f"--resolution={options.resolution}"]
    _python("-m", "trainer.main", *where, *_TRAINING, *length)
    return max(path for path in runs.iterdir() if (path / "checkpoints").is_dir())


@contextlib.contextmanager
def _server(models: Path) -> Iterator[str]:
    """Run the embedded server on a free port; yield HOST:PORT."""
    command = [sys.executable, "-m", "serving.server", f"--model_base_path={models}", "--port=0", "--rest_api_port=0"]
    _show(command)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_QUIET) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            match = re.search(r"gRPC (\S+:\d+)", ready)
            if not match:
                raise ValueError("the server did not start; its message is above")
            print(ready, end="")
            yield match[1]
        finally:
            process.send_signal(signal.SIGTERM)


def _python(*arguments: str) -> None:
    command = [sys.executable, *arguments]
    _show(command)
    status = subprocess.run(command, env=_QUIET).returncode
    if status == 130:  # Ctrl-C during training, which stops at a checkpoint
        raise KeyboardInterrupt("stopped; run the demo again to continue")
    if status:
        raise ValueError(f"{shlex.join(arguments)} failed with status {status}; its message is above")


def _show(command: list[str]) -> None:
    print(f"\n$ python {shlex.join(command[1:])}", flush=True)


def _print_next_steps(options: flags.FlagValues, out: Path, run: Path, models: Path) -> None:
    print(f"""
Open {out}/reals.png, fakes.png, served.png and interpolation.png. Then:

  train further    make demo{f" DATA={options.data}" if options.data else ""}
  watch            .venv/bin/tensorboard --logdir={run.parent}
  generate         .venv/bin/sg3tf generate grid --network={run} --seeds=0-15 --trunc=0.7 --out=grid.png
  serve            .venv/bin/sg3tf serve --model_base_path={models}
  ask the server   .venv/bin/sg3tf generate grid --network=grpc://127.0.0.1:8500/sg3 --seeds=100-115 --out=grid.png
""")


if __name__ == "__main__":
    sys.exit(command_line.run("demo", main, define_flags, __doc__ or ""))
