"""Write sharded data sets: distribute images over shards, write shards and the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sg3tf.data.build.report import Report, Tally, add
from sg3tf.data.conversion import BuildConfig, Converted
from sg3tf.data.record_index import write_index
from sg3tf.data.shards import LABELS, ContentDigest, write_labels, write_manifest
from sg3tf.data.tfrecord import FRAME, record_writer
from sg3tf.utils.checksums import digest_file


@dataclass
class Shard:
    """Report on a written shard.

    Attributes:
        file: file name.
        digests: digests of its images, in hexadecimal.
        sizes: bytes of its records, including their framing.
        skipped: {name: reason} of the images that could not be used.
        notes: notes about the images.
    """

    file: str
    digests: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: Tally = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        return len(self.digests)


def plan_shards(name: str, num_shards: int, total: int) -> list[tuple[str, range]]:
    """Distribute `total` images over shards of about equal size; return the file name and indices of each."""
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
                shard.skipped[image.name] = image.error
            else:
                for note in image.notes:
                    add(shard.notes, note, image.name)
                write(image.payloads[0])
                shard.sizes.append(len(image.payloads[0]) + FRAME)
                shard.digests.append(image.digest.hex())
    return shard


def write_build_manifest(folder: Path, name: str, config: BuildConfig, report: Report, shards: list[Shard]) -> None:
    """Write the manifest, the index and the labels of the shards in `folder`."""
    source = report.source
    write_index(folder, [size for shard in shards for size in shard.sizes])
    label = {**asdict(source.label), "classes": source.classes, "counts": list(report.classes().values())}
    if source.label.dim:
        write_labels(folder, [label for name, label in source.entries if name not in report.skipped], source.label)
        label["sha256"] = digest_file(folder / LABELS)
    if source.scale:
        label |= source.scale.to_json()
    write_manifest(
        folder,
        {
            "name": name,
            "resolution": config.resolution,
            "channels": config.channels,
            "num_images": report.num_images,
            "num_skipped": report.num_skipped,
            "label": label,
            "crop": config.crop,
            "aspect": list(config.aspect) if config.crop == "wide" else None,
            "resize_filter": config.resize,
            "encoding": str(config.encoding),
            "digest": _digest(shards),
            "shards": [{"file": s.file, "num_images": s.num_images, "digest": _digest([s])} for s in shards],
        },
    )


def _digest(shards: list[Shard]) -> str:
    digest = ContentDigest()
    for shard in shards:
        for image_digest in shard.digests:
            digest.add(bytes.fromhex(image_digest))
    return str(digest)
