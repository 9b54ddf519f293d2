"""The examples in docstrings run, and every public class of the reference has one."""

from __future__ import annotations

import doctest
import importlib
import re
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sg3tf

tf = pytest.importorskip("tensorflow", reason="the environment of Apache Beam has no TensorFlow")

ROOT = Path(__file__).parents[1]
REFERENCE = sorted(
    {name for page in ROOT.glob("docs/reference/*.md") for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)}
)
#: Modules with examples, those that the reference leaves out included.
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("sg3tf", "trainer", "serving")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text()
]
SLOW = {"trainer.keras_trainer"}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

#: Classes for which an example would show nothing, besides exceptions and protocols.
WITHOUT_EXAMPLE = {
    "sg3tf.utils.safe_pickle.Foreign": "stands for an object of a pickle that is not made",
    "sg3tf.utils.safe_pickle.Global": "result of load where a pickle names something and does not call it",
    "sg3tf.generate.network.ExportedNetwork": "abstract; open_network returns its subclasses",
    "sg3tf.image_files.Decoded": "result of decode",
    "sg3tf.models.configs.VariantFields": "base of the configurations",
    "sg3tf.models.generators.LegacyGenerator": "what keras.models.load_model finds in earlier files",
}


def classes_without_example(module: ModuleType) -> set[str]:
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {
        f"{module.__name__}.{name}"
        for name, value in classes.items()
        if value.__module__ == module.__name__ and not name.startswith("_")
        if not issubclass(value, Exception) and not getattr(value, "_is_protocol", False)
        if ">>> " not in (value.__doc__ or "")
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in WITH_EXAMPLES]
)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"sg3tf": sg3tf, "np": np, "tf": tf}, optionflags=OPTIONS)
    assert results.attempted and not results.failed
    found = sum(len(test.examples) for test in doctest.DocTestFinder().find(module))
    assert found == Path(module.__file__).read_text().count(">>> "), "doctest overlooks an example"


def test_sections_are_indented_by_four() -> None:
    section = re.compile(r"^( *)(?:Args|Attributes|Examples|Raises|Returns|Yields):\n(\1 *)\S", re.M)
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for package in ("sg3tf", "trainer", "serving")
        for path in sorted((ROOT / package).rglob("*.py"))
        for match in section.finditer(path.read_text())
        if len(match[2]) - len(match[1]) != 4
    ]
    assert not wrong


def test_every_public_class_has_an_example() -> None:
    missing = set().union(*(classes_without_example(importlib.import_module(name)) for name in REFERENCE))
    assert missing == set(WITHOUT_EXAMPLE)
