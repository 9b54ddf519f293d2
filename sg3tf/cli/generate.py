"""python -m sg3tf.cli.generate COMMAND --flags: what people do with a trained generator.

python -m sg3tf.cli.generate images --network=runs/00000-... --seeds=0-63,85 --trunc=0.7 --outdir=out
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

COMMANDS = {
    "images": "a PNG file for each seed",
    "grid": "many images in one picture, or a sweep of truncations",
    "mix": "style mixing: a sheet of every row's image with every column's styles",
    "interpolate": "a film from point to point: MP4, WebM, GIF or PNG frames",
    "layers": "what the layers of the network show, as a picture or a film",
    "sheet": "classes side by side",
    "project": "the latents of a given picture",
    "edit": "directions in latent space, and pictures along them",
}


def main() -> int:
    """Runs the command; returns the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print(_usage(name), file=sys.stderr)
        return 0 if name in ("--help", "-h", "help") else 1
    command = importlib.import_module(f"sg3tf.generate.commands.{name}")
    command.define_flags()
    _show_in_help(command)
    app.run(lambda argv: _run(name, command, argv), argv=[f"sg3tf.generate {name}", *sys.argv[2:]])
    return 0


def _run(name: str, command: ModuleType, argv: list[str]) -> int:
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}: options are written --name=value")
        command.main(flags.FLAGS)
    except (OSError, ValueError, ArithmeticError, ModuleNotFoundError) as error:
        # Flags that do not fit, files that cannot be read or written, a server's refusals.
        print(f"sg3tf.generate {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"sg3tf.generate {name}: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130
    return 0


def _show_in_help(command: ModuleType) -> None:
    """Lets --help say what `command` says of itself, and show its flags, wherever they are defined."""
    sys.modules["__main__"].__doc__ = command.__doc__
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("sg3tf.generate."):
            flags.adopt_module_key_flags(module)


def _usage(name: str) -> str:
    listed = "\n".join(f"  {command:12} {meaning}" for command, meaning in COMMANDS.items())
    unknown = f"unknown command {name!r}; " if name and not name.startswith("-") and name != "help" else ""
    return f"{unknown}python -m sg3tf.cli.generate COMMAND --help, where COMMAND is one of\n{listed}"


if __name__ == "__main__":
    sys.exit(main())
