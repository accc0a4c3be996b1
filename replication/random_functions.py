"""The linear model of random functions (paper §3.1): gradient descent on θ is kernel gradient descent.

f_θ^lin = (1/√P) Σ_p θ_p f⁽ᵖ⁾ with f⁽ᵖ⁾ i.i.d. and E[f_k⁽ᵖ⁾(x) f_k'⁽ᵖ⁾(x')] = K_kk'(x, x'). A ``Sampler`` draws
functions f⁽ᵖ⁾; any kernel that has a sampler can be approximated in this way. Functions are drawn on the CPU, so that
they are the same for every device, and evaluated on the device of the points.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from .costs import Cost
from .kernels import Kernel, checked_kernel, principal_components
from .randomness import generator
from .shapes import require_count, require_shape
from .training import DivergenceError

_KEPT = 2**26  # numbers f_k⁽ᵖ⁾(x_i) kept during a descent, 0.5 GB; if there are more, each step draws them again


class Sampler(Protocol):
    """Draws functions f⁽ᵖ⁾: (number, generator) → the map x (M, n_0) ↦ f⁽ᵖ⁾(x), (number, M, n_L), float64."""

    def __call__(self, number: int, generator: torch.Generator, /) -> Callable[[Tensor], Tensor]: ...


def tabulated(kernel: Tensor, n_outputs: int = 1) -> Kernel:
    """The kernel with a given matrix on M points. Its inputs are the indices of the points.

    K(i, j) = the block (i, j) of the matrix, (M n_L, M n_L) (paper §3). x: integers 0 … M − 1, (N,). Raises ValueError
    for a matrix that is not square, finite and symmetric, or an x of another shape.
    """
    kernel = checked_kernel(kernel, n_outputs)
    table = kernel.reshape(-1, n_outputs, len(kernel) // n_outputs, n_outputs)

    def block(x: Tensor, x2: Tensor | None = None, /) -> Tensor:
        x2 = x if x2 is None else x2
        for name, points in (("x", x), ("x2", x2)):
            if points.ndim != 1:
                raise ValueError(f"{name} has shape {tuple(points.shape)}; it has to be (N,), the numbers of points")
        return table[x][:, :, x2].reshape(len(x) * n_outputs, len(x2) * n_outputs)

    return block


def gaussian_functions(kernel: Tensor, n_outputs: int = 1, tolerance: float | None = None) -> Sampler:
    """Gaussian processes of a given covariance on a finite set of M points: the data and any further points.

    (f_k⁽ᵖ⁾(x_i))_ik ∼ N(0, K) (paper §3.1). kernel: the matrix (M n_L, M n_L) of any kernel, e.g. ``theta_inf``; inputs
    of the functions are indices 0 … M − 1 of the points, (N,), as for ``tabulated``. Raises ValueError for a matrix
    that is not square, finite and symmetric, or has an eigenvalue below −tolerance·λ_max (by default M n_L·2.2e-16).
    """
    components = principal_components(kernel.cpu(), n_outputs, tolerance=tolerance)
    functions = components.functions[components.eigenvalues > 0].flatten(1)
    root = components.eigenvalues[: len(functions), None].sqrt() * functions

    def sample(number: int, generator: torch.Generator, /) -> Callable[[Tensor], Tensor]:
        z = torch.randn(number, len(root), generator=generator, dtype=torch.float64)
        values = (z @ root).reshape(number, -1, n_outputs)
        return lambda x: values.to(x.device)[:, x]

    return sample


def rbf(length: float) -> Kernel:
    """The radial kernel K(x, x') = exp(−|x − x'|²/(2·length²)), scalar: (M, n_0), (N, n_0) → (M, N).

    The classical example of paper §3.1, after Rahimi and Recht. Raises ValueError for a length ≤ 0.
    """
    _positive("the length", length)

    def kernel(x: Tensor, x2: Tensor | None = None, /) -> Tensor:
        x, x2 = x.double(), (x if x2 is None else x2).double()
        for name, points in (("x", x), ("x2", x2)):
            _points(name, points, x.shape[-1])
        return torch.exp(-(x[:, None] - x2).square().sum(dim=-1) / (2 * length**2))

    return kernel


def fourier_functions(n_0: int, length: float, n_outputs: int = 1) -> Sampler:
    """Random Fourier features of ``rbf(length)`` ⊗ Id: functions that can be evaluated anywhere.

    f_k(x) = s_k √2 cos(ω·x/length + b), ω ∼ N(0, Id), b uniform on [0, 2π], signs s_k = ±1, independent (paper §3.1,
    after Rahimi and Recht). x is (M, n_0). Raises ValueError for a length ≤ 0, n_0 < 1 or n_L < 1.
    """
    _positive("the length", length)
    require_count("n_0", n_0)
    require_count("n_L", n_outputs)

    def sample(number: int, generator: torch.Generator, /) -> Callable[[Tensor], Tensor]:
        omega = torch.randn(number, n_0, generator=generator, dtype=torch.float64) / length
        b = 2 * math.pi * torch.rand(number, 1, generator=generator, dtype=torch.float64)
        signs = 2 * torch.randint(2, (number, 1, n_outputs), generator=generator).double() - 1

        def functions(x: Tensor) -> Tensor:
            _points("x", x, n_0)
            phases = omega.to(x.device) @ x.double().mT + b.to(x.device)
            return signs.to(x.device) * (math.sqrt(2) * torch.cos(phases))[:, :, None]

        return functions

    return sample


class LinearModel:
    """f_θ^lin = (1/√P) Σ_p θ_p f⁽ᵖ⁾, with P random functions (paper §3.1).

    number: P; key: the name of the random stream, as in ``generator``: the same key draws the same functions; stream:
    makes a generator from a key; an experiment passes the ``stream`` of its cell. The functions are drawn ``block`` at
    a time, and again at each use, so that memory does not limit P. Raises ValueError for P < 1 or block < 1, and for
    functions whose values are not finite or not (…, M, n_L).
    """

    def __init__(
        self,
        sampler: Sampler,
        number: int,
        *key: str | int,
        stream: Callable[..., torch.Generator] = generator,
        block: int = 4096,
    ):
        require_count("P", number)
        require_count("block", block)
        self.sampler, self.number, self.key, self.stream, self.block = sampler, number, key, stream, block

    def initial(self) -> Tensor:
        """θ ∼ N(0, Id), (P,), float64. Given the functions, f_θ^lin then has the covariance K̃."""
        return torch.randn(self.number, generator=self.stream(*self.key, "theta"), dtype=torch.float64)

    def output(self, theta: Tensor, x: Tensor) -> Tensor:
        """f_θ^lin(x): θ (P,), x (M, n_0) → (M, n_L). θ is moved to the device of x.

        Raises ValueError for θ of a wrong shape or not finite.
        """
        return self._output(self._parameters(theta, x.device), self.blocks(x))

    def tangent_kernel(self, x: Tensor, x2: Tensor | None = None, /) -> Tensor:
        """The tangent kernel K̃ = (1/P) Σ_p f⁽ᵖ⁾ ⊗ f⁽ᵖ⁾ (paper §3.1), a ``Kernel``.

        x (M, n_0), x2 (N, n_0) → (M n_L, N n_L), accumulated over blocks of functions. Errors as in the class.
        """
        if x2 is not None:
            require_shape("x2, without its first dimension,", x2.shape[1:], "x, without its first,", x.shape[1:])
        kernel = torch.zeros((), dtype=torch.float64)
        for values in self.blocks(x if x2 is None else torch.cat([x, x2])):
            m = len(x)
            rows = values[:, :m].flatten(1)
            kernel = kernel + rows.mT @ (rows if x2 is None else values[:, m:].flatten(1)) / self.number
        return (kernel + kernel.mT) / 2 if x2 is None else kernel

    def gradient_descent(
        self, theta_0: Tensor, x: Tensor, cost: Cost, learning_rate: float, steps: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """θ ← θ − η ∂_θC(f_θ^lin): yields (θ, f_θ^lin on the data) at the steps 0, 1, …, ``steps``.

        ∂_{θ_p} C = (1/√P) ⟨d|_f, f⁽ᵖ⁾⟩_{p^in} (paper §3.1), so that f moves by −η ∇_K̃ C|_f, on and off the data.
        theta_0: (P,); x: the data, (N, n_0); time is t = η·step. The next step updates the yielded θ in place.
        Raises ValueError for θ or d|_f of a wrong shape or not finite, η ≤ 0 or steps < 1; DivergenceError if f is no
        longer finite.
        """
        _positive("the learning rate", learning_rate)
        require_count("steps", steps)
        theta = self._parameters(theta_0, x.device).clone()
        first = next(self.blocks(x))[0]
        kept = list(self.blocks(x)) if self.number * first.numel() <= _KEPT else None
        f = self._output(theta, kept or self.blocks(x))
        yield theta, f
        for step in range(1, steps + 1):
            d = cost.direction(f) / len(x)
            require_shape("d|_f of the cost", d.shape, "f on the data", f.shape)
            f = torch.zeros_like(f)
            # One pass over the functions updates θ and evaluates f at the new θ.
            parts = torch.split(theta, self.block)
            for part, values in zip(parts, kept or self.blocks(x), strict=True):
                part -= learning_rate / math.sqrt(self.number) * (values.flatten(1) @ d.flatten())
                f += torch.tensordot(part, values, dims=1) / math.sqrt(self.number)
            if not torch.isfinite(f).all():
                raise DivergenceError(f"the learning rate {learning_rate:g} is too large", step * learning_rate)
            yield theta, f

    def blocks(self, x: Tensor) -> Iterator[Tensor]:
        """f⁽ᵖ⁾(x), block after block, each (block, M, n_L)."""
        for index, start in enumerate(range(0, self.number, self.block)):
            number = min(self.block, self.number - start)
            values = self.sampler(number, self.stream(*self.key, "functions", index))(x)
            if values.ndim != 3 or 0 in values.shape or values.shape[:2] != (number, len(x)):
                raise ValueError(f"{number} functions on {len(x)} ≥ 1 points cannot be {tuple(values.shape)}")
            if not torch.isfinite(values).all():
                raise ValueError("the random functions have values that are not finite")
            yield values

    def _output(self, theta: Tensor, blocks: Iterable[Tensor]) -> Tensor:
        parts = zip(torch.split(theta, self.block), blocks, strict=True)
        terms = (torch.tensordot(part, values, dims=1) for part, values in parts)
        return sum(terms, torch.zeros((), dtype=torch.float64)) / math.sqrt(self.number)

    def _parameters(self, theta: Tensor, device: torch.device) -> Tensor:
        if theta.shape != (self.number,) or not torch.isfinite(theta).all():
            raise ValueError(f"θ has to be ({self.number},) and finite, not of shape {tuple(theta.shape)}")
        return theta.to(device, torch.float64)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} has to be finite and > 0, not {value}")


def _points(name: str, x: Tensor, n_0: int) -> None:
    if x.ndim != 2 or x.shape[1] != n_0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; it has to be (M, {n_0})")
