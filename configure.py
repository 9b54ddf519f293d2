"""Configure Bazel to build the native operations for the TensorFlow of the Python that runs this script."""

import importlib.metadata
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Write .tf_configure.bazelrc, which .bazelrc imports."""
    try:
        distribution = importlib.metadata.packages_distributions()["tensorflow"][0]  # or tensorflow-cpu, for example
        version = importlib.metadata.version(distribution)
    except KeyError:
        sys.exit(
            f"{sys.executable} has no TensorFlow: run configure.py with a Python that has it, or run `make native`"
        )
    settings = Path(__file__).with_name(".tf_configure.bazelrc")
    lines = [f'build --repo_env="PYTHON_BIN_PATH={sys.executable}"']
    # For the tests of custom_ops/jit. Loaded by path, because importing sg3tf.ops would import TensorFlow.
    nvrtc = runpy.run_path(str(Path(__file__).with_name("sg3tf") / "ops" / "cuda.py"))["find_nvrtc"]()
    if nvrtc:
        lines.append(f'test --test_env="SG3TF_NVRTC={nvrtc}"')
    settings.write_text("\n".join(lines) + "\n")
    print(f"configured for TensorFlow {version} of {sys.executable}")


if __name__ == "__main__":
    main()
