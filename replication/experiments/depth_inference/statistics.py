"""The law of ln λ_1, ln λ_2, ln λ_3 under a hypothesis, and the agreement of given eigenvalues with it.

Two independent sources of spread add up: the random digits of the batch, and the random network of width n that
estimates the kernel. Both are measured on the logarithms, which are about normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

COMPONENTS = 3
OBSERVED = (0.0457, 0.00108, 0.00078)
"""λ_1, λ_2, λ_3 in the paper (§6.3)."""
ROUNDING = (5e-5, 5e-6, 5e-6)
"""Half a unit of their last digits."""


@dataclass(frozen=True)
class Law:
    """The predictive law of ln λ, one for each entry of the leading dimensions: mean (…, 3), covariance (…, 3, 3).

    networks: their number. They give the smaller part of the covariance; the law is Student's t, as if they gave all.
    """

    mean: np.ndarray
    covariance: np.ndarray
    networks: int

    def distance2(self, logs: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance d² of ln λ, (…, 3), from the mean."""
        centred = logs - self.mean
        solved = np.linalg.solve(np.broadcast_to(self.covariance, (*centred.shape, COMPONENTS)), centred[..., None])
        distance2: np.ndarray = (centred * solved[..., 0]).sum(axis=-1)
        return distance2

    def log_density(self, logs: np.ndarray) -> np.ndarray:
        """Logarithm of the density at ln λ, up to a constant that all hypotheses share.

        −½ ln|C| − (m/2) ln(1 + d²/(m − 1)) for m networks: the predictive density of a normal law of unknown mean and
        covariance. Its tails are powers, so that a large distance counts only as much as a sample of m can show.
        """
        m = self.networks
        determinant = np.linalg.slogdet(self.covariance)[1]
        density: np.ndarray = -determinant / 2 - m / 2 * np.log1p(self.distance2(logs) / (m - 1))
        return density

    def critical(self, level: float) -> float:
        """The d² that a draw from the law exceeds with probability 1 − level (Hotelling's law)."""
        m, p = self.networks, COMPONENTS
        return float(stats.f.ppf(level, p, m - p) * p * (m - 1) / (m - p))

    def p_value(self, logs: np.ndarray) -> np.ndarray:
        """The probability that a draw from the law has a larger d² than ln λ."""
        m, p = self.networks, COMPONENTS
        probability: np.ndarray = stats.f.sf(self.distance2(logs) * (m - p) / (p * (m - 1)), p, m - p)
        return probability


def law(
    limits: np.ndarray,
    deviations: np.ndarray,
    widths: np.ndarray,
    width: float,
    rounding: np.ndarray | None = None,
    sampled: float | None = None,
) -> Law:
    """The law of ln λ of one network of a given width on a new batch.

    mean = E[ln λ_∞] + a/n, covariance = C_digits + C/n + rounding²/3 (rounding: relative half-widths, (3,)).

    limits: ln λ_∞ of each batch, (batches, …, 3); deviations: ln λ_n − ln λ_∞ on the same batch, (seeds, widths, …, 3).
    sampled: the fraction f of the source's digits that are in a batch, if the new batch comes from another source.
    C_digits is then the covariance of the batches × (1 + f)/(1 − f), because batches of one source share digits and the
    source itself is a sample. Without it, the new batch comes from the same source.
    """
    bias, spread = finite_width(deviations, widths)
    factor = 1 + 1 / len(limits) if sampled is None else (1 + sampled) / (1 - sampled)
    covariance = factor * covariances(limits) + spread / width
    if rounding is not None:
        covariance = covariance + np.diag(rounding**2 / 3)
    return Law(limits.mean(axis=0) + bias / width, covariance, deviations.shape[0] * deviations.shape[1])


