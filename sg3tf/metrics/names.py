"""Metric names, for help texts that are printed without TensorFlow; sg3tf.metrics.registry defines the metrics."""

METRIC_NAMES = (
    "swd",
    "kid_scattering",
    "eqt50k_int",
    "eqt50k_frac",
    "eqr50k",
    "fid50k_full",
    "kid50k_full",
    "pr50k3_full",
    "is50k",
    "ppl2_wend",
    "fid50k",
    "kid50k",
    "pr50k3",
    "sfid50k_full",
    "dc50k5_full",
    "ppl_zfull",
    "ppl_wfull",
    "ppl_zend",
    "ppl_wend",
)

#: Metrics that need no detector files: the default of --metrics.
SELF_CONTAINED_METRICS = ("swd", "kid_scattering")
