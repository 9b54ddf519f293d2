// The schemas of Sg3>ScaleChannels and Sg3>SumPixels: inputs, attributes, shapes.

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sg3 {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status infer_scale(InferenceContext* c) {
  ShapeHandle x, factors;
  DimensionHandle batch, channels;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &factors));
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 0), c->Dim(factors, 0), &batch));
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 3), c->Dim(factors, 1), &channels));
  c->set_output(0, c->MakeShape({batch, c->Dim(x, 1), c->Dim(x, 2), channels}));
  return absl::OkStatus();
}

absl::Status infer_sums(InferenceContext* c) {
  ShapeHandle images = c->input(0);
  for (int i = 1; i < c->num_inputs(); ++i) TF_RETURN_IF_ERROR(c->Merge(images, c->input(i), &images));
  TF_RETURN_IF_ERROR(c->WithRank(images, 4, &images));
  c->set_output(0, c->MakeShape({c->Dim(images, 0), c->Dim(images, 3)}));
  return absl::OkStatus();
}

REGISTER_OP("Sg3>ScaleChannels")
    .Input("x: T")
    .Input("factors: Factors")
    .Output("y: T")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Factors: {float, double}")
    .SetShapeFn(infer_scale)
    .Doc(R"doc(
Multiplies every channel of every image by a factor.

x: [N, H, W, C].
factors: [N, C], float64 if x is float64, else float32.
y: [N, H, W, C].
)doc");

REGISTER_OP("Sg3>SumPixels")
    .Input("images: num_images * T")
    .Output("sums: Sums")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Sums: {float, double}")
    .Attr("num_images: int >= 1")
    .SetShapeFn(infer_sums)
    .Doc(R"doc(
Sums every channel of every image, or of the product of two images.

images: one or two [N, H, W, C].
sums: [N, C], float64 if the images are float64, else float32.
)doc");

}  // namespace
}  // namespace sg3
