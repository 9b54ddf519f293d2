"""Import contracts: the tree keeps them, and each kind of breach makes lint-imports fail."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sg3tf", "trainer", "serving")


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run lint-imports on the packages in `tree`, by its own pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the Python files of the packages."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            target = copy / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return copy


def test_tree_keeps_the_contracts(tree: Path) -> None:
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("sg3tf/models/base.py", "import trainer.loop", "trainer and serving use the library"),
        ("sg3tf/models/base.py", "def late():\n    import trainer.loop", "trainer and serving use the library"),
        ("sg3tf/utils/rng.py", "def late():\n    from serving import export", "trainer and serving use the library"),
        ("trainer/loop.py", "def late():\n    from serving import export", "trainer and serving use the library"),
        ("sg3tf/ops/geometry.py", "def late():\n    from sg3tf.models import base", "floors of the library"),
        ("sg3tf/metrics/fid.py", "def late():\n    from sg3tf import generate", "floors of the library"),
        ("sg3tf/data/labels.py", "def late():\n    from sg3tf.models import base", "floors of the library"),
        ("sg3tf/newcomer.py", "", "floors of the library"),
        ("serving/server/rest.py", "def late():\n    from sg3tf import ops", "the embedded server runs without"),
        ("sg3tf/models/layers.py", "def late():\n    from sg3tf.models import stylegan3", "no import cycles"),
        ("trainer/losses.py", "def late():\n    from trainer import step", "no import cycles"),
    ],
)
def test_planted_import_fails(tree: Path, module: str, line: str, broken: str) -> None:
    file = tree / module
    before = file.read_text() if file.exists() else None
    try:
        file.write_text(f"{before or ''}\n\n{line}\n")
        done = lint_imports(tree)
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(row.startswith(broken) and row.endswith("BROKEN") for row in done.stdout.splitlines()), done.stdout


def imports(file: Path) -> Iterator[str]:
    """Yield each module or name that a file imports, with imports inside functions and by importlib."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            target = node.args[0]
            if isinstance(target, ast.Constant):
                yield target.value


def root_names(package: Path) -> list[str]:
    """List the imports of the root package itself, or of a name in it that is not a module."""
    found = []
    for file in package.rglob("*.py"):
        if file != package / "__init__.py":
            for name in imports(file):
                first, _, rest = name.partition(".")
                path = package / rest.partition(".")[0]
                if first == package.name and not (rest and (path.is_dir() or path.with_suffix(".py").is_file())):
                    found.append(f"{file.relative_to(package)}: {name}")
    return found


def test_library_imports_no_names_of_its_root_package(tree: Path) -> None:
    assert not root_names(ROOT / "sg3tf")
    file = tree / "sg3tf" / "latents.py"
    before = file.read_text()
    try:
        for line, name in [
            ("import sg3tf", "sg3tf"),
            ("def late():\n    from sg3tf import Generator", "sg3tf.Generator"),
            ("def late():\n    importlib.import_module('sg3tf')", "sg3tf"),
        ]:
            file.write_text(f"{before}\n\n{line}\n")
            assert root_names(tree / "sg3tf") == [f"latents.py: {name}"]
    finally:
        file.write_text(before)


def test_importlib_imports_nothing_above() -> None:
    """lint-imports cannot see imports by importlib; none of them names a package above."""
    for package, above in {"sg3tf": ("trainer", "serving"), "trainer": ("serving",), "serving": ("trainer",)}.items():
        for file in (ROOT / package).rglob("*.py"):
            assert not [name for name in imports(file) if name.split(".")[0] in above], file


WITHOUT_TENSORFLOW = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    if "tensorflow" in sys.modules:
        sys.exit(f"{module} imports TensorFlow")
"""


def test_tensorflow_is_not_imported_where_nothing_is_computed_with_it() -> None:
    """Commands check their flags first, and set TensorFlow's log level: its notices would stand beside a refusal."""
    data = ["sg3tf.data.build.command", "sg3tf.data.verify"]
    modules = ["sg3tf.remote", "sg3tf.metrics", "sg3tf.metrics.plots", *data]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_durations_are_not_measured_by_the_wall_clock() -> None:
    """It jumps; time.monotonic does not. Dates for people and the ages of files are all that need it."""
    allowed = {"trainer/logger.py: time.time", "sg3tf/metrics/cache.py: time.time", "sg3tf/utils/files.py: time.time"}
    wall = ("time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "fromtimestamp", "strftime", "ctime")
    found = {
        f"{file.relative_to(ROOT)}: {called}"
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and (called := ast.unparse(node.func)).startswith(("time.", "datetime."))
        if called.rpartition(".")[2] in wall
    }
    assert found == allowed
