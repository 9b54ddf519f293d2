// The schemas of Sg3>FilteredLrelu and its derivative, Sg3>FilteredLreluMasked: inputs, attributes, shapes.

#include "custom_ops/filtered_lrelu/attributes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sg3 {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Sizes of the upsampled images and of the result; unknown if the height or width of `images` is.
struct Sizes {
  DimensionHandle up_height, up_width, height, width;
};

absl::Status infer_sizes(InferenceContext* c, ShapeHandle images, bool masked, Sizes* sizes) {
  FilteredLreluAttributes attributes;
  TF_RETURN_IF_ERROR(attributes.read(c, masked));
  *sizes = {c->UnknownDim(), c->UnknownDim(), c->UnknownDim(), c->UnknownDim()};
  DimensionHandle height = c->Dim(images, 1), width = c->Dim(images, 2);
  if (!c->ValueKnown(height) || !c->ValueKnown(width)) return absl::OkStatus();
  Sg3FilteredLrelu p;
  TF_RETURN_IF_ERROR(attributes.problem(1, c->Value(height), c->Value(width), 1, SG3_ACTIVATE, &p));
  *sizes = {c->MakeDim(p.up.y.out_size), c->MakeDim(p.up.x.out_size), c->MakeDim(p.down.y.out_size),
            c->MakeDim(p.down.x.out_size)};
  return absl::OkStatus();
}

absl::Status infer(InferenceContext* c) {
  ShapeHandle x, bias;
  Sizes sizes;
  DimensionHandle channels;
  bool write_mask;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 1, &bias));
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 3), c->Dim(bias, 0), &channels));
  TF_RETURN_IF_ERROR(infer_sizes(c, x, false, &sizes));
  TF_RETURN_IF_ERROR(c->GetAttr("write_mask", &write_mask));
  c->set_output(0, c->MakeShape({c->Dim(x, 0), sizes.height, sizes.width, channels}));
  if (!write_mask) {
    c->set_output(1, c->MakeShape({0, 0, 0, 0}));
    return absl::OkStatus();
  }
  DimensionHandle padded, blocks;
  TF_RETURN_IF_ERROR(c->Add(channels, SG3_MASK_CHANNELS - 1, &padded));
  TF_RETURN_IF_ERROR(c->Divide(padded, SG3_MASK_CHANNELS, false, &blocks));
  c->set_output(1, c->MakeShape({c->Dim(x, 0), blocks, sizes.up_height, sizes.up_width}));
  return absl::OkStatus();
}

absl::Status infer_masked(InferenceContext* c) {
  ShapeHandle v, mask;
  Sizes sizes;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &v));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &mask));
  TF_RETURN_IF_ERROR(infer_sizes(c, v, true, &sizes));
  c->set_output(0, c->MakeShape({c->Dim(v, 0), sizes.height, sizes.width, c->Dim(v, 3)}));
  return absl::OkStatus();
}

REGISTER_OP("Sg3>FilteredLrelu")
    .Input("x: T")
    .Input("bias: T")
    .Output("y: T")
    .Output("mask: uint32")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("up: list(int)")
    .Attr("up_pad: list(int)")
    .Attr("up_terms: int")
    .Attr("up_taps_y: string")
    .Attr("up_taps_x: string")
    .Attr("down: list(int)")
    .Attr("down_terms: int")
    .Attr("down_taps_y: string")
    .Attr("down_taps_x: string")
    .Attr("activation: string")
    .Attr("write_mask: bool")
    .SetShapeFn(infer)
    .Doc(R"doc(
Adds a bias, upsamples, applies leaky ReLU and a clamp, and downsamples.

x: [N, H, W, C].
bias: [C].
y: [N, H', W', C], the size that two Sg3>Upfirdn2d operations yield.
mask: two bits per upsampled sample, [N, ceil(C / 16), H_up, W_up]: bit c % 16 of a word is set if channel c was
  negative, bit 16 + c % 16 if it was clamped. Empty if nothing reads it.
up: upsampling factors (y, x).
up_pad: samples added at (top, bottom, left, right) of the upsampled image; negative numbers crop.
up_terms: number of separable filters whose sum is the upsampling filter; its gain includes that of the activation.
up_taps_y: bytes of float64 [up_terms, K]; the taps correlate. The other taps likewise.
down: downsampling factors (y, x).
activation: bytes of two float64 numbers: the slope for negative samples and the bound on the magnitude.
write_mask: if false, the mask is empty.
)doc");

REGISTER_OP("Sg3>FilteredLreluMasked")
    .Input("v: T")
    .Input("mask: uint32")
    .Output("y: T")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("up: list(int)")
    .Attr("up_pad: list(int)")
    .Attr("up_terms: int")
    .Attr("up_taps_y: string")
    .Attr("up_taps_x: string")
    .Attr("down: list(int)")
    .Attr("down_pad: list(int)")
    .Attr("down_terms: int")
    .Attr("down_taps_y: string")
    .Attr("down_taps_x: string")
    .Attr("activation: string")
    .SetShapeFn(infer_masked)
    .Doc(R"doc(
Upsamples v, multiplies by the derivative that the mask of Sg3>FilteredLrelu encodes, and downsamples.

This is that operation's derivative times v or, with its filters exchanged, its transposed derivative times v.

v: [N, H, W, C].
mask: output of Sg3>FilteredLrelu.
y: [N, H', W', C].
down_pad: samples added around the product; the other attributes are those of Sg3>FilteredLrelu.
)doc");

}  // namespace
}  // namespace sg3
