"""A Gaussian weight matrix that is never formed: only the directions that its products use are revealed.

A network uses an n_out × n_in matrix W with i.i.d. N(0, 1) entries only through products, and N products determine
little of it. Given W A = Y and Wᵀ D = Z for orthonormal columns A and D, the law of W is

    W = D Zᵀ + Y Aᵀ − D (DᵀY) Aᵀ + (I − D Dᵀ) G (I − A Aᵀ),    G a fresh matrix of i.i.d. N(0, 1) entries.

So a product can be computed, exactly in law, from the earlier products and n_out fresh numbers. A new vector
v = A a + ρ q, with q a unit vector orthogonal to A, has W v = Y a + ρ W q, and by the equation above

    W q = D (Zᵀ q) + (I − D Dᵀ) g,    g ~ N(0, I);

q joins A, W q joins Y, and likewise for Wᵀ. The vectors of a network depend on earlier products. That is allowed: each
vector is fixed before its product is drawn.

The matrix is a function of its seed and of the sequence of products, to rounding. Let the rows of R = U S Q be the new
parts of N vectors. Their directions Q are not unique: each may change its sign, and directions of equal singular values
may rotate. So fresh numbers belong to the vectors, not to the directions: G has a row of n_out numbers for each vector,
and the directions have the images UᵀG, whose entries are i.i.d. N(0, 1) whatever U is. Signs and rotations cancel in
W Rᵀ = Gᵀ (R Rᵀ)^{1/2}, which depends continuously on R. Each product has a random stream of its own: if one product
reveals more directions, the numbers of the others do not change.

Conditioning on linear observations was used by Bolthausen for message passing ("An iterative construction of solutions
of the TAP equations", 2014, arXiv 1201.2891), and is the argument behind Yang's Tensor Programs (arXiv 2009.10685). Lu
showed that it simulates dense random matrices exactly without forming them ("Householder dice", arXiv 2101.07464).

Training adds terms Σ_i δ(x_i) α(x_i)ᵀ, where δ was multiplied by Wᵀ and α by W. The trained matrix is therefore
W + D C Aᵀ with a small matrix C, and an update changes C only. With r revealed directions a product costs O(n r)
instead of O(n²). At most one direction is revealed for each input at each evaluation: N at initialization, and N (1 +
steps) plus the probes along a gradient flow, whatever the nonlinearity. A wider network needs fewer steps, and the
directions of a step lie more nearly in the span of the earlier ones.
"""

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from .blocks import Rows, combined, inner, mixed, singular, subtract
from .randomness import generator as stream
from .weights import NOTHING_SAVED, DenseWeight, Weight, WeightDraw

# The new part of a vector may be rounding if its relative size is at most this many ε of the dtype.
_ROUNDING = 64.0
SMALL = 16
"""A matrix with at most so many rows or columns is held as a tensor: it is small anyway."""


