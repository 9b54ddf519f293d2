#!/usr/bin/env bash
# Builds the native operations for the TensorFlow of the given Python and installs them into sg3tf/ops/lib.
#   custom_ops/install.sh PYTHON           # both libraries
#   custom_ops/install.sh PYTHON --no-xla  # without the library for jit_compile=True, which takes most of the time
# The exit status is 3 if Bazel or the compiler is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
products=(_sg3tf_native.so)
[ "${2:-}" = --no-xla ] || products+=(_sg3tf_native_xla.so)
products+=(_sg3tf_native.json)  # the last, because it vouches for the others
folder=sg3tf/ops/lib

find_bazel() { command -v bazel || command -v bazelisk; }
if ! find_bazel >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Bazel: Debian's package bazel-bootstrap"
  { apt-get update && apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends bazel-bootstrap; } >/dev/null 2>&1 || true
fi
if ! bazel=$(find_bazel); then
  echo "no bazel or bazelisk on the path: install one (Debian: apt install bazel-bootstrap), or choose SG3TF_OPS=xla" >&2
  exit 3
fi
compiler=${CC:-g++}  # as Bazel chooses it
command -v "$compiler" >/dev/null || { echo "no $compiler on the path: install a C++ compiler (Debian: apt install g++)" >&2; exit 3; }
if [ "$(uname -m)" = x86_64 ] && ! "$compiler" -march=x86-64-v4 -E -x c++ /dev/null >/dev/null 2>&1; then
  echo "$compiler $("$compiler" -dumpversion) is too old: install GCC 11 or later (RHEL 8: gcc-toolset-13), or choose SG3TF_OPS=xla" >&2
  exit 3
fi

"$python" configure.py
# A compiler that reads TensorFlow's headers takes up to 2 GB.
fitting=$(awk '/^MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)
# Of a container, in either version of cgroups; "max" or a huge number where there is none.
limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1 || true)
[[ $limit =~ ^[0-9]+$ ]] && fitting=$((limit / 2000000000 < fitting ? limit / 2000000000 : fitting))
cores=$(nproc)
jobs=$((fitting < cores ? (fitting < 1 ? 1 : fitting) : cores))
"$bazel" build --jobs="${SG3TF_JOBS:-$jobs}" "${products[@]/#///custom_ops:}"
mkdir -p "$folder"
if [ "${2:-}" = --no-xla ] && ! cmp --silent "bazel-bin/custom_ops/_sg3tf_native.so" "$folder/_sg3tf_native.so"; then
  rm --force "$folder/_sg3tf_native_xla.so"  # from another build; both would be loaded together
fi
rm --force "$folder/_sg3tf_native.json"
for product in "${products[@]}"; do  # running processes keep the old file
  cp --force "bazel-bin/custom_ops/$product" "$folder/.$product"
  mv --force "$folder/.$product" "$folder/$product"
done
echo "native operations in $folder"
