// The variant as which a tensor-core kernel is compiled.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_MMA_VARIANT_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_MMA_VARIANT_H_

#include <string>

#include "custom_ops/filtered_lrelu/cuda_mma_plan.h"
#include "custom_ops/jit/variant.h"

namespace sg3::cuda {

template <class T>
std::string element_text() {
  return kIsHalf<T> ? "Half" : "BFloat16";
}

// Returns "MmaBlock<Half, 2, 2, 0>" or the like.
template <class Kernel>
std::string mma_block_text(Kernel) {
  constexpr MmaRadial kRadial = Kernel::Block::kRadial;
  const std::string name = kRadial == MmaRadial::kUp     ? "MmaRadialUpBlock"
                           : kRadial == MmaRadial::kDown ? "MmaRadialDownBlock"
                                                         : "MmaBlock";
  return jit::type_text(name, element_text<typename Kernel::Element>(), Kernel::kUp, Kernel::kDown, Kernel::kMode);
}

template <class Kernel>
jit::Variant mma_variant(Kernel kernel) {
  return {"custom_ops/filtered_lrelu/kernel_mma.cu",
          "filtered_lrelu_mma",
          {{"SG3_BLOCK", mma_block_text(kernel)}, {"SG3_TYPE", element_text<typename Kernel::Element>()}}};
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_MMA_VARIANT_H_
