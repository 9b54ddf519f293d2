"""Write a trained generator as a SavedModel version that TensorFlow Serving can serve.

python -m serving.export --run=runs/00003-... --model_base_path=models/sg3
python -m serving.export --model=generator.keras --model_base_path=models/sg3 --precision=bf16
"""

import os
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import sg3tf
from serving.saved_model import EXPORT_PRECISIONS, export_saved_model, in_precision, of_weights
from serving.validate import ValidationError

_RUN = flags.DEFINE_string("run", None, "Run folder or checkpoint to export.")
_MODEL = flags.DEFINE_string("model", None, "Generator saved as .keras, instead of --run.")
_BASE = flags.DEFINE_string("model_base_path", None, "Folder of the versions 1, 2, ...")
_PRECISION = flags.DEFINE_enum("precision", "fp32", EXPORT_PRECISIONS, "What the highest resolutions compute in.")
_MAX_BATCH = flags.DEFINE_integer("max_batch", None, "Refuse requests for more images; default: any number.")
_XLA = flags.DEFINE_bool("xla", False, "Have the server compile the synthesis, anew for every batch size.")
_WARMUP = flags.DEFINE_list("warmup_batch_sizes", ["1"], "Numbers of images to warm up for, such as 1,2,4,8.")
_LICENCE = flags.DEFINE_string("licence", "unspecified", "Of the weights, for the metadata.")


def main(argv: list[str]) -> None:
    """Export one generator and print the version folder."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow lists every variable it captures
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    if not _BASE.value:
        raise app.UsageError("--model_base_path is missing: say where the versions go")
    if bool(_RUN.value) == bool(_MODEL.value):
        raise app.UsageError("give either --run (a run folder) or --model (a .keras file)")
    source = Path(_RUN.value or _MODEL.value)
    try:
        generator = sg3tf.load(source)
        described = of_weights(source)
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot load {source}: {error}") from error
    described |= {"precision": _PRECISION.value, "licence": _LICENCE.value}
    try:
        version = export_saved_model(
            in_precision(generator, _PRECISION.value),
            _BASE.value,
            max_batch=_MAX_BATCH.value,
            xla=_XLA.value,
            warmup_batch_sizes=_warmup_batch_sizes(),
            described=described,
        )
    except (OSError, ValueError, ValidationError) as error:
        raise SystemExit(f"not exported: {error}") from error
    print(version)


def _warmup_batch_sizes() -> list[int]:
    if not all(size.isdecimal() for size in _WARMUP.value):
        raise app.UsageError(f"--warmup_batch_sizes={','.join(_WARMUP.value)}: give numbers, such as 1,2,4,8")
    return [int(size) for size in _WARMUP.value]


if __name__ == "__main__":
    app.run(main)
