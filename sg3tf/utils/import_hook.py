"""Run code around the import of a package, whichever module imports it."""

from __future__ import annotations

import functools
import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Imports a module: executes its code.
Execute = Callable[[ModuleType], None]


class ImportHook(importlib.abc.MetaPathFinder):
    """Import finder that delegates to the other finders, and calls a function instead of executing the package.

    Args:
        package: package name.
        around: called with a function that executes a module, and the module.
    """

    def __init__(self, package: str, around: Callable[[Execute, ModuleType], None]) -> None:
        self.package, self._around = package, around

    def install(self) -> None:
        """Activate the hook; no effect if it is already active or the package is already imported."""
        installed = {finder.package for finder in sys.meta_path if isinstance(finder, ImportHook)}
        if self.package not in {*sys.modules, *installed}:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            execute = functools.partial(self._around, spec.loader.exec_module)
            setattr(spec.loader, "exec_module", execute)  # noqa: B010  # mypy refuses to assign to a method
        return spec
