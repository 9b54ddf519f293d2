"""Power-function averages against integrals, sums and averages that are tracked directly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf

from sg3tf.models import power_ema
from sg3tf.models.power_ema import Average


def weighting(average: Average, time: float) -> float:
    gamma = power_ema.exponent(average.sigma_rel)
    return (gamma + 1) * time**gamma / average.nimg ** (gamma + 1) if time <= average.nimg else 0.0


def test_exponents_of_the_paper():
    assert power_ema.exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert power_ema.exponent(0.10) == pytest.approx(6.94, abs=0.005)


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.15, 0.28])
def test_relative_width(sigma_rel: float):
    """The weighting's standard deviation over its end, by integration."""
    average = Average(sigma_rel, 3)
    total, mean, square = (
        scipy.integrate.quad(lambda t, n=n: t**n * weighting(average, t), 0, 3, epsabs=1e-12)[0] for n in range(3)
    )
    assert total == pytest.approx(1, abs=1e-9)
    assert np.sqrt(square - mean**2) / 3 == pytest.approx(sigma_rel, rel=1e-6)


@pytest.mark.parametrize("sigma_rel", [0.0, -0.1, 0.3, float("nan")])
def test_width_out_of_range(sigma_rel: float):
    with pytest.raises(ValueError, match=r"must be from 0\.001 to 0\.28"):
        power_ema.exponent(sigma_rel)


def test_steps_add_up_to_the_weighting():
    """After n steps the weights of step k have the integral of the weighting over its images."""
    gamma, batch = power_ema.exponent(0.1), 4
    weights = np.zeros(0)
    for step in range(50):
        share = power_ema.update_weight(gamma, step * batch, batch)
        weights = np.append(weights * (1 - share), share)
    edges = np.arange(51) / 50
    np.testing.assert_allclose(weights, np.diff(edges ** (gamma + 1)), rtol=1e-10)


def test_inner_products():
    a, b = [Average(0.05, 70), Average(0.2, 100)], [Average(0.1, 80), Average(0.28, 30), Average(0.05, 70)]
    found = power_ema.inner_products(a, b)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            end = min(x.nimg, y.nimg)
            expected, _ = scipy.integrate.quad(lambda t, x=x, y=y: weighting(x, t) * weighting(y, t), 0, end)
            assert found[i, j] == pytest.approx(expected, rel=1e-8)


def tracked(trajectory: np.ndarray, sigma_rel: float) -> np.ndarray:
    """The average after every step of a trajectory [steps, D], batch 1."""
    gamma, average, result = power_ema.exponent(sigma_rel), np.zeros(trajectory.shape[1]), []
    for step, weights in enumerate(trajectory):
        average = average + power_ema.update_weight(gamma, step, 1) * (weights - average)
        result.append(average)
    return np.array(result)


def test_combination_equals_a_tracked_average():
    """A stored one exactly; any other as well as the reported error of the weighting says.

    The trajectory is a random walk on top of a drift. By Cauchy and Schwarz a weighting that is off by e in the root
    mean square gives an average that is off by at most e times the norm of the trajectory. The limits are those of
    eight snapshots.
    """
    rng = np.random.default_rng(0)
    trajectory = np.cumsum(rng.normal(0.02, 0.1, [2000, 5]), axis=0)
    times = range(250, 2001, 250)
    stored = {Average(s, t): tracked(trajectory, s)[t - 1] for s in power_ema.TRACKED for t in times}
    averages = list(stored)
    for average, expected in stored.items():
        weights, error = power_ema.combination(averages, average)
        assert error < 1e-6
        np.testing.assert_allclose(weights @ list(stored.values()), expected, rtol=1e-6)
    norm = np.sqrt((trajectory**2).mean(axis=0))
    for sigma_rel, limit in ((0.03, 0.4), (0.08, 0.02), (0.15, 0.1), (0.25, 0.3)):
        wanted = Average(sigma_rel, 2000)
        weights, error = power_ema.combination(averages, wanted)
        assert error < limit
        difference = weights @ list(stored.values()) - tracked(trajectory, sigma_rel)[-1]
        own = np.sqrt(power_ema.inner_products([wanted], [wanted])[0, 0] * 2000)
        assert (np.abs(difference) < error * own * norm + 2e-3 * norm).all()


def test_reported_error_is_that_of_the_weighting():
    stored, wanted = [Average(0.05, 50), Average(0.05, 100), Average(0.1, 100)], Average(0.2, 100)
    weights, error = power_ema.combination(stored, wanted)

    def difference(t: float) -> float:
        return sum(w * weighting(s, t) for w, s in zip(weights, stored, strict=True)) - weighting(wanted, t)

    squared, _ = scipy.integrate.quad(lambda t: difference(t) ** 2, 0, 100, points=[50])
    own, _ = scipy.integrate.quad(lambda t: weighting(wanted, t) ** 2, 0, 100)
    assert error == pytest.approx(np.sqrt(squared / own), rel=1e-6)
    for i in range(3):  # least squares: no other weights of the same sum are better
        moved = weights + 1e-3 * (np.eye(3)[i] - np.eye(3)[i - 1])
        gram, target = power_ema.inner_products(stored, stored), power_ema.inner_products(stored, [wanted])[:, 0]
        assert moved @ gram @ moved - 2 * moved @ target > weights @ gram @ weights - 2 * weights @ target


@pytest.mark.parametrize("sigma_rel", [0.02, 0.08, 0.15, 0.28])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_weights_that_stand_still_keep_their_size(sigma_rel: float, count: int):
    """However few snapshots there are, and however badly they fit."""
    stored = [Average(s, 200_000 * (i + 1)) for i in range(count) for s in power_ema.TRACKED]
    weights, _ = power_ema.combination(stored, Average(sigma_rel, stored[-1].nimg))
    assert weights.sum() == pytest.approx(1, abs=1e-9)


def model(value: float) -> SimpleNamespace:
    return SimpleNamespace(trainable_variables=[tf.Variable([value, 2 * value]), tf.Variable([[value]])])


def test_files(tmp_path: Path):
    for nimg in (1000, 2000):
        power_ema.write(tmp_path / power_ema.file_name(nimg), nimg, {0.05: model(nimg), 0.1: model(-nimg)})
    (tmp_path / "ema-profiles-notes.txt").write_text("not one of them")
    stored = power_ema.stored_averages(tmp_path)
    assert set(stored) == {Average(s, n) for s in (0.05, 0.1) for n in (1000, 2000)}
    target = model(0)
    sources = {stored[Average(0.05, 1000)]: 0.5, stored[Average(0.1, 2000)]: 2.0}
    power_ema.assign_combination(target, sources)
    assert [v.numpy().tolist() for v in target.trainable_variables] == [[-3500, -7000], [[-3500]]]
    other = SimpleNamespace(trainable_variables=[tf.Variable([0.0])])
    with pytest.raises(ValueError, match=r"weight 0 is \(2,\), the network's \(1,\)"):
        power_ema.assign_combination(other, sources)


def test_missing_and_damaged_files(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="train with --posthoc_ema"):
        power_ema.stored_averages(tmp_path)
    (tmp_path / power_ema.file_name(5)).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"ema-profiles-000000005\.npz: cannot be read"):
        power_ema.stored_averages(tmp_path)
