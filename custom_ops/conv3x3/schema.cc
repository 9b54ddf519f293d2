// The schemas of Sg3>Conv3x3 and Sg3>Conv3x3KernelGradient: inputs, attributes, shapes.

#include "custom_ops/conv3x3/op.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sg3 {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status infer(InferenceContext* c) {
  ShapeHandle x, kernel;
  DimensionHandle unused, sides[2];
  int64_t pad;
  TF_RETURN_IF_ERROR(c->GetAttr("pad", &pad));
  TF_RETURN_IF_ERROR(check_pad(pad));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &kernel));
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 3), c->Dim(kernel, 2), &unused));
  for (int axis = 0; axis < 2; ++axis) {
    TF_RETURN_IF_ERROR(c->WithValue(c->Dim(kernel, axis), 3, &unused));
    TF_RETURN_IF_ERROR(c->Add(c->Dim(x, 1 + axis), 2 * pad, &sides[axis]));
    TF_RETURN_IF_ERROR(c->Subtract(sides[axis], 2, &sides[axis]));
  }
  c->set_output(0, c->MakeShape({c->Dim(x, 0), sides[0], sides[1], c->Dim(kernel, 3)}));
  return absl::OkStatus();
}

absl::Status infer_kernel_gradient(InferenceContext* c) {
  ShapeHandle x, dy;
  int64_t pad;
  TF_RETURN_IF_ERROR(c->GetAttr("pad", &pad));
  TF_RETURN_IF_ERROR(check_pad(pad));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &dy));
  c->set_output(0, c->MakeShape({c->MakeDim(3), c->MakeDim(3), c->Dim(x, 3), c->Dim(dy, 3)}));
  return absl::OkStatus();
}

REGISTER_OP("Sg3>Conv3x3")
    .Input("x: T")
    .Input("kernel: T")
    .Input("in_scale: T")
    .Input("out_scale: T")
    .Output("y: T")
    .Attr("T: {float}")
    .Attr("pad: int")
    .SetShapeFn(infer)
    .Doc(R"doc(
Correlates images with 3x3 kernels, using Winograd's algorithm.

x: [N, H, W, in].
kernel: [3, 3, in, out].
in_scale: factors for the channels of x, [N, in], or empty.
out_scale: factors for the channels of y, [N, out], or empty.
y: [N, H + 2 * pad - 2, W + 2 * pad - 2, out].
pad: zeros around the images, 0 to 2.
)doc");

REGISTER_OP("Sg3>Conv3x3KernelGradient")
    .Input("x: T")
    .Input("dy: T")
    .Input("in_scale: T")
    .Input("out_scale: T")
    .Output("gradient: T")
    .Attr("T: {float}")
    .Attr("pad: int")
    .SetShapeFn(infer_kernel_gradient)
    .Doc(R"doc(
Gradient of Sg3>Conv3x3 with respect to the kernel.

x: the images of the convolution, [N, H, W, in].
dy: gradient with respect to the result of the convolution, [N, H + 2 * pad - 2, W + 2 * pad - 2, out].
in_scale, out_scale: those of the convolution.
gradient: [3, 3, in, out].
pad: zeros around the images, 0 to 2.
)doc");

}  // namespace
}  // namespace sg3