class RevealedWeight:
    """A matrix W (n_out, n_in), at first of i.i.d. N(0, 1) entries, known in the revealed directions. Not an ensemble.

    tolerance: if the part of a vector outside the revealed directions is at most this long, relative to the vector, it
    is dropped instead of revealed. The known part of its product is kept; the rest, which is random and of that
    relative size, is left out. With tolerance 0 only rounding is dropped (64 ε of the dtype), and the weight is exact
    in law. Revealed directions stay.

    truncation: the largest relative part that was dropped so far. Raises ValueError for a tolerance outside [0, 1).
    """

    def __init__(
        self,
        n_out: int,
        n_in: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        tolerance: float = 0.0,
    ):
        if not 0 <= tolerance < 1:
            raise ValueError(f"the tolerance of a revealed weight is relative, in [0, 1), not {tolerance}")
        self.shape = (n_out, n_in)
        self.dtype = dtype
        self.device = torch.empty(0, device=device).device  # with its index, like the device of a tensor
        self.tolerance = tolerance
        self.truncation = 0.0
        self._seed = int(torch.randint(2**63 - 1, (), generator=generator))
        self._products = 0  # computed so far: each one has a random stream of its own
        self._saved: Tensor | None = None  # C at ``begin``
        self._right = _Side(n_in, n_out, self)  # A and Y = W A, by rows
        self._left = _Side(n_out, n_in, self)  # D and Z = Wᵀ D, by rows
        self._core = torch.zeros(0, 0, dtype=torch.float64, device=device)  # C

    @property
    def rank(self) -> int:
        """The number of revealed directions, on the side that has more of them."""
        return max(self._right.rank, self._left.rank)

    @property
    def change_norm(self) -> float:
        """‖W(t) − W(0)‖_F = ‖D C Aᵀ‖_F, which is ‖C‖_F."""
        return float(self._core.norm())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(block.nbytes for side in (self._right, self._left) for block in (*side.basis, *side.images))

    def apply(self, v: Tensor) -> Tensor:
        """V Wᵀ: (N, n_in) → (N, n_out), row by row W v. A batch that is not finite gives NaN and reveals nothing."""
        return self._product(self._right, self._left, v)

    def apply_transpose(self, v: Tensor) -> Tensor:
        """V W: (N, n_out) → (N, n_in), row by row Wᵀ v. Not finite: as in ``apply``."""
        return self._product(self._left, self._right, v)

    def update(self, left: Tensor, right: Tensor, scale: float) -> None:
        """W ← W + scale · leftᵀ right for left (N, n_out), right (N, n_in). Directions not yet known are revealed."""
        d = self._coefficients(self._left, left)
        a = self._coefficients(self._right, right)
        self._core += scale * d.mT @ a

    def begin(self) -> None:
        """Remember C, the only thing that an update changes."""
        self._saved = self._core.clone()

    def commit(self) -> None:
        self._saved = None

    def rollback(self) -> None:
        """Restore C. Directions revealed since ``begin`` stay, with entries 0 in C."""
        if self._saved is None:
            raise RuntimeError(NOTHING_SAVED)
        rows, columns = self._saved.shape
        self._core.zero_()
        self._core[:rows, :columns] = self._saved
        self._saved = None

    def completed(self, generator: torch.Generator, *, trained: bool = True) -> Tensor:
        """A dense matrix, (n_out, n_in), that agrees with all revealed directions; the generator draws the rest.

        D Zᵀ + Y Aᵀ − D (DᵀY) Aᵀ + (I − D Dᵀ) G (I − A Aᵀ) + D C Aᵀ. Training added the last term; trained=False leaves
        it out. This weight does not change.
        """
        a, y = self._right.matrices()
        d, z = self._left.matrices()
        rest = torch.randn(self.shape, generator=generator, dtype=self.dtype).to(self.device)
        rest -= d.mT @ (d @ rest)
        rest -= (rest @ a.mT) @ a
        core = (self._core.to(self.dtype) if trained else 0) - d @ y.mT
        product: Tensor = rest + d.mT @ (z + core @ a) + y.mT @ a
        return product

    def _product(self, side: "_Side", other: "_Side", v: Tensor) -> Tensor:
        if not _finite(v):
            return v.new_full((len(v), other.size), torch.nan)
        coefficients, dropped = self._express(side, v)
        product = combined(coefficients, side.images, other.size, self.dtype)
        known = coefficients @ (self._core if side is self._left else self._core.mT)  # what training added
        if self.tolerance > 0:
            # Let r be the dropped part. D Zᵀ r of W r is known, and is kept: training moves a vector along the images
            # Z, so that it can be √n times as large as the rest, (I − D Dᵀ) g ‖r‖, which is left out.
            known += inner(dropped, other.images)
        if known.any():
            subtract(product, -known, other.basis)
        return product

    def _coefficients(self, side: "_Side", v: Tensor) -> Tensor:
        """Reveal what is new in the rows of v, and express them in the basis: (N, rank), float64; NaN if not finite."""
        if not _finite(v):
            return torch.full((len(v), side.rank), torch.nan, dtype=torch.float64, device=self.device)
        return self._express(side, v)[0]

    def _express(self, side: "_Side", v: Tensor) -> tuple[Tensor, Tensor]:
        """``_Side.express``; C grows with the basis."""
        expressed = side.express(v, self._left if side is self._right else self._right)
        grown = (self._left.rank - self._core.shape[0], self._right.rank - self._core.shape[1])
        self._core = torch.nn.functional.pad(self._core, (0, grown[1], 0, grown[0]))
        return expressed


