#!/usr/bin/env bash
# Checks and measurements on a machine with a GPU, NVRTC or nvcc, PyTorch and JAX but no TensorFlow, in less than eight minutes:
#   custom_ops/gpu/run_all.sh OUT [PROGRAMS]
# OUT gets the reports; PROGRAMS is a folder of export_programs.py, without which only the kernels are checked. All steps
# run, whatever the others do; the exit status is that of the worst.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$1
programs=${2:-}
mkdir -p "$out"
worst=0

# step NAME SECONDS COMMAND...
step() {
  local name=$1 seconds=$2 started=$SECONDS code=0
  shift 2
  timeout "$seconds" "$@" >"$out/$name.txt" 2>&1 || code=$?
  tail -n 3 "$out/$name.txt"
  echo "$name: exit status $code after $((SECONDS - started)) s"
  ((code > worst)) && worst=$code
  return 0
}

nvidia-smi >"$out/nvidia-smi.txt" 2>&1
step kernels 150 python3 custom_ops/gpu/check.py --out="$out/kernels.json"
if [ -n "$programs" ]; then
  includes=$(python3 -c "import jax.ffi; print(jax.ffi.include_dir())")
  ffi=$out/libsg3_jax_ffi.so
  step build_ffi 90 custom_ops/jit/build.sh "$ffi" -I"$includes" custom_ops/gpu/jax_ffi.cc
  step programs_compared 60 env NVIDIA_TF32_OVERRIDE=0 \
    python3 custom_ops/gpu/run_programs.py "$programs" --only=32 --ffi="$ffi" --out="$out/programs_compared.json"
  step programs_timed 170 \
    python3 custom_ops/gpu/run_programs.py "$programs" --only=256 --ffi="$ffi" --out="$out/programs_timed.json"
  rm -f "$ffi"
fi
exit "$worst"
