"""The predictions of paper §5, which have no free parameter: trajectories, laws, test error, components."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...datasets import circle
from ...limit import sigma_inf, theta_inf
from ...regression import Law, LeastSquaresFlow
from ...study.settings import NetworkConfig
from .settings import CircleConfig, FewConfig, Prediction

REFERENCES = ("theta", "sigma", "deeper")
"""Kernels in the closed form: Θ_∞⁽ᴸ⁾ and, for controls, Σ⁽ᴸ⁾ (only the last layer is trained), Θ_∞⁽ᴸ⁺¹⁾ with Σ⁽ᴸ⁺¹⁾."""
RIDGE_DECADES = tuple(np.linspace(-2, -8, 13).tolist())
"""log₁₀ of the ridges, in units of N times the smallest rate."""
GRID = 121
"""Number of times at which the test error is predicted, and number of angles of the drawn curves."""


def target(angles: Tensor, concentration: float) -> Tensor:
    """f*(γ) = exp(c·(cos γ − 1)), (M, 1). Its Fourier coefficients are all positive and fall with the frequency."""
    return torch.exp(concentration * (angles.double().cos() - 1))[:, None]


@dataclass(frozen=True)
class Regression:
    """Regression of f* on N points of the circle, listed first, with the limit kernels at these points and others."""

    angles: Tensor
    n: int
    concentration: float
    network: NetworkConfig

    @classmethod
    def on_circle(cls, setting: CircleConfig, network: NetworkConfig) -> "Regression":
        """Equispaced data, and equispaced test points between them."""
        data = torch.arange(setting.n_samples, dtype=torch.float64) * (2 * math.pi / setting.n_samples) - math.pi
        test = (torch.arange(setting.n_test) + 0.5).double() * (2 * math.pi / setting.n_test) - math.pi
        return cls(torch.cat([data, test]), len(data), setting.concentration, network)

    @classmethod
    def on_few(
        cls, setting: FewConfig, concentration: float, network: NetworkConfig, others: Sequence[float] | None = None
    ) -> "Regression":
        """The few data, then the probes (or other points)."""
        others = setting.probes if others is None else others
        return cls(torch.tensor([*setting.angles, *others]).double(), len(setting.angles), concentration, network)

    @property
    def x(self) -> Tensor:
        """All points, (N + M, 2)."""
        return circle(self.angles)

    @property
    def target(self) -> Tensor:
        """f* at all points, (N + M, 1)."""
        return target(self.angles, self.concentration)

    def kernel(self, reference: str) -> Tensor:
        """The limit kernel on all points."""
        if reference == "sigma":
            return self.sigma()
        depth = self.network.depth + (reference == "deeper")
        return theta_inf(self.x, depth=depth, nonlinearity=self.network.nonlinearity, beta=self.network.beta)

    def sigma(self, reference: str = "theta") -> Tensor:
        """The covariance of f_0 on all points: Σ⁽ᴸ⁾, or Σ⁽ᴸ⁺¹⁾ for ``deeper``."""
        depth = self.network.depth + (reference == "deeper")
        return sigma_inf(self.x, depth=depth, nonlinearity=self.network.nonlinearity, beta=self.network.beta)

    def flow(self, reference: str, labels: Tensor | None = None) -> LeastSquaresFlow:
        """The flow towards f* or other labels (N, 1)."""
        return LeastSquaresFlow(
            self.kernel(reference)[:, : self.n], self.target[: self.n] if labels is None else labels
        )

    def modes(self, count: int) -> Tensor:
        """An orthonormal basis (‖·‖_{p^in} = 1) of each eigenspace on equispaced data: (count, 2, N).

        The functions are 1 and, for k ≥ 1, √2 cos kγ and √2 sin kγ: eigenfunctions of every kernel that is invariant
        under rotations of the circle. The second function for k = 0 is 0.
        """
        waves = torch.arange(count)[:, None] * self.angles[: self.n]
        basis = math.sqrt(2) * torch.stack([waves.cos(), waves.sin()], dim=1)
        basis[0, 0] = 1
        return basis

    def rates(self, reference: str, count: int) -> np.ndarray:
        """λ_k = ⟨f⁽ᵏ⁾, Πf⁽ᵏ⁾⟩_{p^in} for the first modes, (count,)."""
        waves = self.modes(count)[:, 0]
        kernel = self.kernel(reference)[: self.n, : self.n]
        return np.asarray((waves @ kernel * waves).sum(dim=1) / self.n**2)

    def expected_error(self, reference: str, noise: float, times: Sequence[float]) -> np.ndarray:
        """E‖f_t − f*‖² off the data, (times,): the mean over initializations and over white label noise of sd s.

        f_t = A f_0 + B(f* + ε): (E f_t − f*)² + diag(A Σ Aᵀ + s² B Bᵀ), averaged over the points.
        """
        flow, sigma, errors = self.flow(reference), self.sigma(reference), []
        for t in times:
            law = flow.law(t, sigma)
            response = -flow.propagator(t)[self.n :, : self.n]
            bias = (law.mean - self.target)[self.n :, 0].square()
            variance = law.covariance.diagonal()[self.n :] + noise**2 * response.square().sum(dim=1)
            errors.append(float((bias + variance).mean()))
        return np.array(errors)

    def laws(self, reference: str, times: Sequence[float]) -> list[Law]:
        """The Gaussian law of f_t at all points and each time."""
        flow, sigma = self.flow(reference), self.sigma(reference)
        return [flow.law(t, sigma) for t in times]


def ridge_distances(
    regression: Regression, labels: Tensor, f_0: Tensor, decades: Sequence[float]
) -> dict[str, np.ndarray]:
    """‖ridge(ρ) − f_∞‖/‖f_∞‖ over all points, with ρ = 10^decade·Nλ_min.

    Cases: f_∞ from f_0 = 0 (limit); f_∞ from another f_0 (start); ridge regression with Σ (sigma).
    """
    flow, other = regression.flow("theta", labels), regression.flow("sigma", labels)
    rho = [10.0**decade * regression.n * float(flow.rates[-1]) for decade in decades]
    end, started = flow.f(math.inf, torch.zeros_like(f_0)), flow.f(math.inf, f_0)
    return {
        "limit": np.array([float((flow.ridge(r) - end).norm() / end.norm()) for r in rho]),
        "start": np.array([float((flow.ridge(r) - started).norm() / end.norm()) for r in rho]),
        "sigma": np.array([float((other.ridge(r) - end).norm() / end.norm()) for r in rho]),
    }


def infinity_gaps(regression: Regression, labels: Tensor, f_0: Tensor) -> tuple[dict[str, list[float]], list[float]]:
    """Relative distances of f_∞ off the data to two other formulas (remainder, MAP), and their bounds by rounding.

    remainder: κᵀK̃⁻¹y + (f_0 − κᵀK̃⁻¹f_0), by a linear solver; MAP: the mode of N(0, K) on all points given y, that is,
    −P_{oo}⁻¹P_{od}y with the precision P = K⁻¹. Cases: K = Θ_∞ (limit); the formulas without the terms in f_0, though
    f_0 ≠ 0 (start); K = Σ (sigma).
    """
    n, flow = regression.n, regression.flow("theta", labels)
    ends = {"limit": (flow.f(math.inf, f_0), flow.f(math.inf, torch.zeros_like(f_0)))}
    ends["start"], ends["sigma"] = (ends["limit"][0],) * 2, ends["limit"]
    gaps, bounds = {}, [0.0, 0.0]
    for case, (started, from_zero) in ends.items():
        kernel = regression.kernel("sigma" if case == "sigma" else "theta")
        difference = labels - (0.0 if case == "start" else f_0[:n])
        remainder = kernel[n:, :n] @ torch.linalg.solve(kernel[:n, :n], difference)
        if case != "start":
            remainder = remainder + f_0[n:]
        precision = torch.linalg.inv(kernel)
        mode = -torch.linalg.solve(precision[n:, n:], precision[n:, :n] @ labels)
        pairs = ((started, remainder), (from_zero, mode))
        gaps[case] = [float((f[n:] - route).norm() / f[n:].norm()) for f, route in pairs]
        if case == "limit":
            conditions = [float(torch.linalg.cond(matrix)) for matrix in (kernel[:n, :n], kernel)]
            bounds = [len(kernel) * 2.2e-16 * condition for condition in conditions]
    return gaps, bounds


def predict(setting: Prediction, stream: torch.Generator) -> xr.Dataset:
    """The predictions of §5. The stream draws one example of noisy labels and of f_0.

    rates (reference, mode): λ_k; predicted, predicted_clean (reference, s): the expected test error with and without
    noise; law_mean, law_covariance (reference, time, point, …): the law on the few points; circle_mean, circle_sd
    (time, gamma): the law along the circle; variance (base, direction): λ_i of Σ and, for the control, of Θ_∞ on the
    few points; ridge (case, decade), gap (case, route), gap_bound (route): see ``ridge_distances``, ``infinity_gaps``;
    example_labels (datum): the labels of the example; example (curve, gamma): f*, and the fits to these labels from
    f_0 = 0 at the best time and at t = ∞.
    """
    network = setting.network
    regression = Regression.on_circle(setting.circle, network)
    noise = torch.randn(regression.n, 1, generator=stream, dtype=torch.float64)
    labels = regression.target[: regression.n] + setting.circle.noise * noise
    root = torch.linalg.cholesky(regression.sigma())
    f_0 = root @ torch.randn(len(root), 1, generator=stream, dtype=torch.float64)
    ridges = ridge_distances(regression, labels, f_0, RIDGE_DECADES)
    gaps, bounds = infinity_gaps(regression, labels, f_0)
    errors = _errors(setting, regression)
    best = float(errors.s[errors.predicted.sel(reference="theta").argmin("s")])
    ends = xr.Dataset(
        {
            "ridge": (("case", "decade"), list(ridges.values())),
            "gap": (("case", "route"), [gaps[case] for case in ridges]),
            "gap_bound": ("route", bounds),
        },
        coords={"case": list(ridges), "decade": list(RIDGE_DECADES), "route": ["remainder", "MAP"]},
    )
    gamma = np.linspace(-math.pi, math.pi, GRID)
    described = [errors, _laws(setting, gamma), ends, _example(regression, labels, best, gamma)]
    return xr.merge(described, join="exact")


def _errors(setting: Prediction, regression: Regression) -> xr.Dataset:
    noise, modes = setting.circle.noise, setting.circle.modes
    s = np.geomspace(setting.training.first, setting.training.t, GRID)
    predicted = [regression.expected_error(reference, noise, s.tolist()) for reference in REFERENCES]
    return xr.Dataset(
        {
            "rates": (("reference", "mode"), [regression.rates(reference, modes) for reference in REFERENCES]),
            "predicted": (("reference", "s"), predicted),
            "predicted_clean": ("s", regression.expected_error("theta", 0.0, s.tolist())),
        },
        coords={"reference": list(REFERENCES), "mode": np.arange(modes), "s": s},
    )


def _laws(setting: Prediction, gamma: np.ndarray) -> xr.Dataset:
    few, concentration, network = setting.few, setting.circle.concentration, setting.network
    regression, n, bases = Regression.on_few(few, concentration, network), len(few.angles), ("sigma", "theta")
    laws = [regression.laws(reference, few.times) for reference in REFERENCES]
    along = Regression.on_few(few, concentration, network, others=gamma.tolist()).laws("theta", few.times)
    means = [[law.mean[:, 0].numpy() for law in at_times] for at_times in laws]
    covariances = [[law.covariance.numpy() for law in at_times] for at_times in laws]
    return xr.Dataset(
        {
            "law_mean": (("reference", "time", "point"), means),
            "law_covariance": (("reference", "time", "point", "point2"), covariances),
            "circle_mean": (("time", "gamma"), [law.mean[n:, 0].numpy() for law in along]),
            "circle_sd": (("time", "gamma"), [law.sd[n:, 0].numpy() for law in along]),
            "variance": (("base", "direction"), [regression.flow(base).rates.numpy() for base in bases]),
        },
        coords={"reference": list(REFERENCES), "time": few.times, "gamma": gamma, "base": list(bases)},
    )


def _example(regression: Regression, labels: Tensor, stopped: float, gamma: np.ndarray) -> xr.Dataset:
    n, data = regression.n, regression.angles[: regression.n]
    along = Regression(torch.cat([data, torch.tensor(gamma)]), n, regression.concentration, regression.network)
    flow, zero = along.flow("theta", labels), torch.zeros(len(along.angles), 1, dtype=torch.float64)
    curves = {"target": along.target, "stopped": flow.f(stopped, zero), "infinity": flow.f(math.inf, zero)}
    return xr.Dataset(
        {
            "example": (("curve", "gamma"), [curve[n:, 0].numpy() for curve in curves.values()]),
            "example_labels": ("datum", labels[:, 0].numpy()),
        },
        coords={"curve": list(curves), "gamma": gamma, "datum": data.numpy()},
    )
