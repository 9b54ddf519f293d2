"""Write a trained generator as a SavedModel version that TensorFlow Serving can serve.

python -m serving.export --run=runs/00003-... --model_base_path=models/sg3
python -m serving.export --model=generator.keras --model_base_path=models/sg3
"""

from absl import app, flags, logging

import sg3tf
from serving.saved_model import export

_RUN = flags.DEFINE_string("run", None, "Run folder or checkpoint to export.")
_MODEL = flags.DEFINE_string("model", None, "Generator saved as .keras, instead of --run.")
_BASE = flags.DEFINE_string("model_base_path", None, "Folder of the versions 1, 2, ...")


def main(argv: list[str]) -> None:
    """Export one generator and print the version folder."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow lists every variable it captures
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: everything is a --flag")
    if not _BASE.value:
        raise app.UsageError("--model_base_path is missing: say where the versions go")
    if bool(_RUN.value) == bool(_MODEL.value):
        raise app.UsageError("give either --run (a run folder) or --model (a .keras file)")
    try:
        generator = sg3tf.load(_RUN.value or _MODEL.value)
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot load {_RUN.value or _MODEL.value}: {error}") from error
    print(export(generator, _BASE.value))


if __name__ == "__main__":
    app.run(main)
