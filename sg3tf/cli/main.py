"""The console script `sg3tf`: its command table, help, and dispatch."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sg3tf.utils import command_line
from sg3tf.version import __version__

#: Environment variables set for every command, unless already set.
ENVIRONMENT = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # otherwise, a command takes all memory of all GPUs
    "NVIDIA_TF32_OVERRIDE": "0",  # a seed gives the same image on a GPU as on a CPU, to rounding
}
#: Entry point group in which trainer and serving register their commands: main(argv, name) -> exit status.
ENTRY_POINTS = "sg3tf.commands"


class Command(NamedTuple):
    """One command.

    Attributes:
        summary: one line for the list of commands.
        module: its module, with `define_flags(options)`, `main(options)`, and its help as the docstring; for a command
            registered as an entry point, the module to run with `python -m` instead.
        registered: True if it is registered as an entry point.
        positional: name of its positional arguments, which `main` takes as its second argument.
    """

    summary: str
    module: str
    registered: bool = False
    positional: str = ""


COMMANDS = {
    "train": Command("Train a network.", "trainer.main", registered=True),
    "data build": Command("Build a data set from images.", "sg3tf.data.build.command"),
    "data verify": Command("Check a data set.", "sg3tf.data.verify"),
    "generate images": Command("Write a PNG file for each seed.", "sg3tf.cli.generate.images"),
    "generate grid": Command("Draw many images in one picture.", "sg3tf.cli.generate.grid"),
    "generate mix": Command("Draw a sheet of style mixing.", "sg3tf.cli.generate.mix"),
    "generate interpolate": Command("Render a video through seeds.", "sg3tf.cli.generate.interpolate"),
    "generate layers": Command("Draw the feature maps of each layer.", "sg3tf.cli.generate.layers"),
    "generate sheet": Command("Draw classes side by side.", "sg3tf.cli.generate.sheet"),
    "project": Command("Search for the latents of a picture.", "sg3tf.cli.project"),
    "edit": Command("Draw images along directions in latent space.", "sg3tf.cli.edit"),
    "ema": Command("Build an average of any length (train --posthoc_ema).", "sg3tf.cli.ema"),
    "metrics": Command("Compute metrics of a network.", "sg3tf.cli.metrics"),
    "compare-runs": Command("Draw metrics of training runs.", "trainer.compare_runs", registered=True),
    "spectra calc": Command("Compute an average power spectrum.", "sg3tf.cli.spectra.calc"),
    "spectra compare": Command(
        "Compare spectra with the first of them.", "sg3tf.cli.spectra.compare", positional="FILE..."
    ),
    "spectra heatmap": Command("Draw spectra as heat maps.", "sg3tf.cli.spectra.heatmap", positional="FILE..."),
    "spectra slices": Command("Draw slices through spectra.", "sg3tf.cli.spectra.slices", positional="FILE..."),
    "texture-sticking": Command("Measure and draw details that stick to pixels.", "sg3tf.cli.texture_sticking"),
    "convert from-pickle": Command("Convert an official network pickle.", "sg3tf.convert.from_pickle"),
    "convert to-npz": Command("Write parameters for the official PyTorch code.", "sg3tf.convert.to_npz"),
    "convert to-state-dict": Command("Write a StyleGAN2 for other PyTorch code.", "sg3tf.convert.to_state_dict"),
    "export": Command("Export a network as a SavedModel, an ONNX or a LiteRT file.", "serving.export", registered=True),
    "upload": Command("Upload a network to a model hub.", "sg3tf.cli.upload"),
    "serve": Command("Serve an exported network.", "serving.server", registered=True),
    "explore": Command("Open a network in a web page.", "serving.explore", registered=True),
    "doctor": Command("Check the installation.", "sg3tf.doctor.command"),
}

GROUPS = {
    "data": "Data sets: build, verify.",
    "generate": "Images and videos: images, grid, mix, interpolate, layers, sheet.",
    "spectra": "Power spectra: calc, compare, heatmap, slices.",
    "convert": "Official checkpoints: from-pickle, to-npz, to-state-dict.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by the arguments, and return its exit status.

    Args:
        argv: arguments without the program's name; None for those of the process.
    """
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    words = list(sys.argv[1:] if argv is None else argv)
    program, name = "sg3tf", ""
    if words == ["--version"]:
        return command_line.exit_status(program, lambda: print(f"sg3tf {__version__}"))
    if len(words) > 1 and words[0] == "help":
        words = [*words[1:], "--help"]
    if words and words[0] in GROUPS:
        name = words.pop(0)
        program = f"sg3tf {name}"
    if not words or words[0] in ("--help", "-help", "-h", "help"):
        if not words:
            print(usage(name), file=sys.stderr)
            return 1
        return command_line.exit_status(program, lambda: print(usage(name)))
    name = f"{name} {words[0]}".strip()
    if name in COMMANDS:
        return run(name, words[1:])
    group = name.rpartition(" ")[0]
    known = {command.split()[-1]: command for command in COMMANDS if not group or command.startswith(f"{group} ")}
    if not group:
        known |= {first: first for first in GROUPS}
    nearest = difflib.get_close_matches(words[0], known, n=1)
    meant = known[nearest[0]].removeprefix(f"{group} ") if nearest else ""
    remedy = f"did you mean {meant}?" if meant else f"{program} --help lists the commands"
    print(f"{program}: unknown command {words[0]!r}; {remedy}", file=sys.stderr)
    return 1


def usage(group: str) -> str:
    """Return the list of commands of one group; "": of all."""
    if group:
        listed = {
            name.split()[1]: command.summary for name, command in COMMANDS.items() if name.startswith(f"{group} ")
        }
    else:
        listed = {}
        for name, command in COMMANDS.items():
            first = name.split()[0]
            listed[first] = GROUPS.get(first, command.summary)
    program = f"sg3tf {group}".strip()
    lines = [f"  {name:{max(map(len, listed))}}  {summary}" for name, summary in listed.items()]
    return "\n".join([f"usage: {program} COMMAND --flag=value ...", "", *lines, "", f"{program} COMMAND --help"])


def run(name: str, argv: Sequence[str]) -> int:
    """Run a command of COMMANDS and return its exit status."""
    command = COMMANDS[name]

    def load_and_run() -> int:
        if command.registered:
            return _registered(name)(argv, f"sg3tf {name}")
        module = importlib.import_module(command.module)
        return command_line.run(
            f"sg3tf {name}",
            module.main,
            module.define_flags,
            module.__doc__ or "",
            argv,
            positional=command.positional,
        )

    return command_line.exit_status(f"sg3tf {name}", load_and_run)


def _registered(name: str) -> Callable[[Sequence[str], str], int]:
    found = importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise ModuleNotFoundError(
            "this installation registers no such command; "
            f"pip install it again, or use python -m {COMMANDS[name].module}"
        )
    _require_own(COMMANDS[name].module.partition(".")[0])
    return next(iter(found)).load()


def _require_own(package: str) -> None:
    """Check that an unrelated package named `trainer` or `serving` does not hide the one installed with sg3tf.

    Raises:
        ImportError: an unrelated package would be imported.
    """
    own = Path(__file__).parents[2] / package
    spec = importlib.util.find_spec(package)
    places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
    if places and not any(Path(place).is_relative_to(own) for place in places):
        other = next(filter(None, reversed(places)))
        raise ImportError(f"{other} hides the package {package} of sg3tf: rename it, or take it out of PYTHONPATH")


if __name__ == "__main__":
    sys.exit(main())