def finite_width(deviations: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a and C in E[ln λ_n − ln λ_∞] = a/n and Cov = C/n, by least squares over the widths: (…, 3) and (…, 3, 3)."""
    seeds, n = len(deviations), widths.reshape(-1, *[1] * (deviations.ndim - 2)).astype(float)
    bias = deviations.sum(axis=(0, 1)) / (seeds * (1 / widths).sum())
    residuals = (deviations - bias / n) * np.sqrt(n)
    return bias, np.einsum("sw...i,sw...j->...ij", residuals, residuals) / (seeds * len(widths) - 1)


def covariances(samples: np.ndarray) -> np.ndarray:
    """Covariance of the components, (samples, …, 3) → (…, 3, 3)."""
    centred = samples - samples.mean(axis=0)
    covariance: np.ndarray = np.einsum("b...i,b...j->...ij", centred, centred) / (len(samples) - 1)
    return covariance


@dataclass(frozen=True)
class Samples:
    """The samples from which laws are estimated.

    groups: ln λ_∞ of each batch, (batches, …, 3), and ln λ_n − ln λ_∞ of each network on its own batch, (seeds, widths,
    …, 3), where … stands for all hypotheses or for the depths; widths: the widths of the networks.
    """

    groups: tuple[np.ndarray, np.ndarray]
    widths: np.ndarray

    def at_depth(self, index: int) -> Samples:
        """The samples of one depth, if these are samples at the reference's scaling and nonlinearity."""
        limits, deviations = self.groups
        return Samples((limits[:, index], deviations[:, :, index]), self.widths)


def every_hypothesis(dataset: xr.Dataset) -> Samples:
    """The samples of all hypotheses: … = (depth, scaling, nonlinearity)."""
    limits, networks = _logs(dataset.limit), _logs(dataset.network)
    deviations = networks - limits[: len(networks)]
    return Samples((limits, deviations[:, None]), np.array([dataset.attrs["network_width"]]))


def reference_samples(dataset: xr.Dataset) -> Samples:
    """The larger samples at the reference's scaling and nonlinearity: … = (depth,)."""
    limits, networks = _logs(dataset.reference_limit), _logs(dataset.reference_network)
    return Samples((limits, networks - limits[: len(networks), None]), dataset.width.values)


def _logs(eigenvalues: xr.DataArray) -> np.ndarray:
    logs: np.ndarray = np.log(eigenvalues.values.astype(float))
    return logs


def reference_index(dataset: xr.Dataset) -> tuple[int, int, int]:
    """Indices of the reference along depth, scaling and nonlinearity."""
    reference = dataset.attrs["reference"]
    depth, scaling, sigma = (list(dataset[name].values).index(reference[name]) for name in reference)
    return depth, scaling, sigma


def log_odds(densities: np.ndarray, axis: int, index: int) -> float:
    """ln of the odds of one value of a property against the most likely other one, with equal prior probabilities."""
    others = tuple(i for i in range(densities.ndim) if i != axis)
    evidence = logsumexp(densities, axis=others) if others else densities
    rivals = np.delete(evidence, index)
    return float(evidence[index] - rivals.max()) if len(rivals) else float("nan")


def paper_law(dataset: xr.Dataset, groups: Sequence[np.ndarray], widths: np.ndarray, width: float = 0) -> Law:
    """The law of the paper's eigenvalues, from ``Samples``. width: that of the network, by default the paper's."""
    rounding = dataset.rounding.values / dataset.observed.values
    sampled = dataset.attrs["n_samples"] / dataset.attrs["source_size"]
    limits, deviations = groups
    return law(limits, deviations, widths, width or dataset.attrs["paper_width"], rounding, sampled)


def held_out_law(dataset: xr.Dataset) -> Law:
    """The law of the held-out networks' eigenvalues at every depth, at the reference's scaling and nonlinearity."""
    samples = reference_samples(dataset)
    return law(*samples.groups, samples.widths, dataset.attrs["held_out_width"])


def recovered(dataset: xr.Dataset) -> np.ndarray:
    """ln odds of the true depth of each held-out network against the most likely other depth: (sample, depth)."""
    densities = held_out_law(dataset).log_density(_logs(dataset.held_out)[:, :, None])  # (sample, true depth, depth)
    depths = range(densities.shape[-1])
    return np.array([[log_odds(row[true], 0, true) for true in depths] for row in densities])


def networks_of(dataset: xr.Dataset) -> dict[int, np.ndarray]:
    """Width → ln λ_n − ln λ_∞ of the networks of the reference's scaling and nonlinearity, (seeds, depth, 3)."""
    samples = reference_samples(dataset)
    networks = {int(width): samples.groups[1][:, i] for i, width in enumerate(samples.widths)}
    held_out = {dataset.attrs["held_out_width"]: _logs(dataset.held_out) - _logs(dataset.held_out_limit)}
    return dict(sorted((networks | held_out).items()))


def spread(deviations: np.ndarray) -> float:
    """sd of ln λ_n − ln λ_∞ over networks, rms over depths and components."""
    return float(np.sqrt(deviations.var(axis=0, ddof=1).mean()))


def rms_bias(deviations: np.ndarray) -> float:
    """E[ln λ_n − ln λ_∞], rms over depths and components, less the mean contribution of noise to its square."""
    square = np.square(deviations.mean(axis=0)) - deviations.var(axis=0, ddof=1) / len(deviations)
    return float(np.sqrt(max(square.mean(), 1e-12)))
