#!/usr/bin/env bash
# Checks and measurements on a machine with a GPU, NVRTC or nvcc, and JAX but no TensorFlow, in less than eight minutes:
#   custom_ops/gpu/run_all.sh OUT [PROGRAMS [REGEX]]
# OUT gets the reports, written as they come; PROGRAMS is a folder made by `make gpu-programs`, without which only the
# kernels are checked; REGEX selects large programs by name, for a second run. The most valuable steps come first. All
# steps run, whatever the others do, but end when their time is up; the exit status is that of the worst.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$1
programs=${2:-}
selected=${3:-.}
total=470
worst=0
mkdir -p "$out"

# step NAME SECONDS COMMAND...: for at most that long, and not past the end
step() {
  local name=$1 seconds=$2 started=$SECONDS code=0
  shift 2
  ((seconds > total - SECONDS)) && seconds=$((total - SECONDS))
  if ((seconds < 5)); then
    echo "$name: no time left"
    return 0
  fi
  timeout --kill-after=5 "$seconds" "$@" >"$out/$name.txt" 2>&1 || code=$?
  tail -n 3 "$out/$name.txt" | cut -c 1-400
  echo "$name: exit status $code after $((SECONDS - started)) s"
  ((code > worst)) && worst=$code
  return 0
}

# run_programs NAME SECONDS REGEX FLAGS...
run_programs() {
  local name=$1 seconds=$2 regex=$3
  shift 3
  step "$name" "$seconds" python3 custom_ops/gpu/run_programs.py "$programs" --only="$regex" --ffi="$ffi" \
    --out="$out/$name.json" "$@"
}

# timed BACKEND NETWORKS SECONDS FLAGS...
timed() {
  run_programs "timed_$1_${2//|/_}" "$3" "^(?=.*($selected))($2)_.*_$1" "${@:4}"
}

nvidia-smi >"$out/nvidia-smi.txt" 2>&1
step kernels 120 python3 custom_ops/gpu/check.py --out="$out/kernels.json"
if [ -n "$programs" ]; then
  ffi=$out/libsg3_jax_ffi.so
  step build_ffi 60 custom_ops/jit/build.sh "$ffi" -I"$(python3 -c "import jax.ffi; print(jax.ffi.include_dir())")" \
    custom_ops/gpu/jax_ffi.cc

  # In full float32. Nothing is timed, so programs may be compiled side by side.
  NVIDIA_TF32_OVERRIDE=0 run_programs compared_native 80 "32_.*_native" --jobs=8 --repeats=0
  timed native "t256|r256" 150 --profile=40
  run_programs weight_gradients 60 "^weight_gradient" --jobs=4
  NVIDIA_TF32_OVERRIDE=0 run_programs compared_xla 60 "32_.*_xla" --jobs=8 --repeats=0
  timed native t1024 150 --profile=40
  timed xla "t256|r256|t1024" 150
  timed matmul "t256|r256|t1024" 150
  rm -f "$ffi"
fi
exit "$worst"
