"""Proposition 2 (paper §4.2): Θ_∞⁽ᴸ⁾ is positive definite on the unit sphere for a non-polynomial σ and L ≥ 2.

The smallest eigenvalue of Θ_∞⁽ᴸ⁾ on random points, for several nonlinearities and depths, against its rounding error;
and where it must vanish: for polynomial σ, for L = 1, and without biases on antipodal pairs or along a ray.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..limit import theta_inf
from ..nonlinearities import NONLINEARITIES
from ..randomness import generator
from ..study.claims import Claim, Control
from ..study.experiment import blocks
from ..study.settings import BaseConfig, require, require_distinct
from ..study.statistics import Statistic, exactly

NAME = "prop2"
VERSION = 3
BLOCK_SIZE = 20
POLYNOMIAL = {"identity": 1, "quadratic": 2}
"""Polynomial nonlinearities → degree."""
RESOLVED = 1e-13
"""Relative error of a float64 kernel entry and of its eigenvalues: λ_min counts as positive above N·RESOLVED·λ_max."""


@dataclass(kw_only=True)
class Ranks:
    """Points of the unit sphere in n_0 dimensions on which the rank for polynomial σ is counted."""

    n_0: int
    points: int


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Configurations of ``points`` random points in n_0 dimensions, ``seeds`` of them, for each σ and depth 1 … depth.

    ranks: the points for polynomial σ; pairs: antipodal pairs ±x, for the kernel of ReLU without biases.
    """

    n_0: int
    points: int
    depth: int
    beta: float
    nonlinearities: list[str]
    ranks: Ranks
    pairs: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_0 >= 2, "n_0", self.n_0, "must be ≥ 2")
        require(self.points >= self.n_0 + 2, "points", self.points, f"must be ≥ n_0 + 2 = {self.n_0 + 2}")
        require(self.depth >= 2, "depth", self.depth, "must be ≥ 2")
        require(0 < self.beta < math.inf, "beta", self.beta, "must be > 0")
        distinct = len(set(self.nonlinearities) & set(NONLINEARITIES)) == len(self.nonlinearities)
        known = distinct and {"relu", *POLYNOMIAL} <= set(self.nonlinearities)
        allowed = f"must hold relu, {', '.join(POLYNOMIAL)} and be distinct, among {', '.join(NONLINEARITIES)}"
        require(known, "nonlinearities", list(self.nonlinearities), allowed)
        require(self.ranks.n_0 >= 2, "ranks.n_0", self.ranks.n_0, "must be ≥ 2")
        require(self.ranks.points >= 2, "ranks.points", self.ranks.points, "must be ≥ 2")
        require_distinct("pairs", self.pairs, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of configurations, with every nonlinearity and depth."""

    seeds: tuple[int, ...]
    n_0: int
    points: int
    depth: int
    beta: float
    nonlinearities: tuple[str, ...]
    ranks: Ranks
    pairs: tuple[int, ...]

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        return f"seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """Blocks of configurations."""
    return [
        Cell(
            seeds=block,
            n_0=config.n_0,
            points=config.points,
            depth=config.depth,
            beta=config.beta,
            nonlinearities=tuple(config.nonlinearities),
            ranks=config.ranks,
            pairs=tuple(config.pairs),
        )
        for block in blocks(range(config.seeds), BLOCK_SIZE)
    ]


def work(cell: Cell) -> float:
    """Relative cost of a cell."""
    return float(len(cell.seeds))


def sphere(n: int, n_0: int, stream: torch.Generator) -> Tensor:
    """Random points of the unit sphere, (n, n_0)."""
    x = torch.randn(n, n_0, generator=stream, dtype=torch.float64)
    unit: Tensor = x / x.norm(dim=1, keepdim=True)
    return unit


def spread_out(n: int, n_0: int, stream: torch.Generator) -> Tensor:
    """Random points of the unit sphere, (n, n_0), each the one of 30 that is farthest from those before.

    Two that nearly coincide would make the rank less than rounding can tell.
    """
    found = sphere(1, n_0, stream)
    while len(found) < n:
        candidates = sphere(30, n_0, stream)
        nearest = torch.cdist(candidates, found).amin(dim=1)
        found = torch.cat([found, candidates[nearest.argmax()][None]])
    return found


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Spectra of Θ_∞ on each configuration. Runs on the CPU, in float64.

    smallest (configuration, place, sigma, depth): λ_min/λ_max for points on the sphere, and off it (radii 0.5 … 2);
    rank (configuration, sigma, depth): eigenvalues above N·10⁻¹³·λ_max, on the points of ``ranks``; antipodal
    (configuration, pairs): λ_min/λ_max for ReLU, β = 0, L = 2 on pairs ±x; ray: on points of one ray without biases and
    with them.
    """
    found = []
    for i, seed in enumerate(cell.seeds):
        found.append(_measure(cell, generator(NAME, cell.n_0, cell.points, seed)))
        progress((i + 1) / len(cell.seeds))
    return xr.concat(found, dim="configuration").assign(seed=("configuration", list(cell.seeds)))


def _measure(cell: Cell, stream: torch.Generator) -> xr.Dataset:
    x = sphere(cell.points, cell.n_0, stream)
    radii = 0.5 + 1.5 * torch.rand(cell.points, 1, generator=stream, dtype=torch.float64)
    depths = range(1, cell.depth + 1)
    smallest = np.zeros((2, len(cell.nonlinearities), len(depths)))
    ranks = np.zeros((len(cell.nonlinearities), len(depths)), dtype=np.int64)
    for j, sigma in enumerate(cell.nonlinearities):
        for k, depth in enumerate(depths):
            for i, points in enumerate((x, radii * x)):
                spectrum = _spectrum(points, depth, sigma, cell.beta)
                smallest[i, j, k] = spectrum[0]
    antipodal = []
    for pairs in cell.pairs:
        half = sphere(pairs, cell.n_0, stream)
        antipodal.append(_spectrum(torch.cat([half, -half]), 2, "relu", 0.0)[0])
    many = spread_out(cell.ranks.points, cell.ranks.n_0, stream)
    for j, sigma in enumerate(cell.nonlinearities):
        for k, depth in enumerate(depths):
            ranks[j, k] = int((_spectrum(many, depth, sigma, cell.beta) > len(many) * RESOLVED).sum())
    ray = torch.linspace(0.5, 2, 3, dtype=torch.float64)[:, None] * x[:1]
    return xr.Dataset(
        {
            "smallest": (("place", "sigma", "depth"), smallest),
            "rank": (("sigma", "depth"), ranks),
            "antipodal": ("pairs", antipodal),
            "ray": ("biases", [_spectrum(ray, 2, "relu", beta)[0] for beta in (0.0, cell.beta)]),
        }
    )


def _spectrum(x: Tensor, depth: int, sigma: str, beta: float) -> np.ndarray:
    """Eigenvalues of Θ_∞⁽ᴸ⁾ ÷ the largest, ascending: (N,)."""
    values = torch.linalg.eigvalsh(theta_inf(x, depth=depth, nonlinearity=sigma, beta=beta))
    found: np.ndarray = (values / values[-1]).numpy()
    return found


def predicted_rank(degree: int, depth: int, n_0: int, points: int) -> int:
    """Rank of Θ_∞⁽ᴸ⁾ on N points of the sphere for a polynomial σ of this degree and β > 0.

    Θ_∞ is a polynomial in x·x' of degree d = degree^{L−1} with positive coefficients; on the sphere such a kernel spans
    the polynomials of degree ≤ d, of dimension C(n_0 + d − 1, d) + C(n_0 + d − 2, d − 1). At most N.
    """
    d = degree ** (depth - 1)
    dimension = math.comb(n_0 + d - 1, d) + math.comb(n_0 + d - 2, d - 1)
    return min(points, dimension)


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All configurations along one dimension; predicted (polynomial, depth): the rank; names of what is compared."""
    parts = [dataset.isel(configuration=dataset.seed.values < config.seeds) for _, dataset in results]
    found = xr.concat(parts, dim="configuration", join="exact", combine_attrs="drop")
    depths = list(range(1, config.depth + 1))
    predicted = [
        [predicted_rank(degree, depth, config.ranks.n_0, config.ranks.points) for depth in depths]
        for degree in POLYNOMIAL.values()
    ]
    found["predicted"] = (("polynomial", "depth"), np.array(predicted))
    settings = {
        key: value for key, value in asdict(config).items() if key in ("n_0", "points", "beta", "ranks", "pairs")
    }
    return found.assign_coords(
        sigma=config.nonlinearities,
        depth=depths,
        place=["sphere", "off"],
        pairs=list(config.pairs),
        biases=["without", "with"],
        polynomial=list(POLYNOMIAL),
    ).assign_attrs(**settings)


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """The smallest λ_min/λ_max over the configurations, against the depth."""
    for depth in dataset.depth.values:
        values = dataset.smallest.sel(depth=depth, place="sphere").min("configuration")
        yield float(depth), {f"smallest/{name}": float(values.sel(sigma=name)) for name in dataset.sigma.values}


def bound(dataset: xr.Dataset) -> float:
    """What rounding leaves of λ_min/λ_max = 0."""
    return float(dataset.attrs["points"]) * RESOLVED


def general(dataset: xr.Dataset) -> list[str]:
    """The nonlinearities that are no polynomials."""
    return [str(name) for name in dataset.sigma.values if name not in POLYNOMIAL]


def _positive(dataset: xr.Dataset, place: str) -> list[Statistic]:
    deep = dataset.smallest.sel(place=place).isel(depth=slice(1, None))
    return [
        exactly(f"smallest λ_min/λ_max ÷ its rounding ({name})", float(deep.sel(sigma=name).min()) / bound(dataset),
                 (10.0, math.inf))
        for name in general(dataset)
    ]  # fmt: skip


def _check_polynomial(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    for name in POLYNOMIAL:
        gaps = dataset["rank"].sel(sigma=name) - dataset.predicted.sel(polynomial=name)
        largest = float(np.abs(gaps).max())
        found.append(exactly(f"largest |rank − predicted| over L ({name})", largest, (0.0, 0.0)))
    return found


def _check_antipodal(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    for pairs in dataset.pairs.values:
        values = dataset.antipodal.sel(pairs=pairs)
        if pairs > dataset.attrs["n_0"]:
            largest = float(np.abs(values).max()) / bound(dataset)
            found.append(exactly(f"largest |λ_min|/λ_max ÷ its rounding, {pairs} pairs", largest, (0.0, 1.0)))
        else:
            least = float(values.min()) / bound(dataset)
            found.append(exactly(f"smallest λ_min/λ_max ÷ its rounding, {pairs} pairs", least, (10.0, math.inf)))
    return found


def _check_ray(dataset: xr.Dataset) -> list[Statistic]:
    without = float(np.abs(dataset.ray.sel(biases="without")).max()) / bound(dataset)
    biased = float(dataset.ray.sel(biases="with").min()) / bound(dataset)
    return [
        exactly("largest |λ_min|/λ_max ÷ its rounding, β = 0", without, (0.0, 1.0)),
        exactly("smallest λ_min/λ_max ÷ its rounding, β > 0", biased, (10.0, math.inf)),
    ]


def _shallow(dataset: xr.Dataset) -> xr.Dataset:
    """L = 1 in the place of every depth."""
    one = dataset.smallest.isel(depth=[0] * dataset.sizes["depth"])
    return dataset.assign(smallest=(dataset.smallest.dims, one.values))


def _polynomials(dataset: xr.Dataset) -> xr.Dataset:
    """The quadratic σ in the place of the others."""
    values = dataset.smallest.sel(sigma=["quadratic"] * dataset.sizes["sigma"]).values
    return dataset.assign(smallest=(dataset.smallest.dims, values))


def _not_polynomial(dataset: xr.Dataset) -> xr.Dataset:
    values = dataset["rank"].sel(sigma=["relu"] * dataset.sizes["sigma"]).values
    return dataset.assign(rank=(dataset["rank"].dims, values))


def _reversed_pairs(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(antipodal=(dataset.antipodal.dims, dataset.antipodal.values[:, ::-1].copy()))


def _exchanged(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(ray=(dataset.ray.dims, dataset.ray.values[:, ::-1].copy()))


_SHALLOW = Control("L = 1", _shallow)
_POLYNOMIALS = Control("a quadratic σ", _polynomials)

CLAIMS = (
    Claim(
        id="prop2.sphere",
        place="Proposition 2",
        statement="On the unit sphere Θ_∞⁽ᴸ⁾, L ≥ 2, is positive definite for every σ that is not a polynomial.",
        paper="positive definite",
        criterion="for every random configuration and depth, λ_min/λ_max is at least ten times what rounding leaves "
        "of 0",
        figure="prop2",
        check=lambda data: _positive(data, "sphere"),
        controls=(_SHALLOW, _POLYNOMIALS),
    ),
    Claim(
        id="prop2.off_sphere",
        place="Proposition 2",
        statement="So it is, with β > 0, at points of different norms.",
        paper="on the unit sphere only",
        criterion="as prop2.sphere, at radii from 0.5 to 2",
        figure="prop2",
        check=lambda data: _positive(data, "off"),
        controls=(_SHALLOW,),
        note="our own addition",
    ),
    Claim(
        id="prop2.polynomial",
        place="Proposition 2",
        statement="For a polynomial σ of degree p the rank is at most the dimension of the polynomials of degree "
        "p^{L−1}.",
        paper="excluded",
        criterion="the numerical rank is the predicted one for every configuration and depth",
        figure="prop2",
        check=_check_polynomial,
        controls=(Control("ReLU", _not_polynomial),),
    ),
    Claim(
        id="prop2.antipodal",
        place="Proposition 2",
        statement="Without biases, for ReLU and L = 2, m antipodal pairs in n_0 dimensions make Θ_∞ singular exactly "
        "if m > n_0.",
        paper="the proof wants β > 0",
        criterion="λ_min/λ_max is within rounding of 0 if m > n_0, and ten times above it otherwise, in every "
        "configuration",
        figure="prop2",
        check=_check_antipodal,
        controls=(Control("the numbers of pairs in reverse order", _reversed_pairs),),
        note="for points in general position: the odd part of the kernel is linear in x, its rank at most n_0",
    ),
    Claim(
        id="prop2.ray",
        place="Proposition 2",
        statement="Off the sphere a kernel without biases is singular along a ray, and one with biases is not.",
        paper="on the unit sphere only",
        criterion="for ReLU, L = 2 and three points of a ray, λ_min/λ_max is within rounding of 0 with β = 0, and ten "
        "times above it with β > 0",
        figure="prop2",
        check=_check_ray,
        controls=(Control("with and without biases exchanged", _exchanged),),
    ),
)
