"""A multi-dimensional kernel seen through the data: scalar products, Φ_K, kernel gradient, Π, principal components.

p^in is the uniform distribution on the data x_1 … x_N. A function is given by its values there, (…, N, n_L) with any
leading dimensions, and a kernel by its matrix K̃, (N n_L, N n_L), float64, with row i n_L + k for output k at x_i.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from .costs import Cost
from .randomness import generator

_ASYMMETRY = 1e-6  # relative to the largest entry: a kernel of a float32 network is symmetric to about 1e-7
_SWEEP = 8  # steps of power iteration between two diagonalizations


class Kernel(Protocol):
    """A multi-dimensional kernel: x (M, n_0), x2 (N, n_0) → the matrix of the K(x_i, x2_j), (M n_L, N n_L), float64.

    K(x, x') = K(x', x)ᵀ (paper §3), and K(x) means K(x, x). Two examples: the limit,
    ``partial(theta_inf, depth=4, nonlinearity="relu", beta=0.1)``, and a network's, ``partial(tangent_kernel,
    network)``.
    """

    def __call__(self, x: Tensor, x2: Tensor | None = None, /) -> Tensor: ...


def tensor_identity(kernel: Kernel, n_outputs: int) -> Kernel:
    """K ⊗ Id_{n_L} for a scalar kernel K: the outputs do not interact (Theorem 1). On a matrix: torch.kron(K, Id)."""
    if n_outputs < 1:
        raise ValueError(f"the number of outputs must be ≥ 1, not {n_outputs}")
    identity = torch.eye(n_outputs, dtype=torch.float64)
    return lambda x, x2=None: torch.kron(kernel(x) if x2 is None else kernel(x, x2), identity.to(x.device))


def inner(f: Tensor, g: Tensor) -> Tensor:
    """⟨f, g⟩_{p^in} = E_x[f(x)ᵀ g(x)] (paper §3): values on the data, (…, N, n_L) twice → (…).

    Raises ValueError for values that are not finite, N = 0, or two shapes that do not agree.
    """
    f, g = _values("f", f), _values("g", g, f.shape[-2:])
    return (f * g).sum(dim=-1).mean(dim=-1)


def norm(f: Tensor) -> Tensor:
    """The semi-norm ‖f‖_{p^in} = ⟨f, f⟩^½ (paper §3): (…, N, n_L) → (…). Errors as in ``inner``."""
    return inner(f, f).sqrt()


@dataclass(frozen=True)
class PrincipalComponents:
    """Kernel principal components: Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾, ‖f⁽ⁱ⁾‖_{p^in} = 1, λ_1 ≥ λ_2 ≥ … ≥ 0 (paper §5).

    eigenvalues: λ_i, (m,), rates in 1/time; functions: f⁽ⁱ⁾ on the data, (m, N, n_L). Signs are fixed: in each f⁽ⁱ⁾ the
    largest entry in size is positive, and of entries that tie to 1e-6 the first one. Within an eigenspace of several
    dimensions the basis is arbitrary.
    """

    eigenvalues: Tensor
    functions: Tensor

    def coefficients(self, f: Tensor) -> Tensor:
        """⟨f⁽ⁱ⁾, f⟩_{p^in}: (…, N, n_L) → (…, m)."""
        return inner(_values("f", f).unsqueeze(-3), self.functions)


class KernelOnData:
    """A kernel K with data x_1 … x_N, and what the paper's §3 and §5 build from the two.

    kernel: scalar or with n_L outputs; x: (N, n_0). Raises ValueError for N = 0 or inputs that are not finite. K̃ is
    computed when it is first needed; that raises ValueError if it has a wrong shape, is not finite or not symmetric.
    """

    def __init__(self, kernel: Kernel, x: Tensor):
        if x.ndim < 1 or 0 in x.shape or not torch.isfinite(x).all():
            raise ValueError(f"the data must be finite and (N, n_0) with N ≥ 1, not of shape {tuple(x.shape)}")
        self.kernel, self.x, self.n = kernel, x, len(x)
        self.n_outputs = len(kernel(x[:1]))
        self.size = self.n * self.n_outputs

    @cached_property
    def matrix(self) -> Tensor:
        """K̃, (N n_L, N n_L)."""
        return checked_kernel(_values("K", self.kernel(self.x), (self.size, self.size)), self.n_outputs)

    def inner(self, f: Tensor, g: Tensor) -> Tensor:
        """⟨f, g⟩_K = E_{x,x'}[f(x)ᵀ K(x, x') g(x')] (paper §3): ‖f‖_K² = ⟨f, f⟩_K. Shapes as in ``inner``."""
        return inner(f, self.phi(g))

    def phi(self, d: Tensor, x: Tensor | None = None) -> Tensor:
        """Φ_K(⟨d, ·⟩_{p^in}) = (1/N) Σ_j K(·, x_j) d(x_j), that is f_k(x) = ⟨d, K_{k,·}(x, ·)⟩_{p^in} (paper §3).

        d: on the data, (…, N, n_L). Returns (…, N, n_L) on the data, or (…, M, n_L) at given points x, (M, n_0): there
        K is evaluated in blocks of rows, and K̃ is not formed. Raises ValueError for wrong shapes or values that are not
        finite.
        """
        d = _values("d", d, (self.n, self.n_outputs))
        if x is None:
            return _act(self.matrix, d) / self.n
        parts = []
        for points in torch.split(x, 1024):  # bounds the memory
            rows = _values("K(x, x_j)", self.kernel(points, self.x), (len(points) * self.n_outputs, self.size))
            parts.append(_act(rows, d))
        return torch.cat(parts, dim=-2) / self.n

    pi = phi  # Πf = Φ_K(⟨f, ·⟩_{p^in}) (paper §5), on the data the matrix K̃/N

    def gradient(self, cost: Cost, f: Tensor, x: Tensor | None = None) -> Tensor:
        """The kernel gradient ∇_K C|_f(x) = (1/N) Σ_j K(x, x_j) d|_f(x_j) (paper §3).

        f: on the data, (…, N, n_L); shapes and errors as in ``phi``. Along ∂_t f = −∇_K C|_f, ∂_t C = −‖d|_f‖²_K.
        """
        return self.phi(cost.direction(_values("f", f, (self.n, self.n_outputs))), x)

    @cached_property
    def spectrum(self) -> Tensor:
        """The N n_L eigenvalues of K̃/N, descending (paper §5). Negative ones are returned as they are."""
        return _descending(self.matrix / self.n)[0]

    def is_positive_definite(self, tolerance: float | None = None) -> bool:
        """Whether ‖f‖_{p^in} > 0 ⇒ ‖f‖_K > 0 (paper §3): λ_min(Π) > tolerance·λ_max(Π) on the functions on the data.

        tolerance: by default N n_L·2.2e-16, below which float64 cannot tell λ_min from 0. Pass about 1e-6 for a kernel
        that is known to float32 only. An input that occurs twice makes K̃ singular, but not K: a function takes one
        value there.
        """
        dimension = len(torch.unique(self.x, dim=0)) * self.n_outputs
        zero = _resolution(self.spectrum, tolerance)
        return bool(self.spectrum[dimension - 1] > zero and self.spectrum[-1] >= -zero)

    def extend(self, components: PrincipalComponents, x: Tensor) -> Tensor:
        """f⁽ⁱ⁾(x) = (1/(λ_i N)) Σ_j K(x, x_j) f⁽ⁱ⁾(x_j), from Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾ (paper §5): x (M, n_0) → (m, M, n_L).

        Raises ValueError if a λ_i is 0: then Π does not determine f⁽ⁱ⁾ off the data.
        """
        if not (components.eigenvalues > 0).all():
            raise ValueError("only components with λ_i > 0 extend off the data: compute fewer components")
        return self.phi(components.functions, x) / components.eigenvalues[:, None, None]


def principal_components(
    kernel: Tensor, n_outputs: int = 1, count: int | None = None, tolerance: float | None = None
) -> PrincipalComponents:
    """The ``count`` largest (by default all N n_L) kernel principal components, by diagonalizing K̃/N.

    (K̃/N) f⁽ⁱ⁾ = λ_i f⁽ⁱ⁾ (paper §5). kernel: K̃, (N n_L, N n_L). Eigenvalues of at most tolerance·λ_max are returned as
    exactly 0; the tolerance is by default N n_L·2.2e-16. Raises ValueError if the matrix is not square, finite and
    symmetric, if it has an eigenvalue below −tolerance·λ_max, or for a count outside 1 … N n_L.
    """
    kernel = checked_kernel(kernel, n_outputs)
    if count is not None and not 1 <= count <= len(kernel):
        raise ValueError(f"the number of principal components must be in 1 … {len(kernel)}, not {count}")
    n = len(kernel) // n_outputs
    eigenvalues, vectors = _descending(kernel / n)
    if eigenvalues[-1] < -(zero := _resolution(eigenvalues, tolerance)):
        raise ValueError(f"the kernel is not positive: an eigenvalue of K/N is {eigenvalues[-1]:.3g} < −{zero:.1g}")
    eigenvalues = torch.where(eigenvalues > zero, eigenvalues, 0.0)
    return PrincipalComponents(eigenvalues[:count], _signed(vectors.mT[:count] * n**0.5).reshape(-1, n, n_outputs))


def power_iteration(
    pi: Callable[[Tensor], Tensor],
    shape: tuple[int, int],
    count: int,
    tolerance: float = 1e-8,
    limit: int = 10_000,
    stream: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> PrincipalComponents:
    """The ``count`` largest kernel principal components from products with Π alone, one after the other.

    v ← Πv, made orthogonal to the earlier components (deflation), until ‖Πv − λv‖_{p^in} ≤ tolerance·λ (paper §6.3).
    Every few steps Π is diagonalized on the span of v and the earlier components. Without this, an error of relative
    size tolerance in f⁽¹⁾ would keep the residual of f⁽²⁾ above tolerance·λ_1.

    pi: (N, n_L) → (N, n_L), e.g. ``KernelOnData.pi``, or a product with a Jacobian; shape: (N, n_L); limit: the largest
    number of diagonalizations for a component; stream: for random starts, by default a fixed one; device: where Π
    computes. Raises ValueError if Π is not symmetric, positive, finite and of rank ≥ count, RuntimeError past the
    limit.
    """
    n, size = shape[0], shape[0] * shape[1]
    if not (n >= 1 and 1 <= count <= size and limit >= 1):
        raise ValueError(f"count must be in 1 … N n_L and limit ≥ 1, not {count} and {limit} for {shape}")
    stream = generator("power iteration") if stream is None else stream
    starts = torch.randn(count + 1, size, generator=stream, dtype=torch.float64).to(device)

    def product(v: Tensor) -> Tensor:
        return _values("Πv", pi(v.reshape(shape)), shape).flatten()

    (u, v), (pi_u, pi_v) = starts[:2], map(product, starts[:2])
    if abs(u @ pi_v - v @ pi_u) > _ASYMMETRY * u.norm() * pi_v.norm():
        raise ValueError("Π is not symmetric: ⟨u, Πv⟩ differs from ⟨Πu, v⟩")
    basis = images = starts[:0]
    for i, v in enumerate(starts[:count]):
        for iteration in range(limit):
            for step in range(_SWEEP if iteration else 1):
                if step:
                    v = product(v)
                v = v - (basis @ v / n) @ basis
                v = v / (v.norm() / n**0.5).clamp(min=1e-300)
            basis, images = torch.cat([basis, v[None]]), torch.cat([images, product(v)[None]])
            eigenvalues, rotation = _descending((basis @ images.mT + images @ basis.mT) / (2 * n))
            basis, images = rotation.mT @ basis, rotation.mT @ images
            floor = _resolution(eigenvalues, size * torch.finfo(torch.float64).eps)
            # The Rayleigh quotient of a random start may be small for a few iterations.
            if iteration >= 10 and eigenvalues[-1] <= floor:
                raise ValueError(f"Π is not positive, or has only {i} positive eigenvalues above rounding")
            ratios = (images - eigenvalues[:, None] * basis).norm(dim=1) / n**0.5 / eigenvalues.clamp(min=1e-300)
            if eigenvalues[-1] > floor and ratios.max() <= tolerance:
                break
            rest = torch.arange(i + 1, device=ratios.device) != ratios.argmax()
            v, basis, images = images[~rest][0], basis[rest], images[rest]
        else:
            raise RuntimeError(f"component {i + 1}: ‖Πv − λv‖ > {tolerance:g}·λ after {limit} iterations")
    return PrincipalComponents(eigenvalues, _signed(basis).reshape(count, *shape))


def checked_kernel(kernel: Tensor, n_outputs: int = 1) -> Tensor:
    """K̃, (N n_L, N n_L), in float64 and exactly symmetric.

    Raises ValueError for a matrix of another shape, with N = 0, not finite or not symmetric.
    """
    shape = tuple(kernel.shape)
    if len(shape) != 2 or shape[0] != shape[1] or 0 in shape or n_outputs < 1 or shape[0] % n_outputs:
        raise ValueError(f"a kernel matrix is (N n_L, N n_L) with N ≥ 1 and n_L = {n_outputs}, not {shape}")
    kernel = _values("the kernel", kernel)
    asymmetry = (kernel - kernel.mT).abs().max()
    if asymmetry > _ASYMMETRY * kernel.abs().max():
        raise ValueError(f"the kernel is not symmetric: K(x, x') and K(x', x)ᵀ differ by {asymmetry:.3g}")
    return (kernel + kernel.mT) / 2


def _values(name: str, f: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """Values (…, N, n_L) in float64, checked."""
    if f.ndim < 2 or 0 in f.shape or (shape is not None and tuple(f.shape[-2:]) != tuple(shape)):
        expected = ", ".join(map(str, shape or ("N ≥ 1", "n_L")))
        raise ValueError(f"{name} has shape {tuple(f.shape)}; it has to be (…, {expected})")
    if not torch.isfinite(f).all():
        raise ValueError(f"{name} has values that are not finite")
    return f.double()


def _act(kernel: Tensor, f: Tensor) -> Tensor:
    """K f: (M n_L, N n_L), (…, N, n_L) → (…, M, n_L)."""
    return (f.flatten(-2) @ kernel.mT).reshape(*f.shape[:-2], -1, f.shape[-1])


def _resolution(eigenvalues: Tensor, tolerance: float | None) -> float:
    """The size up to which an eigenvalue counts as 0."""
    relative = len(eigenvalues) * torch.finfo(torch.float64).eps if tolerance is None else tolerance
    if not 0 <= relative < 1:
        raise ValueError(f"a tolerance relative to λ_max is in [0, 1), not {relative}")
    return relative * float(eigenvalues.abs().max())


def _descending(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors (columns) of a symmetric matrix, the largest eigenvalue first."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return eigenvalues.flip(0), vectors.flip(1)


def _signed(functions: Tensor) -> Tensor:
    """Rows (m, N n_L) with signs fixed. Entries count as equal to 1e-6: on symmetric data they tie up to rounding."""
    sizes = functions.abs()
    first = (sizes >= (1 - 1e-6) * sizes.amax(dim=1, keepdim=True)).int().argmax(dim=1, keepdim=True)
    return functions * functions.gather(1, first).sign()
