"""Writes a data set of the project's own form: which image goes into which shard, the shards, the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sg3tf.data.build.conversion import BuildConfig, Converted
from sg3tf.data.build.sources import Source
from sg3tf.data.shards import ContentDigest, write_manifest
from sg3tf.data.tfrecord import record_writer


@dataclass
class Shard:
    """What was written: the images' digests (hexadecimal), and those skipped with the reason."""

    file: str
    digests: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def num_images(self) -> int:
        return len(self.digests)


def plan_shards(name: str, num_shards: int, total: int) -> list[tuple[str, range]]:
    """Cuts `total` images into shards of about equal size: file name and indices of each."""
    num_shards = min(num_shards, total)
    starts = [shard * total // num_shards for shard in range(num_shards + 1)]
    return [
        (f"{name}-{shard:05d}-of-{num_shards:05d}.tfrecords", range(starts[shard], starts[shard + 1]))
        for shard in range(num_shards)
    ]


def write_shard(path: Path, images: Iterable[Converted]) -> Shard:
    """Writes the images that have no problem to `path`, which appears whole or not at all."""
    shard = Shard(path.name)
    with record_writer(path) as write:
        for image in images:
            if image.problem:
                shard.skipped.append((image.name, image.problem))
            else:
                write(image.payloads[0])
                shard.digests.append(image.digest.hex())
    return shard


def finish(folder: Path, name: str, recipe: BuildConfig, source: Source, shards: list[Shard]) -> int:
    """Writes the manifest that makes the shards in `folder` a data set; returns how many images it has."""
    num_images = sum(shard.num_images for shard in shards)
    write_manifest(
        folder,
        {
            "name": name,
            "resolution": recipe.resolution,
            "channels": recipe.channels,
            "num_images": num_images,
            "num_skipped": sum(len(shard.skipped) for shard in shards),
            "label": {**asdict(source.label), "classes": source.classes},
            "crop": recipe.crop,
            "aspect": list(recipe.aspect) if recipe.crop == "wide" else None,
            "resize_filter": recipe.resize,
            "digest": _digest(shards),
            "shards": [{"file": s.file, "num_images": s.num_images, "digest": _digest([s])} for s in shards],
        },
    )
    return num_images


def _digest(shards: list[Shard]) -> str:
    digest = ContentDigest()
    for shard in shards:
        for one in shard.digests:
            digest.add(bytes.fromhex(one))
    return str(digest)
