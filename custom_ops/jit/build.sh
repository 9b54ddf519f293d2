#!/usr/bin/env bash
# Builds the CUDA launchers as a library without TensorFlow and without a CUDA toolkit:
#   custom_ops/jit/build.sh OUT [MORE SOURCES AND FLAGS FOR g++]
set -euo pipefail
export LC_ALL=C  # fixes the order of the sources, which is part of a cached kernel's key
cd "$(dirname "$0")/../.."
out=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
device_sources=(custom_ops/resampling/{float16,stage}.h custom_ops/resampling/cuda/*.h custom_ops/*/problem.h
  custom_ops/*/cuda_*.h custom_ops/*/kernel*.cu)
custom_ops/jit/embed.sh "${device_sources[@]}" >"$folder/sources.cc"
pids=()
for source in custom_ops/jit/{compiler,disk_cache,driver,kernels,trial}.cc custom_ops/*/launch*.cc "$folder/sources.cc"; do
  g++ -std=c++17 -O2 -fPIC -I. -c -o "$folder/${#pids[@]}.o" "$source" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
g++ -std=c++17 -O2 -fPIC -shared -I. -o "$out" "$folder"/*.o "$@" -ldl
