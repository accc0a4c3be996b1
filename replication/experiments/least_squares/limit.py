"""What paper §5 predicts without any free parameter: trajectories, laws, test error, components."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...datasets import circle, gaussian
from ...kernels import principal_components
from ...limit import sigma_inf, theta_inf
from ...random_functions import rbf
from ...randomness import generator
from ...regression import Law, LeastSquaresFlow
from ...study.settings import NetworkConfig
from .config import CircleConfig, FewConfig, SamplesConfig

REFERENCES = ("theta", "sigma", "deeper")
"""Kernels in the closed form: Θ_∞⁽ᴸ⁾ and, for controls, Σ⁽ᴸ⁾ (only the last layer trained) and Θ_∞⁽ᴸ⁺¹⁾ with Σ⁽ᴸ⁺¹⁾."""
RESOLVED = 1e-10
"""Components with a smaller λ_i/λ_1 have eigenfunctions that are rounding."""


def target(angles: Tensor, concentration: float) -> Tensor:
    """f*(γ) = exp(c·(cos γ − 1)), all of whose Fourier coefficients are positive and fall with frequency: (M, 1)."""
    return torch.exp(concentration * (angles.double().cos() - 1))[:, None]


@dataclass(frozen=True)
class Problem:
    """Points of the circle, the N data first, with the limit kernels there."""

    angles: Tensor
    n: int
    concentration: float
    network: NetworkConfig

    @classmethod
    def on_circle(cls, setting: CircleConfig, network: NetworkConfig) -> "Problem":
        """Equispaced data and test points, none of which is a datum."""
        data = torch.arange(setting.n_samples, dtype=torch.float64) * (2 * math.pi / setting.n_samples) - math.pi
        test = (torch.arange(setting.n_test) + 0.5).double() * (2 * math.pi / setting.n_test) - math.pi
        return cls(torch.cat([data, test]), len(data), setting.concentration, network)

    @classmethod
    def on_few(
        cls, setting: FewConfig, concentration: float, network: NetworkConfig, others: Sequence[float] | None = None
    ) -> "Problem":
        """The few data, then the probes or other points."""
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
        """An orthonormal basis (‖·‖_{p^in} = 1) of each eigenspace of equispaced data: (count, 2, N).

        1 and, for k ≥ 1, √2 cos kγ and √2 sin kγ: eigenfunctions of every kernel that rotations of the circle leave
        alone. The second function of k = 0 is 0.
        """
        waves = torch.arange(count)[:, None] * self.angles[: self.n]
        basis = math.sqrt(2) * torch.stack([waves.cos(), waves.sin()], dim=1)
        basis[0, 0] = 1
        return basis

    def rates(self, reference: str, count: int) -> np.ndarray:
        """λ_k = ⟨f⁽ᵏ⁾, Πf⁽ᵏ⁾⟩_{p^in} of the first modes, (count,)."""
        waves = self.modes(count)[:, 0]
        kernel = self.kernel(reference)[: self.n, : self.n]
        return np.asarray((waves @ kernel * waves).sum(dim=1) / self.n**2)

    def expected_error(self, reference: str, noise: float, times: Sequence[float]) -> np.ndarray:
        """E‖f_t − f*‖² on the points off the data, over initialization and white label noise of sd s: (times,).

        f_t = A f_0 + B(f* + ε): (E f_t − f*)² + diag(A Σ Aᵀ + s² B Bᵀ), averaged over the points.
        """
        flow, sigma, found = self.flow(reference), self.sigma(reference), []
        for t in times:
            law = flow.law(t, sigma)
            response = -flow.propagator(t)[self.n :, : self.n]
            bias = (law.mean - self.target)[self.n :, 0].square()
            variance = law.covariance.diagonal()[self.n :] + noise**2 * response.square().sum(dim=1)
            found.append(float((bias + variance).mean()))
        return np.array(found)

    def laws(self, reference: str, times: Sequence[float]) -> list[Law]:
        """The Gaussian law of f_t at all points and each time."""
        flow, sigma = self.flow(reference), self.sigma(reference)
        return [flow.law(t, sigma) for t in times]


def ridge_distances(problem: Problem, labels: Tensor, f_0: Tensor, decades: Sequence[float]) -> dict[str, np.ndarray]:
    """‖ridge(ρ) − f_∞‖/‖f_∞‖ over all points, ρ = 10^decade·Nλ_min: from f_0 = 0 (limit), from an f_0 (start), Σ's."""
    flow, other = problem.flow("theta", labels), problem.flow("sigma", labels)
    rho = [10.0**decade * problem.n * float(flow.rates[-1]) for decade in decades]
    end, started = flow.f(math.inf, torch.zeros_like(f_0)), flow.f(math.inf, f_0)
    return {
        "limit": np.array([float((flow.ridge(r) - end).norm() / end.norm()) for r in rho]),
        "start": np.array([float((flow.ridge(r) - started).norm() / end.norm()) for r in rho]),
        "sigma": np.array([float((other.ridge(r) - end).norm() / end.norm()) for r in rho]),
    }


