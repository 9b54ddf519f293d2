"""Serving of a trained generator: exports to SavedModel, ONNX and LiteRT, the embedded server, the explorer.

SavedModels and protocols are TensorFlow Serving's, so that a stock server can replace `sg3tf serve` and
`sg3tf.remote.Client` can talk to either.
"""

#: Precisions of an export; bf16 applies to the four highest resolutions (docs/adr/0010).
EXPORT_PRECISIONS = ("fp32", "bf16")

#: First input of an ONNX or LiteRT file: latents, for the whole generator, or style vectors, for the synthesis alone.
FILE_INPUTS = ("z", "ws")

#: Largest `scale` of a request: more than the size of any image, and sums with that size fit in int32.
LARGEST_SCALE = 2**16

#: Storage of the kernels in an ONNX file; it computes in float32 (docs/adr/0038).
ONNX_WEIGHTS = ("fp32", "fp16")
