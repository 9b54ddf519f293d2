"""Which model versions there are to serve: names and numbers to loaded models."""

from pathlib import Path

from serving.server.errors import not_found
from serving.server.model import ServedModel


class Catalog:
    """The versions of one named model.

    Args:
      name: the model's name in requests.
      model_base_path: folder with the version folders 1, 2, ...; the newest one is loaded.

    Raises:
      OSError: there is no version, or it cannot be loaded.
    """

    def __init__(self, name: str, model_base_path: Path):
        self.name = name
        model = ServedModel(_newest_version(model_base_path))
        self._versions = {model.version: model}

    def find(self, name: str, version: int | None) -> ServedModel:
        """The version asked for, or the newest one where `version` is None.

        Raises:
          RequestError: NOT_FOUND, for an unknown name or version.
        """
        return self.versions(name, version)[-1]

    def versions(self, name: str, version: int | None) -> list[ServedModel]:
        """All versions, oldest first, or only the one asked for.

        Raises:
          RequestError: NOT_FOUND, for an unknown name or version.
        """
        if name != self.name:
            message = f"Servable not found for request: Latest({name})"
            raise not_found(f"{message}; this server has the model {self.name!r}")
        if version is None:
            return [self._versions[number] for number in sorted(self._versions)]
        if version not in self._versions:
            known = ", ".join(str(number) for number in sorted(self._versions))
            message = f"Servable not found for request: Specific({name}, {version})"
            raise not_found(f"{message}; the versions served are {known}")
        return [self._versions[version]]


def _newest_version(base: Path) -> Path:
    if not base.is_dir():
        raise OSError(f"--model_base_path={base} is not a folder; write one with serving.export")
    versions = [entry for entry in base.iterdir() if entry.name.isdecimal()]
    versions = [entry for entry in versions if (entry / "saved_model.pb").is_file()]
    if not versions:
        raise OSError(f"--model_base_path={base} has no version folder; write one: serving.export")
    return max(versions, key=lambda entry: int(entry.name))
