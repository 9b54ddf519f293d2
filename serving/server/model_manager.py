"""Versions of the served model: version folders, the version policy, loading and unloading."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2

from serving.server.errors import RequestError, not_found
from serving.server.model import ServedModel

_logger = logging.getLogger(__name__)


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
        ValueError: another form.
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


def version_folders(base: Path) -> dict[int, Path]:
    """Return the complete versions under `base`, folder by number, without links to other places.

    Raises:
        OSError: the folder cannot be read.
    """
    root = base.resolve()
    folders = {}
    for entry in base.iterdir():
        if entry.name.isdecimal() and (entry / "saved_model.pb").is_file() and entry.resolve().is_relative_to(root):
            folders[int(entry.name)] = entry
    return folders


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """Status of a version; `state` is one of TensorFlow Serving's names."""

    version: int
    state: str
    error: str = ""


class ModelManager:
    """The loaded versions of one model.

    A request keeps the version that it has found, so that a version can be replaced while requests run.

    Args:
        name: the model's name in requests.
        base: folder with the version folders 1, 2, ...; nothing outside of it is read.
        policy: selects the versions to serve.
        load: loads a version folder and warms the model up.

    Raises:
        OSError: there is no version to serve, or none can be loaded.
    """

    def __init__(self, name: str, base: Path, policy: VersionPolicy, load: Callable[[Path], ServedModel]):
        self.name, self.base = name, base
        self._policy, self._load = policy, load
        self._models: dict[int, ServedModel] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._refreshing = threading.Lock()
        if not base.is_dir():
            raise OSError(f"--model_base_path={base} is not a folder; write one with serving.export")
        self.refresh()
        if not self._models:
            raise OSError(self._nothing_loaded())

    def refresh(self, policy: VersionPolicy | None = None) -> None:
        """Load the versions that the policy selects, then unload the others.

        Old versions stay until all selected ones are loaded, and as long as the folder has none of those. A version
        that cannot be loaded is tried again at the next refresh.

        Raises:
            OSError: the folder cannot be read.
        """
        with self._refreshing:
            self._policy = policy or self._policy
            folders = version_folders(self.base)
            selected = self._policy.choose(folders)
            for number in selected:
                if number not in self._models:
                    self._try_to_load(number, folders[number])
            if selected and all(number in self._models for number in selected):
                self._unload_all_but(selected)

    def find(self, name: str, version: int | None) -> ServedModel:
        """Return a version, or the newest one if `version` is None.

        Raises:
            RequestError: NOT_FOUND, for an unknown name or version.
        """
        self._check_name(name)
        models = self._models
        number = max(models) if version is None else version
        if number not in models:
            raise self._no_such_version(name, number)
        return models[number]

    def statuses(self, name: str, version: int | None) -> list[VersionStatus]:
        """Return the status of all versions, oldest first, or of `version` alone.

        Raises:
            RequestError: NOT_FOUND, for an unknown name or version.
        """
        self._check_name(name)
        statuses = self._statuses
        if version is None:
            return [statuses[number] for number in sorted(statuses)]
        if version not in statuses:
            raise self._no_such_version(name, version)
        return [statuses[version]]

    def _try_to_load(self, number: int, folder: Path) -> None:
        before = self._statuses.get(number)
        self._set_status(VersionStatus(number, "LOADING"))
        try:
            model = self._load(folder)
        except Exception as error:
            # An error in a new version must not stop those that work.
            status = VersionStatus(number, "END", f"{folder} cannot be loaded: {error}")
            if status != before:
                _logger.warning("%s", status.error)
            self._set_status(status)
            return
        # Readers take no lock, so a change replaces the dictionary instead of modifying it.
        self._models = self._models | {number: model}
        self._set_status(VersionStatus(number, "AVAILABLE"))

    def _unload_all_but(self, selected: list[int]) -> None:
        ended = set(self._models) - set(selected)
        self._models = {number: model for number, model in self._models.items() if number in selected}
        for number in ended:
            self._set_status(VersionStatus(number, "END"))

    def _set_status(self, status: VersionStatus) -> None:
        self._statuses = self._statuses | {status.version: status}

    def _check_name(self, name: str) -> None:
        if name != self.name:
            message = f"Servable not found for request: Latest({name})"
            raise not_found(f"{message}; this server has the model {self.name!r}")

    def _no_such_version(self, name: str, version: int) -> RequestError:
        known = ", ".join(str(number) for number in sorted(self._models))
        message = f"Servable not found for request: Specific({name}, {version})"
        return not_found(f"{message}; the versions served are {known}")

    def _nothing_loaded(self) -> str:
        errors = [status.error for status in self._statuses.values() if status.error]
        if errors:
            return "; ".join(errors)
        if self._policy.specific:
            selected = ", ".join(map(str, sorted(self._policy.specific)))
            return f"--model_base_path={self.base} has none of the versions {selected}"
        return f"--model_base_path={self.base} has no version folder; write one with serving.export"


class Watcher:
    """A thread that refreshes a ModelManager periodically until `stop`."""

    def __init__(self, models: ModelManager, seconds: float):
        self._models, self._seconds = models, seconds
        self._stopped = threading.Event()
        # A daemon thread, so that a long load does not delay the exit of the process.
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._models.refresh()
            except OSError as error:
                _logger.warning("--model_base_path cannot be read: %s", error)
