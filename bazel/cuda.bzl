"""@local_cuda: the CUDA toolkit in CUDA_HOME, else that of the nvcc on the path, if there is one."""

# Ampere, Hopper, Blackwell for data centers and for workstations; newer ones compile the PTX of the last.
_ARCHITECTURES = ["80", "90", "100", "120"]

_DEFS = """
def if_cuda(if_true, if_false = []):
    return {choice}

CUDA_VERSION = {version}
NVCC = "{nvcc}"
NVCC_FLAGS = {flags}
"""

_BUILD = """
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "cudart_static",
    srcs = ["libcudart_static.a"],
    # TensorFlow brings a CUDA runtime of its own, so the symbols of ours are not exported.
    linkopts = ["-Wl,--exclude-libs,libcudart_static.a", "-ldl", "-lpthread", "-lrt"],
    visibility = ["//visibility:public"],
)
"""

def _none(ctx):
    ctx.file("defs.bzl", _DEFS.format(choice = "if_false", version = None, nvcc = "", flags = []))
    ctx.file("BUILD")

def _nvcc(ctx):
    """Returns the path of nvcc, or None."""
    if ctx.os.environ.get("TF_NEED_CUDA") == "0":
        return None
    home = ctx.os.environ.get("CUDA_HOME")
    return ctx.path(home + "/bin/nvcc") if home else ctx.which("nvcc")

def _toolkit(ctx, nvcc):
    """Returns the folder of the toolkit according to nvcc: the one on the path may be a link or a script elsewhere."""
    dryrun = ctx.execute([nvcc, "--dryrun", "-x", "cu", "/dev/null"])
    tops = [line[len("#$ TOP="):] for line in dryrun.stderr.splitlines() if line.startswith("#$ TOP=")]
    return tops[0].strip() if dryrun.return_code == 0 and tops else None

def _static_runtime(ctx, toolkit):
    for folder in ["lib64", "lib"]:
        runtime = ctx.path("%s/%s/libcudart_static.a" % (toolkit, folder))
        if runtime.exists:
            return runtime
    return None

def _cuda_configure_impl(ctx):
    nvcc = _nvcc(ctx)
    if not nvcc:
        return _none(ctx)
    toolkit = _toolkit(ctx, nvcc)
    runtime = _static_runtime(ctx, toolkit) if toolkit else None
    if not runtime:
        # buildifier: disable=print
        print("%s is not part of a complete CUDA toolkit: building without CUDA." % nvcc)
        return _none(ctx)
    known = ctx.execute([nvcc, "--list-gpu-arch"]).stdout.split("\n")
    compiled = [a for a in _ARCHITECTURES if "compute_" + a in known]
    flags = ["-gencode=arch=compute_%s,code=sm_%s" % (a, a) for a in compiled]
    flags.append("-gencode=arch=compute_%s,code=compute_%s" % (compiled[-1], compiled[-1]))
    release = ctx.execute([nvcc, "--version"]).stdout.split("release ")[1].split(",")[0]
    ctx.file("defs.bzl", _DEFS.format(choice = "if_true", version = repr(release), nvcc = nvcc, flags = flags))
    ctx.symlink(runtime, runtime.basename)
    ctx.file("BUILD", _BUILD)
    return None

cuda_configure = repository_rule(
    implementation = _cuda_configure_impl,
    environ = ["CUDA_HOME", "PATH", "TF_NEED_CUDA"],
    local = True,
)
