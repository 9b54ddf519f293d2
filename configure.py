"""Tells Bazel which TensorFlow the native operations are for: that of the Python which runs this.

Bazel itself looks for CUDA: the toolkit in the folder CUDA_HOME, else that of the nvcc on the path; TF_NEED_CUDA=0 in
the environment builds without it.
"""

import importlib.metadata
import sys
from pathlib import Path


def main() -> None:
    """Writes .tf_configure.bazelrc, which .bazelrc imports."""
    try:
        version = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{sys.executable} has no TensorFlow: run configure.py with a Python that has, or `make native`")
    settings = Path(__file__).with_name(".tf_configure.bazelrc")
    settings.write_text(f'build --repo_env="PYTHON_BIN_PATH={sys.executable}"\n')
    print(f"the native operations will be for TensorFlow {version} of {sys.executable}")


if __name__ == "__main__":
    main()
