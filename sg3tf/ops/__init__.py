"""Operations on images [N, H, W, C], with gradients of any order."""

from sg3tf.ops.backend import use_backend
from sg3tf.ops.channels import scale_channels, sum_pixels
from sg3tf.ops.filtered_lrelu import filtered_lrelu
from sg3tf.ops.upfirdn2d import upfirdn2d

__all__ = ["filtered_lrelu", "scale_channels", "sum_pixels", "upfirdn2d", "use_backend"]
