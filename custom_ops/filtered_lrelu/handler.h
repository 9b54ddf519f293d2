// The handler of filtered leaky ReLU in XLA programs, with TensorFlow (op_xla.cc) and without it (gpu/jax_ffi.cc).

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_HANDLER_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_HANDLER_H_

#include "custom_ops/filtered_lrelu/cpu.h"
#include "custom_ops/xla/cuda_status.h"
#include "custom_ops/xla/pack.h"
#include "custom_ops/xla/share.h"
#include "xla/ffi/api/ffi.h"

namespace sg3 {

inline xla::ffi::Error run(xla::ffi::ThreadPool pool, const Sg3FilteredLrelu& problem, Sg3Type type,
                           const FilteredLreluArrays& arrays) {
  run_on_pool(pool, FilteredLreluCpu(problem, type, pool.num_threads()), arrays);
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error run(void* stream, const Sg3FilteredLrelu& problem, Sg3Type type,
                           const FilteredLreluArrays& arrays) {
  return cuda_status(
      sg3_cuda_filtered_lrelu_fastest(&problem, type, arrays.x, arrays.bias, arrays.y, arrays.mask, stream));
}

// Computes (y) or (y, mask) from (x, bias), or (y) from (v, mask), depending on the problem's mode.
template <class Context>
xla::ffi::Error filtered_lrelu(Context context, xla::ffi::AnyBuffer x, xla::ffi::AnyBuffer second,
                               xla::ffi::RemainingRets results, int64_t type, xla::ffi::Span<const int64_t> words) {
  auto problem = unpack<Sg3FilteredLrelu>(words.begin());
  auto result = [&](size_t i) { return *results.get<xla::ffi::AnyBuffer>(i).value(); };
  if (result(0).element_count() == 0) return xla::ffi::Error::Success();
  bool masked = problem.mode == SG3_APPLY_MASK;
  void* mask = nullptr;
  if (masked) mask = second.untyped_data();
  if (problem.mode == SG3_ACTIVATE_AND_MASK) mask = result(1).untyped_data();
  const void* bias = masked ? nullptr : second.untyped_data();
  return run(context, problem, static_cast<Sg3Type>(type), {x.untyped_data(), bias, result(0).untyped_data(), mask});
}

// `Context` is xla::ffi::ThreadPool or xla::ffi::PlatformStream<void*>.
template <class Context>
auto filtered_lrelu_binding() {
  return xla::ffi::Ffi::Bind()
      .Ctx<Context>()
      .template Arg<xla::ffi::AnyBuffer>()
      .template Arg<xla::ffi::AnyBuffer>()
      .RemainingRets()
      .template Attr<int64_t>("type")
      .template Attr<xla::ffi::Span<const int64_t>>("problem");
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_HANDLER_H_
