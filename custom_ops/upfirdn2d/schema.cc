// The schema of Sg3>Upfirdn2d: inputs, attributes, shapes.

#include "custom_ops/resampling/tf/attributes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sg3 {
namespace {

using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status infer(InferenceContext* c) {
  StageAttributes attributes;
  TF_RETURN_IF_ERROR(attributes.read(c, "up", "down", "pad", ""));
  ShapeHandle x;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  auto height = c->UnknownDim(), width = c->UnknownDim();
  if (c->ValueKnown(c->Dim(x, 1)) && c->ValueKnown(c->Dim(x, 2))) {
    Sg3Stage stage;
    TF_RETURN_IF_ERROR(attributes.stage(c->Value(c->Dim(x, 1)), c->Value(c->Dim(x, 2)), &stage));
    height = c->MakeDim(stage.y.out_size), width = c->MakeDim(stage.x.out_size);
  }
  c->set_output(0, c->MakeShape({c->Dim(x, 0), height, width, c->Dim(x, 3)}));
  return absl::OkStatus();
}

REGISTER_OP("Sg3>Upfirdn2d")
    .Input("x: T")
    .Output("y: T")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("up: list(int)")
    .Attr("down: list(int)")
    .Attr("pad: list(int)")
    .Attr("terms: int")
    .Attr("taps_y: string")
    .Attr("taps_x: string")
    .SetShapeFn(infer)
    .Doc(R"doc(
Inserts zeros, pads, correlates and keeps every `down`-th sample of each channel.

x: [N, H, W, C].
y: [N, (H * up_y + top + bottom - Ky) / down_y + 1, likewise, C].
up: factors of zero insertion (y, x).
down: factors of decimation (y, x).
pad: samples added at (top, bottom, left, right) of the upsampled image; negative numbers crop.
terms: number of separable filters whose sum is the filter.
taps_y: bytes of float64 [terms, Ky].
taps_x: bytes of float64 [terms, Kx].
)doc");

}  // namespace
}  // namespace sg3
