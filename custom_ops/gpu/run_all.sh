#!/usr/bin/env bash
# Runs checks and measurements on a machine with a GPU, NVRTC or nvcc, and JAX but no TensorFlow:
#   custom_ops/gpu/run_all.sh OUT [PROGRAMS [STEPS]]
# Writes log.txt and results.tgz to OUT; results.tgz gets all reports after every step, because such machines return few
# files. PROGRAMS is a folder made by `make gpu-programs`; without it, only the kernels are checked. STEPS is a regular
# expression that selects the steps to run, for a second call. The most valuable steps come first. SG3TF_SECONDS (400)
# limits the time of all steps. A step that reaches its own limit is stopped, and keeps what it has written by then. The
# exit status is 1 if a step fails or is stopped.
set -uo pipefail
if [ -n "${2:-}" ] && ! [ -e "$2/programs.json" ]; then
  echo "run_all.sh: there is no $2/programs.json: give a folder made by make gpu-programs" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
programs=${2:+$(cd "$2" && pwd)}
steps=${3:-.}
cd "$(dirname "$0")/../.."
total=${SG3TF_SECONDS:-400}
status=0
work=$(mktemp -d)
reports=$work/reports
ffi=$work/libsg3_jax_ffi.so
trap 'rm -rf "$work"' EXIT
mkdir "$reports"

# step NAME SECONDS COMMAND...: runs for at most that long, and not past the total limit
step() {
  local name=$1 seconds=$2 started=$SECONDS code=0
  shift 2
  [[ $name =~ $steps ]] || return 0
  ((seconds > total - SECONDS)) && seconds=$((total - SECONDS))
  if ((seconds < 5)); then
    echo "$name: no time left"
    return 0
  fi
  timeout --kill-after=5 "$seconds" "$@" >"$reports/$name.txt" 2>&1 || { code=$?; status=1; }
  tail -n 3 "$reports/$name.txt" | cut -c 1-400
  echo "$name: exit status $code after $((SECONDS - started)) s"
  tar -C "$reports" -czf "$out/.results.tgz" . && mv "$out/.results.tgz" "$out/results.tgz"
}

# check_kernels NAME SECONDS DTYPE OPS...: one process for each, because a kernel error can make all later calls fail
check_kernels() {
  local name=kernels_$1 seconds=$2 dtype=$3
  shift 3
  step "$name" "$seconds" python3 custom_ops/gpu/check.py --dtypes "$dtype" --ops "$@" --repeats=10 \
    --out="$reports/$name.json"
}

# run_programs NAME SECONDS REGEX FLAGS...
run_programs() {
  local name=$1 seconds=$2 regex=$3
  shift 3
  [ -e "$ffi" ] && set -- --ffi="$ffi" "$@"
  [ -z "$programs" ] || step "$name" "$seconds" python3 custom_ops/gpu/run_programs.py "$programs" --only="$regex" \
    --out="$reports/$name.json" "$@"
}

main() {
  nvidia-smi >"$reports/nvidia-smi.txt" 2>&1
  # By its path: NVRTC opens another file of its folder by name alone, and pip's folder is on no search path.
  if [ -z "${SG3TF_NVRTC:-}" ]; then
    SG3TF_NVRTC=$(python3 -c "import glob, sys
found = [f for p in sys.path if p for f in sorted(glob.glob(p + '/nvidia/*/lib/libnvrtc.so.1[0-9]'))]
print(found[-1] if found else '')")
    [ -n "$SG3TF_NVRTC" ] && export SG3TF_NVRTC && echo "NVRTC: $SG3TF_NVRTC"
  fi
  # Kernels compiled for this kind of card beforehand; others are compiled here.
  [ -z "${SG3TF_CACHE:-}" ] && [ -n "$programs" ] && [ -d "$programs/kernels" ] && export SG3TF_CACHE=$programs/kernels
  if [ -n "$programs" ]; then
    local include
    include=$(python3 -c "import jax.ffi; print(jax.ffi.include_dir())") &&
      custom_ops/jit/build.sh "$ffi" -I"$include" custom_ops/gpu/jax_ffi.cc || status=1
  fi
  check_kernels float16_mma 60 float16 filtered_lrelu_mma
  check_kernels float16 80 float16 filtered_lrelu upfirdn2d
  run_programs forward_native 80 '^(t256|r256|t1024)_forward_native' --profile=40
  # In full float32; XLA's own matrix products do not read NVIDIA_TF32_OVERRIDE. Nothing is timed, so programs may be
  # compiled side by side.
  NVIDIA_TF32_OVERRIDE=0 XLA_FLAGS=--xla_gpu_enable_triton_gemm=false run_programs compared_native 110 '32_.*_native' --jobs=16 --repeats=0
  run_programs t256_native 110 '^t256_(?!forward).*_native' --profile=40
  check_kernels float32 80 float32 filtered_lrelu upfirdn2d
  check_kernels bfloat16_mma 60 bfloat16 filtered_lrelu_mma
  check_kernels bfloat16 80 bfloat16 filtered_lrelu upfirdn2d
  run_programs weight_gradients 90 '^weight_gradient' --jobs=4 --profile=5
  run_programs r256_native 110 '^r256_(?!forward).*_native' --profile=40
  run_programs t1024_native 150 '^t1024_(?!forward).*_native' --profile=40
  NVIDIA_TF32_OVERRIDE=0 XLA_FLAGS=--xla_gpu_enable_triton_gemm=false run_programs compared_xla 80 '32_.*_xla' --jobs=16 --repeats=0
  run_programs timed_xla 150 '^(t256|r256|t1024)_.*_xla'
  run_programs timed_matmul 150 '^(t256|r256|t1024)_.*_matmul'
  echo "exit status $status after $SECONDS s"
  return "$status"
}

main 2>&1 | tee "$out/log.txt"
exit "${PIPESTATUS[0]}"
