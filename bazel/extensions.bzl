"""The repositories of WORKSPACE for Bazel 7 and later."""

load(":cuda.bzl", "cuda_configure")
load(":tensorflow.bzl", "tensorflow_configure")

def _local_impl(_ctx):
    tensorflow_configure(name = "local_tensorflow")
    cuda_configure(name = "local_cuda")

local = module_extension(implementation = _local_impl)
