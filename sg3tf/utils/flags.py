"""Flags shared by several programs, each declared once, so that name and format are the same everywhere."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from sg3tf.utils.resolution import Resolution, Size, to_resolution

#: Help of --data.
DATA = (
    "Images: a folder or zip file, with --resolution; a folder written by sg3tf data build; or TFRecords in FFHQ's "
    "layout."
)
#: What --network may be.
NETWORK = (
    ".keras file, run folder, checkpoint folder, example network such as portraits-32, or hf:// or https:// address"
)


def define_network(
    options: flags.FlagValues,
    help: str = f"Generator: {NETWORK}.",
    required: bool = True,
) -> None:
    """Define --network."""
    flags.DEFINE_string("network", None, help, required=required, flag_values=options)


def define_out(options: flags.FlagValues, help: str, required: bool = True) -> None:
    """Define --out, the output file."""
    flags.DEFINE_string("out", None, help, required=required, flag_values=options)


def define_outdir(options: flags.FlagValues, help: str) -> None:
    """Define --outdir, the output folder; required."""
    flags.DEFINE_string("outdir", None, help, required=True, flag_values=options)


def define_num_samples(
    options: flags.FlagValues, default: int | None, help: str, lower_bound: int | None = None
) -> None:
    """Define --num_samples."""
    flags.DEFINE_integer("num_samples", default, help, lower_bound=lower_bound, flag_values=options)


def define_batch(options: flags.FlagValues, default: int | None, help: str) -> None:
    """Define --batch."""
    flags.DEFINE_integer("batch", default, help, lower_bound=1, flag_values=options)


def define_seed(options: flags.FlagValues, help: str) -> None:
    """Define --seed, for random numbers."""
    flags.DEFINE_integer("seed", 0, help, lower_bound=0, upper_bound=2**64 - 1, flag_values=options)


class _ResolutionParser(flags.ArgumentParser):
    """Parser of 256 and 512x256."""

    syntactic_help = "side of squares, or width x height"

    def parse(self, argument: int | str | Size) -> Resolution:
        return to_resolution(argument)

    def flag_type(self) -> str:
        return "resolution"


def define_resolution(options: flags.FlagValues, help: str) -> None:
    """Define --resolution."""
    flags.DEFINE(_ResolutionParser(), "resolution", None, help, flag_values=options)


def define_data(options: flags.FlagValues, help: str = DATA) -> None:
    """Define --data."""
    flags.DEFINE_string("data", None, help, flag_values=options)


def define_detector_dir(options: flags.FlagValues, help: str) -> None:
    """Define --detector_dir."""
    flags.DEFINE_string("detector_dir", None, help, flag_values=options)


def check_out(text: str, suffix: str) -> Path:
    """Return the path that --out names.

    Raises:
        ValueError: its name does not end in `suffix`, or its folder does not exist.
    """
    out = Path(text)
    if out.suffix != suffix:
        raise ValueError(f"out={out}: give a name that ends in {suffix}")
    if not out.parent.is_dir():
        raise ValueError(f"out={out}: there is no folder {out.parent}; make it")
    return out
