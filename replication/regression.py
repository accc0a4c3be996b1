"""Least squares in the limit (paper §5): the solution of kernel gradient flow of C = ½‖f − f*‖²_{p^in}, kernel fixed.

Points are listed once, data first: f is (…, N + M, n_L), the N data followed by M ≥ 0 points off the data. Row i n_L +
k of a kernel matrix belongs to output k at point i. All tensors are float64 and on the kernel's device. t runs from
0 to math.inf, and both ends are exact.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from .kernels import checked_kernel, principal_components
from .shapes import require_kernel


@dataclass(frozen=True)
class Law:
    """A Gaussian law of f on points: mean (N + M, n_L), covariance ((N + M) n_L, (N + M) n_L).

    Raises ValueError if the two shapes do not agree.
    """

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        require_kernel(self.covariance.shape, "the mean", self.mean.shape)

    @property
    def sd(self) -> Tensor:
        """The standard deviation of each f_k(x_i), (N + M, n_L)."""
        return self.covariance.diagonal().sqrt().reshape(self.mean.shape)

    def percentile(self, percent: float) -> Tensor:
        """The pointwise percentile mean + sd·Φ⁻¹(percent/100), Φ⁻¹ the exact normal quantile: (N + M, n_L).

        Raises ValueError for a percentage outside (0, 100).
        """
        if not 0 < percent < 100:
            raise ValueError(f"a percentile is between 0 and 100, not {percent}")
        return self.mean + self.sd * NormalDist().inv_cdf(percent / 100)


class LeastSquaresFlow:
    """The flow ∂_t f = −∇_K C|_f of C = ½‖f − f*‖²_{p^in}, on and off the data.

    On the data f_t = f* + e^{−tΠ}(f_0 − f*), Π = K̃/N; off them f_t(x) = f_0(x) − (1/N) κ_xᵀ tφ₁(−tΠ)(f_0 − f*) with
    φ₁(z) = (e^z − 1)/z (paper §5). For C = c‖f − f*‖² pass the time 2c·t.

    kernel: K between all points and the data, ((N + M) n_L, N n_L), data first: the first N n_L columns of a square
    kernel matrix, or ``theta_inf(x, x_train, …)``; target: f* on the data, (N, n_L). Directions with λ_i ≤
    tolerance·λ_max (by default N n_L·2.2e-16, the resolution of float64) count as λ_i = 0. The flow does not move f
    along them, not even at t = ∞: f keeps the component of f_0. Nor do they move f off the data, because κ_x of a
    positive kernel has no such component. No matrix is inverted.

    Raises ValueError for wrong shapes, N = 0, values that are not finite, a kernel that is not symmetric on the data,
    or one with an eigenvalue below −tolerance·λ_max.
    """

    def __init__(self, kernel: Tensor, target: Tensor, *, tolerance: float | None = None):
        if target.ndim != 2 or 0 in target.shape or not torch.isfinite(target).all():
            raise ValueError(f"f* has to be finite and (N, n_L) with N ≥ 1, not of shape {tuple(target.shape)}")
        size, (self.n, self.n_outputs) = target.numel(), target.shape
        if kernel.ndim != 2 or kernel.shape[1] != size or len(kernel) < size or len(kernel) % self.n_outputs:
            raise ValueError(
                f"K between the points and the data has to be ((N + M) n_L, {size}), data first, for f* of shape "
                f"{tuple(target.shape)}, not {tuple(kernel.shape)}"
            )
        if not torch.isfinite(kernel).all():
            raise ValueError("the kernel has values that are not finite")
        self.target = target.detach().to(kernel.device, torch.float64)
        self.components = principal_components(kernel[:size], self.n_outputs, tolerance=tolerance)
        self.rates = self.components.eigenvalues
        self.n_points = len(kernel) // self.n_outputs
        self._vectors = self.components.functions.flatten(1).mT / math.sqrt(self.n)
        # (1/N) κ_xᵀ along each eigenvector, (M n_L, N n_L).
        self._cross = kernel[size:].double() @ self._vectors / self.n

    def f(self, t: float, f_0: Tensor) -> Tensor:
        """f_t at all points (paper §5): f_0 (…, N + M, n_L) → (…, N + M, n_L). Exactly f_0 at t = 0.

        If every λ_i > 0, then at t = ∞ it is exactly f* on the data, and off them
        f_∞(x) = κ_xᵀK̃⁻¹f* + (f_0(x) − κ_xᵀK̃⁻¹f_0).
        Raises ValueError for t < 0, and for f_0 of a wrong shape or not finite.
        """
        decay, gain = self._decay(t), self._gain(t)
        f_0 = self._values(f_0)
        if t == 0:
            return f_0.clone()
        errors = (f_0[..., : self.n, :] - self.target).flatten(-2) @ self._vectors
        on = self.target + ((errors * decay) @ self._vectors.mT).reshape(*f_0.shape[:-2], self.n, self.n_outputs)
        moved = (errors * gain) @ self._cross.mT
        off = f_0[..., self.n :, :] - moved.reshape(*f_0.shape[:-2], -1, self.n_outputs)
        return torch.cat([on, off], dim=-2)

    def coefficients(self, t: float, f_0: Tensor) -> Tensor:
        """⟨f⁽ⁱ⁾, f_t − f*⟩_{p^in} = Δ_i e^{−tλ_i}, Δ_i = ⟨f⁽ⁱ⁾, f_0 − f*⟩_{p^in} (paper §5), λ descending.

        f_0: (…, N + M, n_L), or (…, N, n_L) on the data → (…, N n_L); f⁽ⁱ⁾, λ_i are ``components``. Errors as in ``f``.
        """
        f_0 = self._values(f_0, on_data=True)
        return self.components.coefficients(f_0[..., : self.n, :] - self.target) * self._decay(t)

    def law(self, t: float, sigma: Tensor) -> Law:
        """The Gaussian law of f_t for f_0 ∼ N(0, Σ): f_t is affine in f_0 (paper §5).

        f_t = A f_0 + m with A = ``propagator(t)`` and m = f_t for f_0 = 0. So E f_t = m and Cov f_t = A Σ Aᵀ. If every
        λ_i > 0, the variance on the data is 0 at t = ∞. With K = Σ the law at t = ∞ is the Bayesian posterior.
        sigma: Σ at all points, ((N + M) n_L, (N + M) n_L); for n_L independent outputs pass torch.kron(Σ, Id).
        Raises ValueError for t < 0, and for a Σ of a wrong shape, not finite, not symmetric or not positive (to 1e-6).
        """
        size = self.n_points * self.n_outputs
        if tuple(sigma.shape) != (size, size):
            raise ValueError(f"Σ has to be {(size, size)}, at all points, not {tuple(sigma.shape)}")
        sigma = checked_kernel(sigma.to(self.rates.device), self.n_outputs)
        eigenvalues = torch.linalg.eigvalsh(sigma)
        if eigenvalues[0] < -1e-6 * eigenvalues[-1]:
            raise ValueError(f"Σ is not a covariance: it has the eigenvalue {eigenvalues[0]:.3g}")
        propagator = self.propagator(t)
        covariance = propagator @ sigma @ propagator.mT
        covariance = (covariance + covariance.mT) / 2
        # A variance of 0 may come out below 0 by rounding.
        covariance.diagonal().clamp_(min=0)
        return Law(self.f(t, self.target.new_zeros(self.n_points, self.n_outputs)), covariance)

    def propagator(self, t: float) -> Tensor:
        """The matrix A of f_t = A f_0 + B f*. B is [[Id], [0]] minus the first N n_L columns of A.

        A = [[e^{−tΠ}, 0], [−(1/N) κᵀ tφ₁(−tΠ), Id]] (paper §5), ((N + M) n_L, (N + M) n_L). Raises ValueError for
        t < 0.
        """
        decay, size = self._decay(t), self.target.numel()
        matrix = torch.eye(self.n_points * self.n_outputs, dtype=torch.float64, device=self.rates.device)
        if t > 0:
            matrix[:size, :size] = (self._vectors * decay) @ self._vectors.mT
            matrix[size:, :size] = -(self._cross * self._gain(t)) @ self._vectors.mT
        return matrix

    def ridge(self, rho: float) -> Tensor:
        """Kernel ridge regression κ_xᵀ(K̃ + ρ Id)⁻¹ f*, which minimizes ‖f − f*‖²_{p^in} + (ρ/N)‖f‖²_H: (N + M, n_L).

        It is the maximum a posteriori for f ∼ N(0, K) and labels with noise of variance ρ. ρ = 0 gives its limit, the
        κ_xᵀK̃⁻¹f* of paper §5, which is f_∞ for f_0 = 0. Raises ValueError for ρ < 0 or not finite.
        """
        if not (math.isfinite(rho) and rho >= 0):
            raise ValueError(f"the ridge ρ has to be finite and ≥ 0, not {rho}")
        positive = self.rates > 0
        weights = torch.where(positive, 1 / torch.where(positive, self.rates + rho / self.n, 1.0), 0.0)
        missing = torch.where(positive, weights * rho / self.n, 1.0)
        target = self.target.flatten() @ self._vectors
        on = self.target.flatten() - (target * missing) @ self._vectors.mT
        return torch.cat([on, (target * weights) @ self._cross.mT]).reshape(-1, self.n_outputs)

    def _decay(self, t: float) -> Tensor:
        """e^{−tλ_i}, (N n_L,)."""
        if not t >= 0:
            raise ValueError(f"t has to be ≥ 0, not {t}")
        return torch.where(self.rates > 0, torch.exp(-t * self.rates), 1.0)

    def _gain(self, t: float) -> Tensor:
        """tφ₁(−tλ_i) = (1 − e^{−tλ_i})/λ_i, or 0 where λ_i counts as 0: (N n_L,)."""
        positive = self.rates > 0
        return torch.where(positive, -torch.expm1(-t * self.rates) / torch.where(positive, self.rates, 1.0), 0.0)

    def _values(self, f_0: Tensor, on_data: bool = False) -> Tensor:
        allowed = {self.n_points, self.n} if on_data else {self.n_points}
        shape = tuple(f_0.shape)
        if len(shape) < 2 or shape[-2] not in allowed or shape[-1] != self.n_outputs:
            raise ValueError(f"f_0 has to be (…, {self.n_points}, {self.n_outputs}), data first, not {shape}")
        if not torch.isfinite(f_0).all():
            raise ValueError("f_0 has values that are not finite")
        return f_0.to(self.rates.device, torch.float64)
