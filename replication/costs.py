"""Costs C on function space that depend on f at the data only: value, derivative d|_f, flow at a fixed kernel.

∂_f^in C|_f = ⟨d|_f, ·⟩_{p^in} (paper §3). Outputs f are (N, n_L) in float64, or (S, N, n_L) for an ensemble; kernels
are (N n_L, N n_L), in the layout of ``tangent``. A cost moves its target or labels to the device of f.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .shapes import require_kernel, require_shape

# Systems of more than so many equations are large; if no component decays by more than e^STIFF, they are not stiff.
LARGE = 500
STIFF = 1000


class FrozenFlow(Protocol):
    """(s, m) ↦ w_m(s) = (1/N) ∫₀ˢ s'^m d|_{f(s')} ds' along the flow at a fixed kernel, for m = 0 and 1; shape of f."""

    def __call__(self, s: float, moment: int = 0) -> Tensor: ...


class Cost(ABC):
    """A cost C(f), an average over the data. Any subclass with a value and a direction can be trained on.

    A subclass that compares f with an array of its own raises ValueError where their shapes do not agree.
    """

    @abstractmethod
    def value(self, f: Tensor) -> Tensor:
        """C(f): (N, n_L) → scalar, (S, N, n_L) → (S,)."""

    @abstractmethod
    def direction(self, f: Tensor) -> Tensor:
        """d|_f of the shape of f: ∂_εC(f + εg) = ⟨d|_f, g⟩_{p^in}. Gradient descent trains in the direction −d|_f."""

    def curvature(self) -> float:
        """Upper bound of ∂d/∂f. Kernel gradient descent at rate η is stable if η·λ_max(Θ/N)·curvature < 2."""
        return 1.0

    def hessian(self, f: Tensor) -> Tensor | None:
        """∂d|_f(x)/∂f(x) at each input, (…, N, n_L, n_L), for an implicit integrator; None if it is not known."""
        return None

    def frozen_flow(self, kernel: Tensor, f_0: Tensor, duration: float) -> FrozenFlow:
        """s ↦ w(s) = (1/N) ∫₀ˢ d|_{f(s')} ds' along ∂_s f = −(1/N) K d|_f at a fixed kernel K, for 0 ≤ s ≤ duration.

        Then f(s) = f_0 − K w(s) on the data, and off the data with the cross kernel (paper §3, kernel gradient
        descent). This method integrates ẇ = d|_{f_0 − K w}/N numerically, with relative tolerance 1e-9. Small systems
        go to LSODA. Large ones, for which its Jacobian by differences would take N n_L products with K, go to DOP853 if
        the fastest component decays by less than e^``STIFF``, else to BDF with the cost's own ``hessian``.
        Raises RuntimeError if the integration fails, ValueError if the shapes of kernel, f_0 and d|_f do not agree.
        """
        require_kernel(kernel.shape, "f_0", f_0.shape)
        require_shape("d|_f of the cost", self.direction(f_0).shape, "f_0", f_0.shape)
        from scipy.integrate import solve_ivp  # takes a while, and only costs without a closed form need it

        shape, n = f_0.shape, f_0.shape[-2]

        def output(w: Tensor) -> Tensor:
            return f_0 - (kernel @ w.reshape(*shape[:-2], -1, 1)).reshape(shape)

        def derivative(_: float, w: np.ndarray) -> np.ndarray:
            return (self.direction(output(torch.from_numpy(w).to(f_0).reshape(shape))) / n).flatten().cpu().numpy()

        def jacobian(_: float, w: np.ndarray) -> np.ndarray:
            """−(1/N) H K with H the blocks of ``hessian``."""
            hessian = self.hessian(output(torch.from_numpy(w).to(f_0).reshape(shape)))
            assert hessian is not None
            rows = kernel.reshape(n, shape[-1], -1)
            return (hessian @ rows / -n).reshape(kernel.shape).cpu().numpy()

        method, options = "LSODA", {}
        if f_0.ndim == 2 and f_0.numel() > LARGE:
            fastest = torch.linalg.matrix_norm(kernel, ord=1).item() / n * self.curvature() * duration
            method = "DOP853" if fastest < STIFF else "BDF"
            if method == "BDF" and self.hessian(f_0) is not None:
                options = {"jac": jacobian}
        scale = max(1e-300, self.direction(f_0).abs().max().item() / n * duration)
        start, tolerances = np.zeros(f_0.numel()), {"rtol": 1e-9, "atol": 1e-10 * scale}
        solution = solve_ivp(derivative, (0, duration), start, method, dense_output=True, **tolerances, **options)
        if not solution.success:
            raise RuntimeError(f"the flow at a fixed kernel could not be integrated: {solution.message}")

        def moment_of(s: float, moment: int = 0) -> Tensor:
            integral = solution.sol(s)
            if moment == 1 and s > 0:  # by parts; between two points of the integrator w is a polynomial
                ends = np.append(solution.t[solution.t < s], s)
                half, (nodes, weights) = np.diff(ends)[:, None] / 2, np.polynomial.legendre.leggauss(8)
                points = ends[:-1, None] + half * (1 + nodes)
                integral = s * integral - solution.sol(points.ravel()) @ (half * weights).ravel()
            return torch.tensor(integral).to(f_0).reshape(shape)

        return moment_of


