"""Generators of ablations D to H, and their layers; presets and geometry are in ablations."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.models.ablations import AblationConfig, AblationLayerPlan, plan_ablation
from sg3tf.models.base import register_generator
from sg3tf.models.layer_plan import LayerPlan, SynthesisPlan
from sg3tf.models.layers import upsampling_conv
from sg3tf.models.registration import register
from sg3tf.models.stylegan3 import StyleGAN3Generator, SynthesisLayer
from sg3tf.ops import upfirdn2d


def bilinear(num_taps: int) -> NDArray[np.float64] | None:
    """Return the filter for linear interpolation, a triangle with unit gain at zero frequency.

    Args:
        num_taps: twice the resampling factor, or 1. For 2 * 2 taps the filter is [1, 3, 3, 1] / 8.

    Returns:
        float64 [num_taps] (separable), or None for 1 tap.
    """
    if num_taps == 1:
        return None
    taps: NDArray[np.float64] = 1 - np.abs(np.arange(num_taps) + 0.5 - num_taps / 2) / (num_taps / 2)
    return taps / taps.sum()


@register("AblationLayer", saved_as="SynthesisLayer")
class AblationLayer(SynthesisLayer):
    """SynthesisLayer for an AblationLayerPlan.

    Without filtering, the convolution upsamples, and the leaky ReLU is applied on the next layer's grid.

    Examples:
        >>> config = AblationConfig(resolution=16, channel_base=64, channel_max=4, num_layers=6, filtered=False)
        >>> plan = plan_ablation(config).layers[1]
        >>> AblationLayer(plan)(tf.ones([2, plan.in_size, plan.in_size, plan.in_channels]), tf.ones([2, 7])).shape
        TensorShape([2, 24, 24, 4])
    """

    plan_class: ClassVar[type[LayerPlan]] = AblationLayerPlan
    plan: AblationLayerPlan

    def __init__(self, plan: AblationLayerPlan | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(plan, *args, **kwargs)
        if self.plan.bilinear:
            self.up_filter, self.down_filter = bilinear(self.plan.up_taps), bilinear(self.plan.down_taps)

    def _convolve(self, x: tf.Tensor, styles: tf.Tensor, **options: Any) -> tf.Tensor:
        up = self.plan.conv_up
        if up == 1:
            return super()._convolve(x, styles, **options)
        return super()._convolve(x, styles, convolve=partial(upsampling_conv, up=up))

    def _activate(self, y: tf.Tensor) -> tf.Tensor:
        up = self.plan.conv_up
        if up == 1:
            return super()._activate(y)
        y = upfirdn2d(y, self.up_filter, pad=self.plan.padding, gain=up**2)
        return self._filtered_lrelu(y, None, (0, 0, 0, 0))


@register_generator(AblationConfig)
@register("AblationGenerator")
class AblationGenerator(StyleGAN3Generator):
    """Generator of configs D to H.

    Args:
        config: architecture; an AblationConfig, or its dictionary from `get_config`.
        dtype: see BaseGenerator.

    Examples:
        >>> G = AblationGenerator.from_preset("stylegan3-e", resolution=16, channel_base=64, channel_max=4, z_dim=4)
        >>> G(tf.zeros([2, 4])).shape
        TensorShape([2, 16, 16, 3])
    """

    layer_class: ClassVar[type[SynthesisLayer]] = AblationLayer

    def _plan(self) -> SynthesisPlan:
        return plan_ablation(self.config)
