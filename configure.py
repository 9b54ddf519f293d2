"""Configure Bazel to build the native operations for the TensorFlow of the Python that runs this script."""

import importlib.metadata
import sys
from pathlib import Path


def main() -> None:
    """Write .tf_configure.bazelrc, which .bazelrc imports."""
    try:
        version = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        sys.exit(
            f"{sys.executable} has no TensorFlow: run configure.py with a Python that has it, or run `make native`"
        )
    settings = Path(__file__).with_name(".tf_configure.bazelrc")
    settings.write_text(f'build --repo_env="PYTHON_BIN_PATH={sys.executable}"\n')
    print(f"configured for TensorFlow {version} of {sys.executable}")


if __name__ == "__main__":
    main()