def infinity_gaps(problem: Problem, labels: Tensor, f_0: Tensor) -> tuple[dict[str, list[float]], list[float]]:
    """f_∞ off the data by two other routes: relative distances (remainder, MAP) by case, and their rounding bounds.

    remainder: κᵀK̃⁻¹y + (f_0 − κᵀK̃⁻¹f_0), by a linear solver; MAP: the mode of N(0, K) on all points given y, that is
    −P_{oo}⁻¹P_{od}y with the precision P = K⁻¹. Cases: K = Θ_∞ (limit); the remainder left out, f_0 ≠ 0 (start); Σ.
    """
    n, flow = problem.n, problem.flow("theta", labels)
    ends = {"limit": (flow.f(math.inf, f_0), flow.f(math.inf, torch.zeros_like(f_0)))}
    ends["start"], ends["sigma"] = (ends["limit"][0],) * 2, ends["limit"]
    gaps, bounds = {}, [0.0, 0.0]
    for case, (started, from_zero) in ends.items():
        kernel = problem.kernel("sigma" if case == "sigma" else "theta")
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


def sample_components(setting: SamplesConfig, network: NetworkConfig, seed: int) -> dict[str, np.ndarray]:
    """Components of Θ_∞ on inputs x ∼ N(0, I_2): rates λ_i and energies ⟨f⁽ⁱ⁾, ·⟩²_{p^in}, (N,) each.

    signal: of f* = x_1x_2; noise: of white noise of unit variance, × N, averaged over the draws; white: of one more
    draw of white noise, a target without structure, × N.
    """
    stream = generator("least_squares", "sample", setting.n_samples, seed)
    x = gaussian(setting.n_samples, 2, stream)
    kernel = theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta)
    components = principal_components(kernel)
    noise = torch.randn(setting.draws + 1, setting.n_samples, 1, generator=stream, dtype=torch.float64)
    energies = setting.n_samples * components.coefficients(noise).square()
    return {
        "rate": components.eigenvalues.numpy(),
        "signal": components.coefficients(x[:, :1] * x[:, 1:]).square().numpy(),
        "noise": energies[:-1].mean(dim=0).numpy(),
        "white": energies[-1].numpy(),
    }


FAMILIES = ("rbf, interval", "rbf, circle", "NTK, circle", "modulated")
"""Kernels whose eigenfunctions' frequencies are counted; the last is a control."""


def sample_frequencies(setting: SamplesConfig, network: NetworkConfig, seed: int) -> dict[str, np.ndarray]:
    """λ_i/λ_1 and the sign changes of f⁽ⁱ⁾ from one point to the next, for each of ``FAMILIES``: (families, N) each.

    Points uniform on [−π, π], as numbers or on the circle, where the last is next to the first. Both NaN where λ_i is
    not resolved.
    """
    stream = generator("least_squares", "points", setting.n_samples, seed)
    points = (2 * torch.rand(setting.n_samples, generator=stream, dtype=torch.float64) - 1).sort().values * math.pi
    line, x, radial = points[:, None], circle(points), rbf(setting.length)
    kernels = {
        "rbf, interval": radial(line),
        "rbf, circle": radial(x),
        "NTK, circle": theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta),
        "modulated": radial(line) * torch.cos(setting.wave_number * (line - line.mT)),
    }
    rates, changes = [], []
    for name in FAMILIES:
        components = principal_components(kernels[name], tolerance=RESOLVED)
        functions = components.functions[..., 0]
        following = torch.cat([functions[:, 1:], functions[:, :1]], dim=1)
        signs = functions * following < 0
        count = (signs if "circle" in name else signs[:, :-1]).sum(dim=1).double()
        resolved = components.eigenvalues > 0
        rates.append(torch.where(resolved, components.eigenvalues / components.eigenvalues[0], math.nan).numpy())
        changes.append(torch.where(resolved, count, math.nan).numpy())
    return {"family_rate": np.stack(rates), "sign_changes": np.stack(changes)}
