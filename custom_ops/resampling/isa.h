// The instruction sets that kernels are compiled for, and the best of them here.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_ISA_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_ISA_H_

#if defined(__x86_64__)
#define SG3_FOR_EACH_ISA(f) f(baseline) f(avx2) f(avx512)
#else
#define SG3_FOR_EACH_ISA(f) f(baseline)
#endif

namespace sg3 {

enum class Isa { baseline, avx2, avx512 };  // x86-64 or any other processor, x86-64-v3, x86-64-v4

// What this processor has, or less where the environment variable SG3TF_ISA names it.
Isa isa();
const char* name(Isa isa);

// A call of the function of this name in the namespace of isa().
#if defined(__x86_64__)
#define SG3_DISPATCH(function, ...)                                   \
  (::sg3::isa() == ::sg3::Isa::avx512 ? avx512::function(__VA_ARGS__) \
   : ::sg3::isa() == ::sg3::Isa::avx2 ? avx2::function(__VA_ARGS__)   \
                                      : baseline::function(__VA_ARGS__))
#else
#define SG3_DISPATCH(function, ...) baseline::function(__VA_ARGS__)
#endif

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_ISA_H_
