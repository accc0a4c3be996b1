"""Proposition 2 (paper §4.2): Θ_∞⁽ᴸ⁾ is positive definite on the unit sphere for a non-polynomial σ and L ≥ 2.

The smallest eigenvalue of Θ_∞⁽ᴸ⁾ on random points is compared with its rounding error, for several nonlinearities and
depths. It has to vanish for polynomial σ, for L = 1, and without biases on antipodal pairs or along a ray.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..limit import theta_inf
from ..nonlinearities import NONLINEARITIES
from ..study.claims import Claim, Control
from ..study.experiment import Cell, Ensemble, Experiment, Progress
from ..study.settings import BaseConfig, config_keys, require, require_distinct
from ..study.statistics import Statistic, exactly

BLOCK_SIZE = 20
POLYNOMIAL = {"identity": 1, "quadratic": 2}
"""Polynomial nonlinearity → its degree."""
RESOLVED = 1e-13
"""Relative error of a kernel's entries and eigenvalues in float64. λ_min counts as positive above N·RESOLVED·λ_max."""


@dataclass(kw_only=True)
class SpherePoints:
    """Points of the unit sphere in n_0 dimensions on which the rank for polynomial σ is counted."""

    n_0: int
    points: int


@dataclass(kw_only=True)
class Config(BaseConfig):
    """``seeds`` configurations of ``points`` random points in n_0 dimensions, for each σ and each depth 1 … depth.

    ranks: the points for polynomial σ; pairs: the numbers of antipodal pairs ±x, for ReLU's kernel without biases.
    """

    n_0: int
    points: int
    depth: int
    beta: float
    nonlinearities: list[str]
    ranks: SpherePoints
    pairs: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_0 >= 2, "n_0", self.n_0, "must be ≥ 2")
        require(self.points >= self.n_0 + 2, "points", self.points, f"must be ≥ n_0 + 2 = {self.n_0 + 2}")
        require(2 <= self.depth <= 1000, "depth", self.depth, "must be 2 … 1000")
        require(0 < self.beta < math.inf, "beta", self.beta, "must be > 0")
        distinct = len(set(self.nonlinearities) & set(NONLINEARITIES)) == len(self.nonlinearities)
        known = distinct and {"relu", *POLYNOMIAL} <= set(self.nonlinearities)
        allowed = f"must hold relu, {', '.join(POLYNOMIAL)} and be distinct, among {', '.join(NONLINEARITIES)}"
        require(known, "nonlinearities", list(self.nonlinearities), allowed)
        require(self.ranks.n_0 >= 2, "ranks.n_0", self.ranks.n_0, "must be ≥ 2")
        require(self.ranks.points >= 2, "ranks.points", self.ranks.points, "must be ≥ 2")
        require_distinct("pairs", self.pairs, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


def sphere(n: int, n_0: int, stream: torch.Generator) -> Tensor:
    """Random points of the unit sphere, (n, n_0)."""
    x = torch.randn(n, n_0, generator=stream, dtype=torch.float64)
    unit: Tensor = x / x.norm(dim=1, keepdim=True)
    return unit


def spread_out(n: int, n_0: int, stream: torch.Generator) -> Tensor:
    """Random points of the unit sphere, (n, n_0). Each is the one of 30 candidates farthest from the points before.

    If two points nearly coincide, rounding makes the numerical rank too small.
    """
    points = sphere(1, n_0, stream)
    while len(points) < n:
        candidates = sphere(30, n_0, stream)
        nearest = torch.cdist(candidates, points).amin(dim=1)
        points = torch.cat([points, candidates[nearest.argmax()][None]])
    return points


def spectrum(x: Tensor, depth: int, sigma: str, beta: float) -> np.ndarray:
    """The eigenvalues of Θ_∞⁽ᴸ⁾ ÷ the largest of them, in ascending order: (N,)."""
    eigenvalues = torch.linalg.eigvalsh(theta_inf(x, depth=depth, nonlinearity=sigma, beta=beta))
    relative: np.ndarray = (eigenvalues / eigenvalues[-1]).numpy()
    return relative


def predicted_rank(degree: int, depth: int, n_0: int, points: int) -> int:
    """The rank of Θ_∞⁽ᴸ⁾ on N points of the sphere, for a polynomial σ of this degree and β > 0.

    Θ_∞ is a polynomial in x·x' of degree d = degree^{L−1} with positive coefficients. On the sphere such a kernel spans
    the polynomials of degree ≤ d, whose dimension is C(n_0 + d − 1, d) + C(n_0 + d − 2, d − 1). The rank is at most N.
    """
    d = degree ** (depth - 1)
    dimension = math.comb(n_0 + d - 1, d) + math.comb(n_0 + d - 2, d - 1)
    return min(points, dimension)


def bound(dataset: xr.Dataset) -> float:
    """The largest |λ_min/λ_max| that rounding can make of 0."""
    return float(dataset.attrs["points"]) * RESOLVED


def general(dataset: xr.Dataset) -> list[str]:
    """The nonlinearities that are not polynomials."""
    return [str(name) for name in dataset.sigma.values if name not in POLYNOMIAL]


def _positive(dataset: xr.Dataset, place: str) -> list[Statistic]:
    deep = dataset.smallest.sel(place=place).isel(depth=slice(1, None))
    return [
        exactly(
            f"smallest λ_min/λ_max ÷ its rounding ({name})",
            float(deep.sel(sigma=name).min()) / bound(dataset),
            (10.0, math.inf),
            worst_of=deep.sel(sigma=name).size,
        )
        for name in general(dataset)
    ]


def _check_polynomial(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for name in POLYNOMIAL:
        gaps = dataset["rank"].sel(sigma=name) - dataset.predicted.sel(polynomial=name)
        largest = float(np.abs(gaps).max())
        statistics.append(exactly(f"largest |rank − predicted| ({name})", largest, (0.0, 0.0), worst_of=gaps.size))
    return statistics


def _check_antipodal(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for pairs in dataset.pairs.values:
        values = dataset.antipodal.sel(pairs=pairs)
        singular = pairs > dataset.attrs["n_0"]
        name = f"{'largest |λ_min|' if singular else 'smallest λ_min'}/λ_max ÷ its rounding, {pairs} pairs"
        value = float(np.abs(values).max() if singular else values.min()) / bound(dataset)
        allowed = (0.0, 1.0) if singular else (10.0, math.inf)
        statistics.append(exactly(name, value, allowed, worst_of=values.size))
    return statistics


def _check_ray(dataset: xr.Dataset) -> list[Statistic]:
    without = float(np.abs(dataset.ray.sel(biases="without")).max()) / bound(dataset)
    configurations = dataset.sizes["configuration"]
    biased = float(dataset.ray.sel(biases="with").min()) / bound(dataset)
    return [
        exactly("largest |λ_min|/λ_max ÷ its rounding, β = 0", without, (0.0, 1.0), worst_of=configurations),
        exactly("smallest λ_min/λ_max ÷ its rounding, β > 0", biased, (10.0, math.inf), worst_of=configurations),
    ]


def _shallow(dataset: xr.Dataset) -> xr.Dataset:
    """L = 1 in place of every depth."""
    one = dataset.smallest.isel(depth=[0] * dataset.sizes["depth"])
    return dataset.assign(smallest=(dataset.smallest.dims, one.values))


def _polynomials(dataset: xr.Dataset) -> xr.Dataset:
    """The quadratic σ in place of all others."""
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
        statement="On the unit sphere Θ_∞⁽ᴸ⁾ with L ≥ 2 is positive definite for every σ that is not a polynomial.",
        paper="positive definite",
        measure="the smallest λ_min/λ_max over random configurations of points and depths, over its rounding error",
        figure="prop2",
        check=lambda data: _positive(data, "sphere"),
        controls=(_SHALLOW, _POLYNOMIALS),
    ),
    Claim(
        id="prop2.off_sphere",
        place="Proposition 2",
        statement="With β > 0 it is positive definite also at points of different norms.",
        paper="on the unit sphere only",
        measure="as in prop2.sphere, but at radii from 0.5 to 2",
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
        measure="the largest difference between the numerical rank and the predicted rank, which is the least of that "
        "dimension and the number of points, over configurations and depths",
        figure="prop2",
        check=_check_polynomial,
        controls=(Control("ReLU", _not_polynomial),),
        history=(
            "it failed on points drawn at random (56cc2fc): two that nearly agree take an eigenvalue below what is "
            "resolved; since then each of those points is the farthest of 30 random ones from those before",
        ),
    ),
    Claim(
        id="prop2.antipodal",
        place="Proposition 2",
        statement="Without biases, for ReLU and L = 2, m antipodal pairs in n_0 dimensions make Θ_∞ singular exactly "
        "if m > n_0.",
        paper="the proof requires β > 0",
        measure="λ_min/λ_max over its rounding error: the largest modulus over configurations if m > n_0, the "
        "smallest value otherwise",
        figure="prop2",
        check=_check_antipodal,
        controls=(Control("the numbers of pairs in reverse order", _reversed_pairs),),
        note="for points in general position: the odd part of the kernel is linear in x, so that its rank is at most "
        "n_0",
    ),
    Claim(
        id="prop2.ray",
        place="Proposition 2",
        statement="Off the sphere a kernel without biases is singular along a ray, but one with biases is not.",
        paper="on the unit sphere only",
        measure="λ_min/λ_max over its rounding error, for ReLU, L = 2 and three points of a ray",
        kind="identity",
        figure="prop2",
        check=_check_ray,
        controls=(Control("with and without biases exchanged", _exchanged),),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Kernels of each σ and depth 1 … depth, and the numbers of points for their spectra."""

    n_0: int
    points: int
    depth: int
    beta: float
    nonlinearities: list[str]
    ranks: SpherePoints
    pairs: list[int]


class Prop2(Experiment[Config, Spectra]):
    """Spectra on configurations of random points, and the predicted ranks for polynomial σ."""

    name = "prop2"
    version = 3
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"polynomial": POLYNOMIAL, "resolved": RESOLVED}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Spectra]]:
        setting = Spectra(**{key: getattr(config, key) for key in config_keys(Spectra)})
        yield Ensemble(labels={}, setting=setting, seeds=range(config.seeds), block=BLOCK_SIZE, kind="configuration")
        yield Ensemble(labels={}, setting=setting, seeds=(0,), kind="prediction")

    def measure(self, cell: Cell[Spectra], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """Spectra of Θ_∞ on one configuration, or the predicted ranks. Runs on the CPU, in float64.

        smallest (place, sigma, depth): λ_min/λ_max for points on the sphere, and off it (radii 0.5 … 2); rank (sigma,
        depth): the number of eigenvalues above N·10⁻¹³·λ_max, on the points of ``ranks``; antipodal (pairs):
        λ_min/λ_max for ReLU, β = 0, L = 2 on pairs ±x; ray (biases): λ_min/λ_max on points of one ray, without and with
        biases. predicted (polynomial, depth): ``predicted_rank``.
        """
        setting, depths = cell.setting, range(1, cell.setting.depth + 1)
        if cell.kind == "prediction":
            ranks = [
                [predicted_rank(degree, depth, setting.ranks.n_0, setting.ranks.points) for depth in depths]
                for degree in POLYNOMIAL.values()
            ]
            return xr.Dataset({"predicted": (("polynomial", "depth"), ranks)})
        stream = cell.stream(setting.n_0, setting.points, seed)
        x = sphere(setting.points, setting.n_0, stream)
        radii = 0.5 + 1.5 * torch.rand(setting.points, 1, generator=stream, dtype=torch.float64)
        halves = [sphere(pairs, setting.n_0, stream) for pairs in setting.pairs]
        many = spread_out(setting.ranks.points, setting.ranks.n_0, stream)
        ray = torch.linspace(0.5, 2, 3, dtype=torch.float64)[:, None] * x[:1]

        def spectra(points: Tensor) -> np.ndarray:
            """The spectrum for every σ and depth: (σ, depths, N)."""
            return np.array(
                [[spectrum(points, depth, sigma, setting.beta) for depth in depths] for sigma in setting.nonlinearities]
            )

        return xr.Dataset(
            {
                "smallest": (("place", "sigma", "depth"), np.stack([spectra(at)[..., 0] for at in (x, radii * x)])),
                "rank": (("sigma", "depth"), (spectra(many) > len(many) * RESOLVED).sum(axis=-1)),
                "antipodal": ("pairs", [spectrum(torch.cat([x, -x]), 2, "relu", 0.0)[0] for x in halves]),
                "ray": ("biases", [spectrum(ray, 2, "relu", beta)[0] for beta in (0.0, setting.beta)]),
            }
        )

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All configurations along one dimension, with the predicted ranks and the names of all cases."""
        predicted = parts["prediction"].predicted.isel(prediction=0, drop=True)
        return (
            parts["configuration"]
            .assign(predicted=predicted)
            .assign_coords(
                sigma=config.nonlinearities,
                depth=range(1, config.depth + 1),
                place=["sphere", "off"],
                pairs=config.pairs,
                biases=["without", "with"],
                polynomial=list(POLYNOMIAL),
            )
            .assign_attrs(
                n_0=config.n_0, points=config.points, beta=config.beta, ranks=asdict(config.ranks), pairs=config.pairs
            )
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The smallest λ_min/λ_max over the configurations, against the depth."""
        for depth in dataset.depth.values:
            values = dataset.smallest.sel(depth=depth, place="sphere").min("configuration")
            yield float(depth), {f"smallest/{name}": float(values.sel(sigma=name)) for name in dataset.sigma.values}


EXPERIMENT = Prop2()
