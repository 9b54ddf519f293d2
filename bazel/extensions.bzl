"""The repositories of WORKSPACE for Bazel 7 and later."""

load(":tensorflow.bzl", "tensorflow_configure")

def _local_impl(_ctx):
    tensorflow_configure(name = "local_tensorflow")

local = module_extension(implementation = _local_impl)
