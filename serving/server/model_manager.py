"""Models and their versions: what is served, and what is loaded and unloaded when folders change."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2

from serving.server.errors import RequestError, not_found
from serving.server.model import ServedModel

# ---------------------------------------------------------------------------------------------------------------------
# Which version folders there are, and which of them a policy wants.
# ---------------------------------------------------------------------------------------------------------------------


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


# ---------------------------------------------------------------------------------------------------------------------
# Which model versions are being served: names and numbers to loaded models, kept in step with the folder.
# ---------------------------------------------------------------------------------------------------------------------

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """How far a version is: `state` is TensorFlow Serving's word for it."""

    version: int
    state: str
    error: str = ""


class ModelManager:
    """The versions of one named model.

    A request keeps the model that it found, so that a version may be replaced while it is at work.

    Args:
      name: the model's name in requests.
      base: folder with the version folders 1, 2, ...; nothing outside of it is ever read.
      policy: which of them to serve.
      load: version folder to model, ready for requests.

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
        """Load what the policy wants and the folder has, then let go of the rest.

        New versions come before old ones go. Where the folder has nothing that is wanted, what is loaded stays: better
        an old version than none. A version that cannot be loaded is tried again the next time.

        Raises:
          OSError: the folder cannot be read.
        """
        with self._refreshing:
            self._policy = policy or self._policy
            folders = version_folders(self.base)
            wanted = self._policy.choose(folders)
            for number in wanted:
                if number not in self._models:
                    self._try_to_load(number, folders[number])
            # After a failure the older ones stay as well: "latest" must not leave the service without a model.
            if wanted and all(number in self._models for number in wanted):
                self._keep_only(wanted)

    def find(self, name: str, version: int | None) -> ServedModel:
        """The version asked for, or the newest one where `version` is None.

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
        """How far all versions are, oldest first, or only the one asked for.

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
            # Whatever is wrong with a new version, those that work must go on.
            status = VersionStatus(number, "END", f"{folder} cannot be loaded: {error}")
            if status != before:
                _logger.warning("%s", status.error)
            self._set_status(status)
            return
        # Readers take the dictionaries as they are, without a lock: each change is a new one.
        self._models = self._models | {number: model}
        self._set_status(VersionStatus(number, "AVAILABLE"))

    def _keep_only(self, wanted: list[int]) -> None:
        ended = set(self._models) - set(wanted)
        self._models = {number: model for number, model in self._models.items() if number in wanted}
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
            wanted = ", ".join(map(str, sorted(self._policy.specific)))
            return f"--model_base_path={self.base} has none of the versions {wanted}"
        return f"--model_base_path={self.base} has no version folder; write one: serving.export"


class Watcher:
    """Refreshes a catalog again and again, in a thread of its own, until `stop`."""

    def __init__(self, catalog: ModelManager, seconds: float):
        self._catalog, self._seconds = catalog, seconds
        self._stopped = threading.Event()
        # A daemon: a long load must not hold up the end of the process.
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._catalog.refresh()
            except OSError as error:
                _logger.warning("--model_base_path cannot be read: %s", error)
