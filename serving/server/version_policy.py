"""Choice of the versions of the model that are served."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """The newest `latest` versions, or the `specific` ones, or all if neither is given.

    Examples:
        >>> VersionPolicy(latest=1).choose([1, 2, 10])
        [10]
    """

    latest: int = 0
    specific: frozenset[int] = frozenset()

    def choose(self, present: Iterable[int]) -> list[int]:
        """Return the versions to serve among those present, oldest first."""
        numbers = sorted(present)
        if self.specific:
            return [number for number in numbers if number in self.specific]
        return numbers[-self.latest :]


def parse_policy(text: str) -> VersionPolicy:
    """Parse `latest`, `all` or `specific:1,3`.

    Raises:
        ValueError: the form is wrong.
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


def policy_from_config(config: source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy) -> VersionPolicy:
    """Return the policy of a TensorFlow Serving configuration; by default the newest version."""
    if config.HasField("all"):
        return VersionPolicy()
    if config.HasField("specific"):
        return VersionPolicy(specific=frozenset(config.specific.versions))
    return VersionPolicy(latest=max(config.latest.num_versions, 1))