class LeastSquares(Cost):
    """C(f) = factor · ‖f − f*‖²_{p^in}, with d|_f = 2·factor·(f − f*); factor = ½ in the paper (§5).

    target: f* on the data, (N, n_L), or (S, N, n_L) with one for each network of an ensemble. Raises ValueError for
    factor ≤ 0, a wrong shape or a non-finite target, and for an f whose shape does not agree with it.
    """

    def __init__(self, target: Tensor, factor: float = 0.5):
        if not factor > 0:
            raise ValueError(f"the factor of the least-squares cost must be > 0, not {factor}")
        if target.ndim < 2:
            raise ValueError(f"the target f* has shape (N, n_L), not {tuple(target.shape)}")
        if not torch.isfinite(target).all():
            raise ValueError("the target f* is not finite")
        self.target = target.detach().double()
        self.factor = factor

    def value(self, f: Tensor) -> Tensor:
        return self.factor * self._error(f).square().sum(dim=-1).mean(dim=-1)

    def direction(self, f: Tensor) -> Tensor:
        return 2 * self.factor * self._error(f)

    def _error(self, f: Tensor) -> Tensor:
        require_shape("f", f.shape, "the target f*", self.target.shape)
        return f - self.target.to(f.device)

    def curvature(self) -> float:
        return 2 * self.factor

    def frozen_flow(self, kernel: Tensor, f_0: Tensor, duration: float) -> FrozenFlow:
        """The closed form: w(s) = s·(c/N) φ₁(−s c K/N)(f_0 − f*), c = 2·factor, φ₁(z) = (e^z − 1)/z (paper §5)."""
        require_kernel(kernel.shape, "f_0", f_0.shape)
        eigenvalues, eigenvectors = torch.linalg.eigh(kernel)
        rates = 2 * self.factor / f_0.shape[-2] * eigenvalues
        error = self._error(f_0)
        components = 2 * self.factor / f_0.shape[-2] * (eigenvectors.mT @ error.reshape(*error.shape[:-2], -1, 1))

        def w(s: float, moment: int = 0) -> Tensor:
            decay = s ** (moment + 1) * moment_of_decay(rates * s, moment)
            integral: Tensor = eigenvectors @ (decay[..., None] * components)
            return integral.reshape(error.shape)

        return w


class CrossEntropy(Cost):
    """C(f) = E_{p^in}[−log softmax(f(x))_{y(x)}], with d|_f = softmax(f) − onehot(y).

    labels: the classes y, (N,) integers in 0 … n_L − 1. Raises ValueError for n_L < 2, labels that are not integers, of
    another shape or out of range, and for an f that is not (…, N, n_L).
    """

    def __init__(self, labels: Tensor, n_classes: int):
        if labels.ndim != 1 or not len(labels) or labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"labels must be integers (N,) with N ≥ 1, not {labels.dtype} {tuple(labels.shape)}")
        if n_classes < 2 or labels.min() < 0 or labels.max() >= n_classes:
            raise ValueError(f"labels must be in 0 … n_L − 1 with n_L = {n_classes} ≥ 2 classes")
        self.onehot = torch.nn.functional.one_hot(labels.long(), n_classes).double()

    def value(self, f: Tensor) -> Tensor:
        self._require(f)
        per_input = torch.sum(f.log_softmax(dim=-1) * self.onehot.to(f.device), dim=-1)
        return per_input.mean(dim=-1).neg()

    def direction(self, f: Tensor) -> Tensor:
        self._require(f)
        return f.softmax(dim=-1) - self.onehot.to(f.device)

    def hessian(self, f: Tensor) -> Tensor:
        """diag(p) − p pᵀ with p = softmax(f), at each input."""
        p = f.softmax(dim=-1)
        return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]

    def _require(self, f: Tensor) -> None:
        require_shape("f", f.shape, "the labels, one-hot,", self.onehot.shape)


def moment_of_decay(z: Tensor, moment: int) -> Tensor:
    """∫₀¹ uᵐ e^{−zu} du for m = 0 and 1: (1 − e^{−z})/z and (1 − (1 + z)e^{−z})/z², by their series near 0."""
    if moment == 0:
        return torch.where(z.abs() < 1e-12, 1.0, -torch.expm1(-z) / torch.where(z == 0, 1.0, z))
    closed = (-torch.expm1(-z) - z * torch.exp(-z)) / torch.where(z == 0, 1.0, z.square())
    return torch.where(z.abs() < 1e-3, 1 / 2 - z / 3 + z.square() / 8 - z**3 / 30, closed)
