"""Stand-ins for repositories of rules that Bazel's own packages load, and would otherwise have to download."""

def _builtin_rules_impl(ctx):
    ctx.file(ctx.attr.package + "/BUILD")
    ctx.file(ctx.attr.package + "/defs.bzl", "".join(["%s = native.%s\n" % (r, r) for r in ctx.attr.rules]))

builtin_rules = repository_rule(
    implementation = _builtin_rules_impl,
    doc = "A repository whose //PACKAGE:defs.bzl re-exports rules that are built into Bazel up to version 7.",
    attrs = {"package": attr.string(mandatory = True), "rules": attr.string_list(mandatory = True)},
)
