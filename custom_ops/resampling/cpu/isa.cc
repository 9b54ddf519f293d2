#include "custom_ops/resampling/cpu/isa.h"

#include <stdlib.h>
#include <string.h>

#include <algorithm>

namespace sg3 {
namespace {

Isa detected() {
#if defined(__x86_64__)
  // GCC 11 does not accept "x86-64-v3" and "x86-64-v4" here. All processors with these features have the other features
  // of the two levels.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2 && avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa limit() {
  const char* setting = getenv("SG3TF_ISA");
  for (Isa isa : {Isa::baseline, Isa::avx2}) {
    if (setting != nullptr && strcmp(setting, name(isa)) == 0) return isa;
  }
  return Isa::avx512;
}

}  // namespace

Isa isa() {
  static const Isa chosen = std::min(detected(), limit());
  return chosen;
}

const char* name(Isa isa) {
  static const char* const names[] = {"baseline", "avx2", "avx512"};
  return names[static_cast<int>(isa)];
}

}  // namespace sg3
