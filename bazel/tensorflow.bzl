"""@local_tensorflow: headers and libraries of the TensorFlow wheel that is installed for a Python interpreter."""

# TensorFlow is not imported, which would take seconds and half a gigabyte.
_FIND = """
import importlib.metadata, importlib.util
print(importlib.metadata.version(importlib.metadata.packages_distributions()["tensorflow"][0]))
print(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
"""

_BUILD = """
load("@rules_cc//cc:defs.bzl", "cc_library")

package(default_visibility = ["//visibility:public"])

cc_library(
    name = "headers",
    hdrs = glob(["include/%s/**" % folder for folder in [
        "Eigen",
        "absl",
        "google",
        "ml_dtypes",
        "tensorflow",
        "tsl",
        "unsupported",
        "xla",
    ]]),
    # The flags of tf.sysconfig.get_compile_flags(), which only an import of TensorFlow could return.
    defines = [
        "_GLIBCXX_USE_CXX11_ABI=1",
        "EIGEN_MAX_ALIGN_BYTES=64",
    ],
    includes = ["include"],
)

cc_library(
    name = "xla_headers",
    hdrs = glob(["include/external/%s/**" % folder for folder in [
        "farmhash_archive",
        "highwayhash",
    ]]),
    includes = [
        "include/external/farmhash_archive/src",
        "include/external/highwayhash",
    ],
    deps = [":headers"],
)

cc_library(
    name = "framework",
    srcs = ["libtensorflow_framework.so.2"],
)

cc_library(
    name = "cc",
    srcs = ["libtensorflow_cc.so.2"],
)
"""

def _tensorflow_configure_impl(ctx):
    python = ctx.os.environ.get("PYTHON_BIN_PATH", "python3")
    found = ctx.execute([python, "-c", _FIND])
    if found.return_code:
        fail("%s has no TensorFlow. Run configure.py with a Python that has it." % python)
    version, folder = found.stdout.splitlines()
    for name in ["include", "libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]:
        ctx.symlink(folder + "/" + name, name)
    ctx.file("BUILD", _BUILD)
    ctx.file("version.bzl", "TENSORFLOW_VERSION = \"%s\"\n" % version)

tensorflow_configure = repository_rule(
    implementation = _tensorflow_configure_impl,
    environ = ["PYTHON_BIN_PATH"],
    local = True,
)
