"""Build rules for an operation: the CPU kernel is compiled once per instruction set, the CUDA kernel at first use."""

load("@local_tensorflow//:version.bzl", "TENSORFLOW_VERSION")
load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

# sg3tf/ops/native.py reads this before it loads the libraries.
BUILD_INFO = json.encode({"tensorflow": TENSORFLOW_VERSION})

_INSTRUCTION_SETS = {
    "avx512": ["-march=x86-64-v4"],
    "avx2": ["-march=x86-64-v3"],
    "baseline": [],
}

# GCC warns about its own intrinsics, and about vectors in the signatures of functions that are always inlined.
_QUIET = ["-Wno-maybe-uninitialized", "-Wno-psabi"]

def _isa_library(name, srcs, deps):
    """Compiles `srcs` once per instruction set, each time into the namespace that the macro SG3_ISA names.

    Processors other than x86-64 have only the baseline.
    """
    for isa, flags in _INSTRUCTION_SETS.items():
        cc_library(
            name = name + "_" + isa,
            srcs = srcs,
            copts = ["-DSG3_ISA=" + isa, "-O3", "-ffp-contract=fast"] + _QUIET + flags,
            deps = deps,
        )
    cc_library(
        name = name,
        deps = select({
            "@platforms//cpu:x86_64": [":%s_%s" % (name, isa) for isa in _INSTRUCTION_SETS],
            "//conditions:default": [":%s_baseline" % name],
        }),
    )

def isa_test(name, srcs, deps):
    """Compiles a test once per instruction set, each time into the namespace that the macro SG3_ISA names."""
    for isa, flags in _INSTRUCTION_SETS.items():
        cc_test(
            name = name + "_" + isa,
            size = "small",
            srcs = srcs,
            copts = ["-DSG3_ISA=" + isa, "-O3"] + _QUIET + flags,
            linkstatic = True,
            target_compatible_with = [] if isa == "baseline" else ["@platforms//cpu:x86_64"],
            deps = deps,
        )

def op_package(gpu = True):
    """Declares the targets of an operation's folder, with or without its own GPU kernels.

    Other packages use `ops` (schema and kernels, to be linked into a binary that contains TensorFlow) and `xla`.
    """
    cc_library(
        name = "headers",
        hdrs = ["cpu.h", "job.h", "problem.h"],
        visibility = ["//custom_ops/xla:__pkg__"],
        deps = ["//custom_ops/resampling"],
    )
    _isa_library(
        name = "kernel_cpu",
        srcs = ["kernel_cpu.cc"],
        deps = [":headers"],
    )
    cc_library(
        name = "cpu",
        deps = [":headers", ":kernel_cpu"],
    )
    kernels = [":cpu"] + ([":cuda"] if gpu else [])
    if gpu:
        native.filegroup(
            name = "device_sources",
            srcs = ["problem.h"] + native.glob(
                ["cuda_*.h", "kernel*.cu"],
                exclude = ["*_plan.h"],
            ),
            visibility = ["//custom_ops/jit:__pkg__"],
        )
        cc_library(
            name = "cuda",
            srcs = native.glob(["launch*"]),
            hdrs = native.glob(["cuda_*.h", "*_variant.h"], allow_empty = True),
            visibility = ["//custom_ops/jit:__pkg__"],
            deps = [":headers", "//custom_ops/resampling:launch"],
        )
    cc_library(
        name = "op_headers",
        hdrs = native.glob(["attributes.h", "op.h"], allow_empty = True),
        deps = [":headers", "//custom_ops/resampling:tf"],
    )
    cc_library(
        name = "ops",
        srcs = ["op_cpu.cc", "schema.cc"] + (["op_gpu.cc"] if gpu else []),
        deps = kernels + [":op_headers"],
        alwayslink = True,
        visibility = ["//custom_ops:__pkg__"],
    )
    cc_library(
        name = "xla",
        srcs = ["op_xla.cc"] + (["handler.h"] if gpu else []),
        copts = ["-w"],
        deps = kernels + [
            ":op_headers",
            "//custom_ops/xla",
            "@local_tensorflow//:xla_headers",
        ],
        alwayslink = True,
        visibility = ["//custom_ops:__pkg__"],
    )
    for isa in _INSTRUCTION_SETS:
        cc_test(
            name = "kernel_cpu_test_" + isa,
            size = "small",
            srcs = ["kernel_cpu_test.cc"],
            env = {"SG3TF_ISA": isa},
            linkstatic = True,
            deps = [":cpu", "//custom_ops/resampling:testing"],
        )
    for test in native.glob(["*_host_test.cc"], allow_empty = True):
        cc_test(
            name = test[:-len(".cc")],
            size = "medium",
            timeout = "long",  # under --config=sanitize, on a busy machine
            srcs = [test] + native.glob(["cuda_*.h"]) + native.glob(["*_host_test.h"], allow_empty = True),
            linkstatic = True,
            deps = [":headers", "//custom_ops/resampling:testing"],
        )