def revealing(tolerance: float = 0.0) -> WeightDraw:
    """For ``Network.init(weight=…)``: a ``RevealedWeight``, or a tensor if W has a side of at most ``SMALL`` units.

    One number from the generator is the seed of each matrix. Raises ValueError for an ensemble: its networks would
    reveal different directions.
    """

    def draw(
        n_out: int,
        n_in: int,
        generator: torch.Generator | Sequence[torch.Generator],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Weight:
        if not isinstance(generator, torch.Generator):
            raise ValueError("networks of revealed weights are drawn one by one, not as an ensemble")
        if min(n_out, n_in) <= SMALL:
            return DenseWeight.draw(n_out, n_in, generator, dtype, device)
        return RevealedWeight(n_out, n_in, generator, dtype, device, tolerance=tolerance)

    return draw


def rank(weights: Sequence[Weight]) -> int:
    """The number of revealed directions of the matrix that has most of them; 0 if all are dense."""
    return max((weight.rank for weight in weights if isinstance(weight, RevealedWeight)), default=0)


def truncation(weights: Sequence[Weight]) -> float:
    """The largest relative part of a vector that one of the matrices has dropped; 0 if all are dense."""
    return max((weight.truncation for weight in weights if isinstance(weight, RevealedWeight)), default=0.0)


def nbytes(weights: Sequence[DenseWeight | RevealedWeight]) -> int:
    """Bytes of memory that the matrices take."""
    return sum((weight.values if isinstance(weight, DenseWeight) else weight).nbytes for weight in weights)


class _Side:
    """An orthonormal basis of all vectors multiplied by W (or Wᵀ), and its images under W_0 (or W_0ᵀ), as rows."""

    def __init__(self, size: int, image_size: int, weight: RevealedWeight):
        self.size = size
        self.image_size = image_size
        self.weight = weakref.proxy(weight)  # a cycle would keep gigabytes until the next garbage collection
        self.basis = Rows()
        self.images = Rows()

    @property
    def rank(self) -> int:
        return sum(len(block) for block in self.basis)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Basis (rank, size) and images (rank, image_size)."""
        empty = torch.empty(0, dtype=self.weight.dtype, device=self.weight.device)
        basis = torch.cat([empty.reshape(0, self.size), *self.basis])
        return basis, torch.cat([empty.reshape(0, self.image_size), *self.images])

    def express(self, v: Tensor, other: "_Side") -> tuple[Tensor, Tensor]:
        """Extend the basis to the rows v. Returns v in the basis, (N, rank), and what was dropped, (N, size)."""
        norms = torch.linalg.vector_norm(v, dim=1, keepdim=True, dtype=torch.float64)
        scale = 1 / torch.where(norms > 0, norms, 1.0).to(v.dtype)
        residual = v * scale
        coefficients = inner(residual, self.basis)
        subtract(residual, coefficients, self.basis)
        self.weight._products += 1
        exact = self.weight.tolerance == 0
        if self.rank < self.size:
            new, shares_of_rows = self._directions(residual, in_place=exact)
            if len(new):
                self._reveal(new, shares_of_rows, other)
                shares = inner(v, [new], scale)
                coefficients = torch.cat([coefficients, shares], dim=1)
                if not exact:
                    residual.addmm_(shares.to(new.dtype), new, alpha=-1)
        return coefficients * norms, residual if exact else residual * norms.to(v.dtype)

    def _directions(self, residual: Tensor, in_place: bool) -> tuple[Tensor, Tensor]:
        """Orthonormal rows Q, orthogonal to the basis, that span the rows of R up to the tolerance; and Uᵀ.

        The residual R is U S Q up to the tolerance; Uᵀ (count, N) has orthonormal rows. Q may overwrite R.
        """
        tolerance = max(self.weight.tolerance, _ROUNDING * torch.finfo(residual.dtype).eps)
        largest = torch.linalg.vector_norm(residual, dim=1).max()
        if largest <= tolerance:
            self._truncated(largest)
            return residual[:0], residual[:0]
        s, vh = singular(residual)
        # Take singular directions, largest first, until no row has more left than the tolerance.
        shares = (s[:, None] * vh).square()
        left = torch.cat([shares.flip(0).cumsum(0).flip(0), torch.zeros_like(shares[:1])]).amax(dim=1).sqrt()
        count = min(int((left > tolerance).sum()), self.size - self.rank)
        self._truncated(left[count])
        new = mixed(vh[:count] / s[:count, None], residual, in_place)
        # Directions of small s are orthonormal, and orthogonal to the basis, only up to ε / s: orthonormalize again, by
        # Gram and Schmidt in the order of s (a Cholesky factor of a Gram matrix near Id): the first ones stay exact.
        subtract(new, inner(new, self.basis), self.basis)
        lower, info = torch.linalg.cholesky_ex(inner(new, [new]))
        sound = lower.diagonal() > 0.5  # false for directions that were only rounding
        sound[int(info) - 1 if info else count :] = False
        count = int(sound.cumprod(0).sum())
        return mixed(torch.linalg.inv(lower[:count, :count]), new[:count], in_place=True), vh[:count]

    def _truncated(self, part: Tensor) -> None:
        self.weight.truncation = max(self.weight.truncation, float(part))

    def _reveal(self, new: Tensor, shares_of_rows: Tensor, other: "_Side") -> None:
        """W q = g + D (Zᵀq − Dᵀg) for the rows q of ``new``; g = UᵀG, with a row of fresh numbers G for each vector."""
        generator = stream("revealed", self.weight._seed, self.weight._products)
        fresh = torch.randn(shares_of_rows.shape[1], self.image_size, generator=generator, dtype=new.dtype).to(new)
        images = mixed(shares_of_rows, fresh, in_place=True)
        if other.basis:
            subtract(images, inner(images, other.basis) - inner(new, other.images), other.basis)
        self.basis.grow(new)
        self.images.grow(images)


def _finite(v: Tensor) -> bool:
    return bool(torch.isfinite(v.sum(dtype=torch.float64)))
