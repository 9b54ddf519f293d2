// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked on any device: checks, sizes and memory.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_OP_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_OP_H_

#include "custom_ops/filtered_lrelu/attributes.h"
#include "custom_ops/resampling/tf/kernels.h"
#include "custom_ops/resampling/tf/types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace sg3 {

// `Device` has a static function launch(context, problem, type, arrays).
template <class Device>
class FilteredLreluOp : public tensorflow::OpKernel {
 public:
  explicit FilteredLreluOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, false));
    OP_REQUIRES_OK(context, context->GetAttr("write_mask", &write_mask_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &x = context->input(0), &bias = context->input(1);
    OP_REQUIRES_OK(context, check_inputs(x.shape(), bias.shape()));
    // In a graph, nothing may read the mask although the attribute is set.
    bool write_mask = write_mask_ && context->output_required(1);
    Sg3FilteredLrelu problem;
    OP_REQUIRES_OK(context, attributes_.problem(x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3),
                                                write_mask ? SG3_ACTIVATE_AND_MASK : SG3_ACTIVATE, &problem));
    tensorflow::Tensor *y, *mask;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(problem), &y));
    tensorflow::TensorShape shape = write_mask ? mask_shape(problem) : tensorflow::TensorShape({0, 0, 0, 0});
    OP_REQUIRES_OK(context, context->allocate_output(1, shape, &mask));
    if (y->NumElements() == 0) return;
    FilteredLreluArrays arrays = {x.data(), bias.data(), y->data(), mask->data()};
    OP_REQUIRES_OK(context, Device::launch(context, problem, element_type(x.dtype()), arrays));
  }

 private:
  FilteredLreluAttributes attributes_;
  bool write_mask_;
};

template <class Device>
class FilteredLreluMaskedOp : public tensorflow::OpKernel {
 public:
  explicit FilteredLreluMaskedOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, true));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &v = context->input(0), &mask = context->input(1);
    OP_REQUIRES_OK(context, check_images("v", v.shape()));
    Sg3FilteredLrelu problem;
    OP_REQUIRES_OK(context, attributes_.problem(v.dim_size(0), v.dim_size(1), v.dim_size(2), v.dim_size(3),
                                                SG3_APPLY_MASK, &problem));
    OP_REQUIRES_OK(context, check_mask(problem, mask.shape()));
    tensorflow::Tensor* y;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(problem), &y));
    if (y->NumElements() == 0) return;
    FilteredLreluArrays arrays = {v.data(), nullptr, y->data(), mask.data()};
    OP_REQUIRES_OK(context, Device::launch(context, problem, element_type(v.dtype()), arrays));
  }

 private:
  FilteredLreluAttributes attributes_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_OP_H_
