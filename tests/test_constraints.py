"""The versions of constraints.txt can be installed with every supported Python."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def installed(pin: Requirement) -> Distribution | None:
    """The package at the pinned version; None if it is of another platform or Python."""
    try:
        found = distribution(pin.name)
    except PackageNotFoundError:
        return None
    return found if found.version in pin.specifier else None


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_first_releases_of_each_python(python: str) -> None:
    """Debian 12 has Python 3.11.2, for example."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate(environment)]
    packages = [package for pin in pins if (package := installed(pin))]
    assert len(packages) > 100
    needs = {package.name: package.metadata["Requires-Python"] or "" for package in packages}
    assert {name: need for name, need in needs.items() if python not in SpecifierSet(need)} == {}
    assert len({pin.name for pin in pins}) == len(pins)
