"""One image of a source becomes records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from trainer.data.ffhq import encode_levels
from trainer.data.images import to_square
from trainer.data.labels import Label, LabelSpec
from trainer.data.recipe import Recipe
from trainer.data.shards import ContentDigest, encode_record


@dataclass(frozen=True)
class Converted:
    """One image: `payloads` are its records, or else `problem` says what is wrong with it."""

    name: str
    label: Label
    payloads: list[bytes]
    digest: bytes = b""
    problem: str = ""


def convert(recipe: Recipe, read: Callable[[str], Image.Image], spec: LabelSpec, entry: tuple[str, Label]) -> Converted:
    """Makes the records of one image; runs in a worker process."""
    name, label = entry
    try:
        image = to_square(read(name), recipe)
    except Exception as error:  # Pillow raises many kinds for damaged files
        return Converted(name, label, [], problem=f"{error}" or type(error).__name__)
    payloads = encode_levels(image) if recipe.format == "ffhq" else [encode_record(image, label)]
    return Converted(name, label, payloads, ContentDigest.of(image, spec.row(label, name)))
