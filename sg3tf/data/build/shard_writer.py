"""Sharded data sets: distribution of the images over shards, the shards, the manifest."""

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
    """Report of a shard that was written.

    Attributes:
      file: name of the file.
      digests: of its images, in hexadecimal digits.
      skipped: (name, reason) of the images that could not be used.
    """

    file: str
    digests: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def num_images(self) -> int:
        return len(self.digests)


def plan_shards(name: str, num_shards: int, total: int) -> list[tuple[str, range]]:
    """Distribute `total` images over shards of about equal size; return file name and indices of each."""
    num_shards = min(num_shards, total)
    starts = [shard * total // num_shards for shard in range(num_shards + 1)]
    return [
        (f"{name}-{shard:05d}-of-{num_shards:05d}.tfrecords", range(starts[shard], starts[shard + 1]))
        for shard in range(num_shards)
    ]


def write_shard(path: Path, images: Iterable[Converted]) -> Shard:
    """Write the images that could be converted to `path`, atomically."""
    shard = Shard(path.name)
    with record_writer(path) as write:
        for image in images:
            if image.error:
                shard.skipped.append((image.name, image.error))
            else:
                write(image.payloads[0])
                shard.digests.append(image.digest.hex())
    return shard


def write_build_manifest(folder: Path, name: str, config: BuildConfig, source: Source, shards: list[Shard]) -> int:
    """Write the manifest of the shards in `folder`; return the number of images."""
    num_images = sum(shard.num_images for shard in shards)
    write_manifest(
        folder,
        {
            "name": name,
            "resolution": config.resolution,
            "channels": config.channels,
            "num_images": num_images,
            "num_skipped": sum(len(shard.skipped) for shard in shards),
            "label": {**asdict(source.label), "classes": source.classes},
            "crop": config.crop,
            "aspect": list(config.aspect) if config.crop == "wide" else None,
            "resize_filter": config.resize,
            "digest": _digest(shards),
            "shards": [{"file": s.file, "num_images": s.num_images, "digest": _digest([s])} for s in shards],
        },
    )
    return num_images


def _digest(shards: list[Shard]) -> str:
    digest = ContentDigest()
    for shard in shards:
        for image_digest in shard.digests:
            digest.add(bytes.fromhex(image_digest))
    return str(digest)
