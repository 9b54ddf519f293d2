"""Load the discriminator that was trained against a generator, from a file next to it or a checkpoint of its run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from sg3tf.models import hub
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.loading import discriminator_beside, generator_file, load_model
from sg3tf.models.presets import discriminator_of_options
from sg3tf.models.run_folder import CHECKPOINTS, OPTIONS, run_of, trained_nimg
from sg3tf.utils.checksums import verify_checksums
from sg3tf.utils.files import literal_folder


def discriminator_of(network: str | os.PathLike[str]) -> Discriminator:
    """Load the discriminator that was trained against the generator at `network`; see `find_discriminator`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file or the checkpoint cannot be read.
    """
    return load_discriminator(find_discriminator(network))


def find_discriminator(network: str | os.PathLike[str]) -> Path:
    """Return the .keras file or the checkpoint folder with the discriminator that was trained against a generator.

    Args:
        network: .keras file, checkpoint folder, run folder or address, as for `sg3tf.load`. For NAME.keras, the
            discriminator is the one that `existing_discriminator_beside` finds. If there is none and the generator is
            in a run folder, it is in the newest checkpoint that is not later than the generator; if that one is
            earlier, a line on stderr says so.

    Raises:
        FileNotFoundError: there is none.
    """
    file = generator_file(hub.fetch(str(network), discriminator=True) if hub.is_address(network) else Path(network))
    if (existing := existing_discriminator_beside(file)) is not None:
        return existing
    beside = discriminator_beside(file)
    nimg = trained_nimg(file)
    run = run_of(file.resolve())
    if run is None or nimg is None:
        raise FileNotFoundError(f"{beside} does not exist; put the discriminator there")
    checkpoints = [index.parent for index in run.glob(f"{CHECKPOINTS}/*/state.index") if index.parent.name.isdecimal()]
    found = {int(folder.name): folder for folder in checkpoints}
    if not (earlier := [count for count in found if count <= nimg]):
        raise FileNotFoundError(
            f"{beside} does not exist, and no checkpoint in {run} is of {nimg / 1000:g} kimg or before; name one of "
            f"its {len(found)} checkpoints as the network"
        )
    if (newest := max(earlier)) < nimg:
        print(f"{run}: discriminator after {newest / 1000:g} kimg, {found[newest].relative_to(run)}", file=sys.stderr)
    return found[newest]


def existing_discriminator_beside(file: Path) -> Path | None:
    """Return the discriminator next to NAME.keras, or next to its target if it is a link; None if missing.

    It is NAME-discriminator.keras, or D.keras next to G_ema.keras or G.keras, which `sg3tf convert from-pickle` writes.
    """
    for generator in (file, file.resolve()):
        converted = [generator.with_name("D.keras")] if generator.name in ("G_ema.keras", "G.keras") else []
        for candidate in (discriminator_beside(generator), *converted):
            if os.path.isfile(candidate):  # also False if the name is too long
                return candidate
    return None


def load_discriminator(path: Path) -> Discriminator:
    """Load the discriminator from the result of `find_discriminator`.

    Raises:
        ValueError: the file or the checkpoint cannot be read.
    """
    if path.is_dir():
        return _of_checkpoint(path, path.parents[1] / OPTIONS)
    return load_model(path, Discriminator)


def _of_checkpoint(folder: Path, options_file: Path) -> Discriminator:
    import tensorflow as tf

    try:
        options = json.loads(options_file.read_text(encoding="utf-8"))
        config = discriminator_of_options(options)
        if problem := verify_checksums(folder):
            raise ValueError(problem)
        D = Discriminator(config, dtype="float32")
        with literal_folder(folder) as literal:
            read = tf.train.Checkpoint(D=[variable.value for variable in D.variables]).read(str(literal / "state"))
        read.assert_existing_objects_matched().expect_partial()
    except (OSError, ValueError, TypeError, LookupError, AssertionError, tf.errors.OpError) as error:
        raise ValueError(f"{folder}: the discriminator cannot be read ({error})") from error
    return D
