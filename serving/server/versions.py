"""Which version folders there are, and which of them a policy wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """The newest `latest` versions, or the `specific` ones, or all where neither is given."""

    latest: int = 0
    specific: frozenset[int] = frozenset()

    def choose(self, present: Iterable[int]) -> list[int]:
        """The versions to serve of those that are there, oldest first."""
        numbers = sorted(present)
        if self.specific:
            return [number for number in numbers if number in self.specific]
        return numbers[-self.latest :]


def parse_policy(text: str) -> VersionPolicy:
    """`latest`, `all` or `specific:1,3`.

    Raises:
      ValueError: anything else.
    """
    if text == "latest":
        return VersionPolicy(latest=1)
    if text == "all":
        return VersionPolicy()
    kind, _, numbers = text.partition(":")
    versions = numbers.split(",")
    if kind != "specific" or not all(version.isdecimal() for version in versions):
        raise ValueError(f"--model_version_policy={text}; it must be latest, all or specific:1,3")
    return VersionPolicy(specific=frozenset(map(int, versions)))


def policy_of(config: source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy) -> VersionPolicy:
    """The policy in TensorFlow Serving's configuration; the newest version where it names none."""
    if config.HasField("all"):
        return VersionPolicy()
    if config.HasField("specific"):
        return VersionPolicy(specific=frozenset(config.specific.versions))
    return VersionPolicy(latest=max(config.latest.num_versions, 1))


def version_folders(base: Path) -> dict[int, Path]:
    """Number -> folder, of the complete versions under `base`; links that lead out of it do not count.

    Raises:
      OSError: the folder cannot be read.
    """
    root = base.resolve()
    folders = {}
    for entry in base.iterdir():
        if entry.name.isdecimal() and (entry / "saved_model.pb").is_file() and entry.resolve().is_relative_to(root):
            folders[int(entry.name)] = entry
    return folders
