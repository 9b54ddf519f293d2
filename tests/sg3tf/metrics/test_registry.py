"""The table of metrics: inputs and numbers of images as published, one name for each result."""

from __future__ import annotations

from sg3tf.metrics.names import METRIC_NAMES
from sg3tf.metrics.registry import ALL, METRICS, FeatureMetric, PathLengthMetric

#: Of published values: detector and its output, maximum number of real images.
PUBLISHED = {
    "fid50k_full": ("inception", "pool", ALL),
    "kid50k_full": ("inception", "pool", 1_000_000),
    "pr50k3_full": ("vgg16", "features", 200_000),
    "is50k": ("inception", "logits", 0),
    "fid50k": ("inception", "pool", 50_000),
    "kid50k": ("inception", "pool", 50_000),
    "pr50k3": ("vgg16", "features", 50_000),
    "sfid50k_full": ("inception", "spatial", ALL),
    "dc50k5_full": ("vgg16", "features", 200_000),
}
#: Without detector files; by their definitions in docs/metrics.md.
SELF_CONTAINED = {
    "swd": ("laplacian_patches", "patches", ALL),
    "kid_scattering": ("scattering", "coefficients", ALL),
}
PATHS = {
    "ppl2_wend": PathLengthMetric("w", "end", False),
    "ppl_zfull": PathLengthMetric("z", "full", True),
    "ppl_wfull": PathLengthMetric("w", "full", True),
    "ppl_zend": PathLengthMetric("z", "end", True),
    "ppl_wend": PathLengthMetric("w", "end", True),
}


def test_names():
    assert tuple(METRICS) == METRIC_NAMES
    assert set(METRICS) == {"eqt50k_int", "eqt50k_frac", "eqr50k", *PUBLISHED, *PATHS, *SELF_CONTAINED}
    for name, expected in {**PUBLISHED, **SELF_CONTAINED}.items():
        kind = METRICS[name].kind
        assert isinstance(kind, FeatureMetric)
        assert (kind.detector, kind.output, kind.max_real) == expected
    assert {name: METRICS[name].kind for name in PATHS} == PATHS
    for name in ("eqt50k_int", "eqt50k_frac", "eqr50k"):
        assert METRICS[name].unit == "dB"
    assert {name for name, metric in METRICS.items() if metric.num_samples != 50_000} == set(SELF_CONTAINED)
    assert {METRICS[name].num_samples for name in SELF_CONTAINED} == {16_384}
    kinds = {name: metric.kind for name, metric in METRICS.items() if isinstance(metric.kind, FeatureMetric)}
    assert {name for name, kind in kinds.items() if kind.match_num_real} == set(SELF_CONTAINED)


def test_results():
    """No two values have the same name."""
    results = {name: METRICS[name].results for name in METRICS}
    assert len({result for of_one in results.values() for result in of_one}) == sum(map(len, results.values()))
    assert results["pr50k3_full"] == {"pr50k3_full_precision": True, "pr50k3_full_recall": True}
    assert results["is50k"] == {"is50k_mean": True, "is50k_std": None}
    assert results["dc50k5_full"] == {"dc50k5_full_density": True, "dc50k5_full_coverage": True}
    for name in ("fid50k_full", "kid50k", "sfid50k_full", *PATHS, *SELF_CONTAINED):
        assert results[name] == {name: False}
    for name in ("eqt50k_int", "eqt50k_frac", "eqr50k"):
        assert results[name] == {name: True}
