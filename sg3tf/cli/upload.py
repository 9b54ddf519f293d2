"""Upload a generator with a model card to a repository on the Hugging Face Hub.

sg3tf upload --network=runs/00003-... --repo=USER/NAME --license=cc-by-4.0
sg3tf upload --network=generator.keras --repo=USER/NAME --license=cc0-1.0 --out=folder

The repository is created if it does not exist. It holds generator.keras, README.md (the card), provenance.json,
samples.png, and class names or the label scale. With --discriminator, it also holds NAME-discriminator.keras of a
NAME.keras, or the discriminator of a run, as generator-discriminator.keras. With --out, the files are only written.
The token is the one that huggingface_hub finds, from `hf auth login` or HF_TOKEN.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from sg3tf.models import hub
from sg3tf.utils import extras
from sg3tf.utils import flags as shared
from sg3tf.utils.class_names import is_number
from sg3tf.utils.error_text import first_line
from sg3tf.utils.files import atomic_directory, scratch_folder

_SAMPLES = 16
_PSI = 0.7


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    shared.define_network(options)
    flags.DEFINE_string("repo", None, "Repository: USER/NAME.", required=True, flag_values=options)
    flags.DEFINE_string(
        "license",
        None,
        "License identifier of the weights, as used by the hub: cc-by-4.0, cc0-1.0, other.",
        required=True,
        flag_values=options,
    )
    flags.DEFINE_string("intended_use", "", "A sentence for the model card.", flag_values=options)
    flags.DEFINE_bool(
        "discriminator",
        False,
        "Also upload the discriminator, for --init_from: NAME-discriminator.keras next to NAME.keras, or a run's.",
        flag_values=options,
    )
    flags.DEFINE_bool("private", False, "Make a new repository private.", flag_values=options)
    flags.DEFINE_string("out", None, "Folder to write instead of uploading.", flag_values=options)


def main(options: flags.FlagValues) -> None:
    """Write the files, upload them, and print the address of the network."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repo):
        raise ValueError(f"--repo={options.repo}: give USER/NAME")
    with contextlib.ExitStack() as stack:
        if options.out:
            folder = stack.enter_context(atomic_directory(Path(options.out)))
        else:
            client: Any = extras.require("huggingface_hub", extra="hub", purpose="sg3tf upload")
            folder = stack.enter_context(scratch_folder())
        write_repository(folder, options)
        if not options.out:
            print(_upload(client, folder, options))
    if options.out:
        print(options.out)


def write_repository(folder: Path, options: Any) -> None:
    """Write the files of a repository into `folder`; `options` are those of the command."""
    from sg3tf.images import grid, save_png
    from sg3tf.models.loading import discriminator_beside, load, resolve_network, write_label_files
    from sg3tf.models.model_card import model_card
    from sg3tf.models.provenance import PROVENANCE, training_metrics, training_provenance

    network = resolve_network(options.network)  # resolve once, because a run may still be training
    D = _discriminator(network) if options.discriminator else None
    G = load(network)
    provenance = training_provenance(network, G.config.label_dim)
    known = {} if hub.is_address(network) else training_metrics(Path(network))
    G.save(folder / hub.GENERATOR)
    if D:
        D.save(discriminator_beside(folder / hub.GENERATOR))
    (folder / PROVENANCE).write_text(json.dumps(provenance.to_json(), indent=2) + "\n", encoding="utf-8")
    write_label_files(folder, provenance.classes, provenance.label_scale)
    samples = _samples(G, provenance.classes, is_standardized=provenance.label_scale is not None)
    save_png(folder / "samples.png", grid(np.stack(list(samples))))
    card = model_card(
        G,
        options.repo,
        license=options.license,
        intended_use=options.intended_use,
        provenance=provenance,
        metrics=known,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _discriminator(network: str) -> Any:
    from sg3tf.models.discriminator_loading import discriminator_of

    try:
        return discriminator_of(network)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--discriminator: {error}, or leave the flag out") from error


def _samples(G: Any, classes: Sequence[str], is_standardized: bool) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Yield images of seeds 0, 1, ..., with the labels named on the card."""
    from sg3tf.images import to_uint8
    from sg3tf.latents import z_from_seeds

    dim = G.config.label_dim
    for seed in range(_SAMPLES):
        inputs = {"z": z_from_seeds([seed], G.config.z_dim)}
        if dim:
            one_hot = np.eye(dim, dtype=np.float32)[[seed % dim]]
            inputs["label"] = np.zeros_like(one_hot) if is_standardized or is_number(classes, dim) else one_hot
        yield to_uint8(G(inputs, truncation_psi=_PSI))[0]


def _upload(client: Any, folder: Path, options: Any) -> str:
    from sg3tf.models.loading import CLASSES, LABEL_SCALE, discriminator_beside

    address = f"hf://{options.repo}"
    try:
        api = client.HfApi()
        api.create_repo(options.repo, private=options.private or None, exist_ok=True)
        commit = api.upload_folder(
            repo_id=options.repo,
            folder_path=folder,
            commit_message="Upload by sg3tf",
            # From a previously uploaded network.
            delete_patterns=[discriminator_beside(Path(hub.GENERATOR)).name, CLASSES, LABEL_SCALE],
        )
    except Exception as error:  # the hub and its HTTP client raise several types
        raise OSError(f"{address}: cannot be uploaded ({first_line(error)})") from error
    return f"{address}@{commit.oid}"
