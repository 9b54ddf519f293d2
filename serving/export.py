"""Export a trained generator as a SavedModel version that TensorFlow Serving can serve, or as an ONNX or LiteRT file.

sg3tf export --network=runs/00003-... --model_base_path=models/sg3
sg3tf export --network=generator.keras --model_base_path=models/sg3 --precision=bf16
sg3tf export --network=generator.keras --format=onnx --out=generator.onnx
sg3tf export --network=generator.keras --format=litert --out=generator.tflite
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags, logging

from serving import EXPORT_PRECISIONS, FILE_INPUTS, ONNX_WEIGHTS
from sg3tf.utils import command_line
from sg3tf.utils.flags import NETWORK, define_network

FORMATS = ("saved_model", "onnx", "litert")
#: Formats that support a flag, for flags that not all formats support.
_FORMATS_OF = {
    "model_base_path": ("saved_model",),
    "precision": ("saved_model",),
    "max_batch": ("saved_model",),
    "xla": ("saved_model",),
    "warmup_batch_sizes": ("saved_model",),
    "out": ("onnx", "litert"),
    "inputs": ("onnx", "litert"),
    "weights": ("onnx",),
}


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags of this command in `values`."""
    define_network(values, f"Generator to export: {NETWORK}.", required=False)
    flags.DEFINE_enum(
        "format",
        "saved_model",
        FORMATS,
        "saved_model: version folder for TensorFlow Serving; onnx: file for ONNX Runtime, OpenVINO and others; "
        "litert: file for LiteRT (TensorFlow Lite).",
        flag_values=values,
    )
    flags.DEFINE_string("model_base_path", None, "Folder of the model's versions 1, 2, ...", flag_values=values)
    flags.DEFINE_string(
        "out", None, "With --format=onnx or litert: the file to write, NAME.onnx or NAME.tflite.", flag_values=values
    )
    flags.DEFINE_enum(
        "inputs",
        "z",
        FILE_INPUTS,
        "With --format=onnx or litert: z for the whole generator, from latents; ws for the synthesis alone, from style "
        "vectors.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "weights",
        "fp32",
        ONNX_WEIGHTS,
        "With --format=onnx: storage of the weights. fp16 halves the file, and images differ by up to two of 255 "
        "levels.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision", "fp32", EXPORT_PRECISIONS, "Precision of the four highest resolutions.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_batch",
        None,
        "Maximum number of images per request; default: no limit.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "xla", False, "Have the server compile the synthesis with XLA, once for every batch size.", flag_values=values
    )
    flags.DEFINE_list(
        "warmup_batch_sizes", ["1"], "Batch sizes that a server warms up for, such as 1,2,4,8.", flag_values=values
    )
    flags.DEFINE_string(
        "license", "unspecified", "License of the weights, recorded in the metadata.", flag_values=values
    )


def main(argv: Sequence[str] | None = None, name: str = "serving.export") -> int:
    """Run the command `name` with the arguments `argv`, by default those of the process; return the exit status."""
    return command_line.run(name, export, define_flags, __doc__ or "", argv)


def export(options: flags.FlagValues) -> None:
    """Export one generator and print its version folder or file."""
    if not options.network:
        raise ValueError("--network is missing: give a .keras file, run folder or checkpoint folder")
    for name, formats in _FORMATS_OF.items():
        if options.format not in formats and options[name].value != options[name].default:
            fitting = " or ".join(formats)
            raise ValueError(f"--{name} is for --format={fitting}, not for --format={options.format}: leave it out")
    logging.set_verbosity(logging.WARNING)  # TensorFlow lists every variable that it captures
    write = _writer(options)
    from sg3tf.models.loading import load, resolve_network
    from sg3tf.models.provenance import training_provenance

    network = resolve_network(options.network)  # a run may be in training
    generator = load(network)
    provenance = training_provenance(network, generator.config.label_dim)
    print(write(generator, license=options.license, metadata=provenance.to_json()))


def _writer(options: flags.FlagValues) -> Callable[..., Path]:
    """Return the export function of --format with the flags of this format, which are checked first."""
    # Imports are here, so that --help and errors in flags do not load TensorFlow, and a missing extra is a one-line
    # error.
    if options.format == "saved_model":
        if not options.model_base_path:
            raise ValueError("--model_base_path is missing: give the folder for the new version")
        sizes = options.warmup_batch_sizes
        if not all(size.isdecimal() for size in sizes):
            raise ValueError(f"--warmup_batch_sizes={','.join(sizes)}: give numbers, such as 1,2,4,8")
        from serving.saved_model import export_saved_model

        return functools.partial(
            export_saved_model,
            model_base_path=options.model_base_path,
            precision=options.precision,
            max_batch=options.max_batch,
            xla=options.xla,
            warmup_batch_sizes=[int(size) for size in sizes],
        )
    if not options.out:
        suffix = "onnx" if options.format == "onnx" else "tflite"
        raise ValueError(f"--out is missing: give the file to write, NAME.{suffix}")
    if options.format == "onnx":
        from serving.onnx_export import export_onnx

        return functools.partial(export_onnx, out=options.out, inputs=options.inputs, weights=options.weights)
    from serving.litert_export import export_litert

    return functools.partial(export_litert, out=options.out, inputs=options.inputs)


if __name__ == "__main__":
    sys.exit(main())
