"""Proposition 1 (paper §4.1): at initialization the outputs of a wide network are i.i.d. Gaussian processes.

Given its last hidden layer, each output is Gaussian with covariance q(x, x') = α(x)·α(x')/n + β², and the outputs are
independent. What is left of the randomness of q as n grows is what is not Gaussian and not independent: the excess
kurtosis of f_k(x) is 3 Var(q)/E[q]², and Cov(f_k², f_k'²) = Var(q).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..datasets import circle, random_angles
from ..limit import sigma_inf
from ..network import Network
from ..revealed import rank, truncation
from ..study.claims import Claim, Control
from ..study.experiment import Cell, Ensemble, Experiment, Progress, select, silent
from ..study.settings import BaseConfig, SeedsAtWidths, WideNetworkConfig, require, require_distinct, require_seeds
from ..study.statistics import Statistic, interval, rate, rms

DENSE, BLOCK_SIZE, WIDE, VERY_WIDE = 256, 200, 2000, 50_000
"""Up to DENSE networks are one tensor program; networks of a cell; 20 of them above WIDE, 1 above VERY_WIDE."""
OUTPUTS = 2
FEWER = 100
"""Resamples for the thousands of networks whose outputs are compared."""
SHARED_BIAS = 1.0
"""Size of the bias that all neurons of the last hidden layer share in the control."""


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of each depth and width, ``seeds`` of each width; outputs: narrow ones whose two outputs are compared.

    shared: the negative control, in which all neurons of the last hidden layer share one weight.
    """

    network: WideNetworkConfig
    n_samples: int
    depths: list[int]
    widths: list[int]
    seeds: list[int]
    outputs: SeedsAtWidths
    shared: SeedsAtWidths

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.network.beta > 0, "network.beta", self.network.beta, "must be > 0, for the shared weight is a bias"
        )
        require(self.n_samples >= 2, "n_samples", self.n_samples, "must be ≥ 2")
        require_distinct("depths", self.depths, 2)
        require_seeds("", self.widths, self.seeds)
        for key in ("outputs", "shared"):
            ensemble = getattr(self, key)
            require_distinct(f"{key}.widths", ensemble.widths, 1)
            require(max(ensemble.widths) <= DENSE, f"{key}.widths", ensemble.widths, f"must be ≤ {DENSE}")
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        require(len(self.outputs.widths) == 1, "outputs.widths", self.outputs.widths, "must be one width")


def relative(dataset: xr.Dataset, variant: str, depth: int, width: int) -> np.ndarray:
    """q(x, x)/Σ(x, x) of each network, (seeds, points)."""
    diagonal = np.flatnonzero(dataset.diagonal)
    q = select(dataset, variant=variant, L=depth, width=width).q.values[:, diagonal]
    ratios: np.ndarray = q / dataset.sigma.sel(depth=depth).values[diagonal]
    return ratios


def distance(dataset: xr.Dataset, depth: int, width: int) -> np.ndarray:
    """‖q − Σ‖/‖Σ‖ over all pairs of points, of each network: (seeds,)."""
    sigma = dataset.sigma.sel(depth=depth).values
    gaps = select(dataset, variant="main", L=depth, width=width).q.values - sigma
    distances: np.ndarray = np.sqrt(np.square(gaps).mean(axis=1) / np.square(sigma).mean())
    return distances


def kurtosis(q: np.ndarray) -> float:
    """Excess kurtosis 3 Var(q)/E[q]² of an output, (seeds, points), the mean over points."""
    return float((3 * q.var(axis=0, ddof=1) / np.square(q.mean(axis=0))).mean())


def correlation(outputs: np.ndarray, power: int) -> float:
    """Correlation over networks of f_1^power and f_2^power, (seeds, 2, points), the mean over points."""
    first, second = np.moveaxis(outputs**power, 1, 0)
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    return float(((first * second).mean(axis=0) / (first.std(axis=0) * second.std(axis=0))).mean())


def dependence(sample: np.ndarray) -> float:
    """Cov(f_1², f_2²) ÷ Var(q), both means over points: sample (seeds, 3, points) of f_1, f_2, q."""
    first, second, q = np.moveaxis(sample, 1, 0)
    products = (first**2 - (first**2).mean(axis=0)) * (second**2 - (second**2).mean(axis=0))
    return float(products.mean() / q.var(axis=0).mean())


def outputs_and_q(dataset: xr.Dataset, variant: str, depth: int, width: int) -> np.ndarray:
    """f_1, f_2 and q(x, x), (seeds, 3, points)."""
    networks = select(dataset, variant=variant, L=depth, width=width)
    q = networks.q.values[:, np.flatnonzero(dataset.diagonal)]
    return np.concatenate([networks.f.values.astype(float), q[:, None]], axis=1)


def _check_covariance(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    statistics = []
    for depth in dataset.depth.values:
        groups = [distance(dataset, depth, width) for width in widths]
        statistics.append(rate(f"‖q − Σ‖ (L={depth})", rms, widths, groups, (-0.55, -0.45)))
        last = interval([groups[-1]], lambda sample: rms(sample[0]))
        statistics.append(Statistic(f"‖q − Σ‖ ÷ ‖Σ‖ (L={depth}, n={widths[-1]})", *last, (0.0, 0.03)))
    return statistics


def _check_gaussian(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    return [
        rate(f"excess kurtosis (L={depth})", kurtosis, widths,
             [relative(dataset, "main", depth, width) for width in widths], (-1.1, -0.9))
        for depth in dataset.depth.values
    ]  # fmt: skip


def _check_outputs(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["outputs"][0]
    statistics = []
    for depth in dataset.depth.values:
        sample = outputs_and_q(dataset, "outputs", depth, width)
        zero = interval([sample[:, :2]], lambda groups: correlation(groups[0], 1), resamples=FEWER)
        statistics.append(Statistic(f"correlation of two outputs (L={depth}, n={width})", *zero, (-0.05, 0.05)))
        ratio = interval([sample], lambda groups: dependence(groups[0]), resamples=FEWER)
        statistics.append(Statistic(f"Cov(f_1², f_2²) ÷ Var(q) (L={depth}, n={width})", *ratio, (0.6, 1.5)))
    return statistics


def _check_independence(dataset: xr.Dataset) -> list[Statistic]:
    """Var(q)/E[q]², which is what the outputs have in common, at the largest width."""
    width = dataset.attrs["widths"][-1]
    return [
        Statistic(
            f"Var(q) ÷ E[q]² (L={depth}, n={width})",
            *interval([relative(dataset, "main", depth, width)], lambda groups: kurtosis(groups[0]) / 3),
            (-math.inf, 1e-3),
        )
        for depth in dataset.depth.values
    ]


def _shared(dataset: xr.Dataset) -> xr.Dataset:
    """The networks of the control, at the widths they have, in the place of the others."""
    control = select(dataset, variant="shared")
    size = control.sizes["network"]
    return control.assign(variant=("network", ["main"] * size)).assign_attrs(
        dataset.attrs | {"widths": dataset.attrs["shared"]}
    )


def _scaled(dataset: xr.Dataset) -> xr.Dataset:
    """The outputs × n^{−1/2}: scaling by 1/n instead of 1/√n in the last layer."""
    return dataset.assign(q=dataset.q / dataset.width)


def _copied(dataset: xr.Dataset) -> xr.Dataset:
    """One output in the place of both."""
    return dataset.assign(f=dataset.f.isel(output=[0, 0]))


_SHARED = Control("one weight that all neurons of the last hidden layer share", _shared)

CLAIMS = (
    Claim(
        id="prop1.covariance",
        place="Proposition 1",
        statement="The covariance of the outputs tends to Σ.",
        paper="in the limit (no rate)",
        measure="the exponent in n of the rms of ‖q − Σ‖, q the covariance given the last hidden layer, lies in "
        "[−0.55, −0.45] for each depth, and at the largest width it is below 3 % of ‖Σ‖",
        figure="prop1",
        check=_check_covariance,
        controls=(Control("1/n in the place of 1/√n in the last layer: the variance vanishes", _scaled), _SHARED),
    ),
    Claim(
        id="prop1.gaussian",
        place="Proposition 1",
        statement="Each output tends to a Gaussian: its excess kurtosis falls like 1/n.",
        paper="in law (no rate)",
        measure="the exponent in n of 3 Var(q)/E[q]², the excess kurtosis, lies in [−1.1, −0.9] for each depth",
        figure="prop1",
        check=_check_gaussian,
        controls=(_SHARED,),
    ),
    Claim(
        id="prop1.outputs",
        place="Proposition 1; Appendix A.1",
        statement="Two outputs of a narrow network are uncorrelated but dependent, as much as Var(q) says.",
        paper="independent given the last hidden layer",
        measure="for narrow networks the correlation of two outputs lies within ±0.05, and Cov(f_1², f_2²) ÷ Var(q) "
        "in [0.6, 1.5]",
        figure="prop1",
        check=_check_outputs,
        controls=(Control("one output in the place of both", _copied),),
    ),
    Claim(
        id="prop1.independence",
        place="Proposition 1",
        statement="As the width grows the outputs become independent.",
        paper="i.i.d. in the limit",
        measure="at the largest width Var(q)/E[q]², to which the dependence of two outputs is proportional, is below "
        "10⁻³ for each depth",
        figure="prop1",
        check=_check_independence,
        controls=(_SHARED,),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of networks of one depth on n_samples points; of this class itself, in the limit."""

    network: WideNetworkConfig
    n_samples: int


@dataclass(frozen=True, kw_only=True)
class OutputsAtWidth(Outputs):
    """Of networks of a width; variant: main, outputs (compared too), or shared."""

    variant: str
    width: int


class Prop1(Experiment[Config, Outputs]):
    """The outputs of networks of every depth and width at initialization, and the limit of their covariance."""

    name = "prop1"
    version = 2
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"dense": DENSE, "outputs": OUTPUTS, "shared_bias": SHARED_BIAS}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Outputs]]:
        numbers = [("main", n, seeds) for n, seeds in zip(config.widths, config.seeds, strict=True)]
        numbers += [("outputs", n, config.outputs.seeds) for n in config.outputs.widths]
        numbers += [("shared", n, config.shared.seeds) for n in config.shared.widths]
        for depth in sorted(config.depths):
            network = replace(config.network, depth=depth)
            limit = Outputs(network=network, n_samples=config.n_samples)
            yield Ensemble(labels={"L": depth}, setting=limit, seeds=(0,), kind="limit")
            for variant, width, seeds in numbers:
                yield Ensemble(
                    labels={"variant": variant, "L": depth, "width": width},
                    setting=OutputsAtWidth(variant=variant, width=width, network=network, n_samples=config.n_samples),
                    seeds=range(seeds),
                    block=BLOCK_SIZE if width <= WIDE else 20 if width <= VERY_WIDE else 1,
                    work=depth * (3e3 + min(width**2, 30.0 * width * config.n_samples)),  # draws, products, an overhead
                )

    def compute(self, cell: Cell[Outputs], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """See ``measure``: narrow networks all at once."""
        setting = cell.setting
        if not isinstance(setting, OutputsAtWidth) or setting.width > DENSE:
            return super().compute(cell, device, progress)
        streams = [cell.stream(setting.variant, setting.network.depth, setting.width, seed) for seed in cell.seeds]
        network = setting.network.draw(2, setting.width, OUTPUTS, generator=streams, device=device)
        if setting.variant == "shared":
            _share(network, streams)
        return _measured(network, points(cell).to(device))

    def measure(self, cell: Cell[Outputs], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """The conditional covariance of a network's outputs, and the outputs; or the limit of the former.

        q (entry): q(x_i, x_j) for i ≤ j; f (output, point): the outputs; rank, truncation: of revealed weights.
        sigma (entry): Σ(x_i, x_j).
        Raises MemoryError, naming the largest width that fits, before anything is allocated.
        """
        setting, x = cell.setting, points(cell)
        config = setting.network
        if not isinstance(setting, OutputsAtWidth):
            sigma = sigma_inf(x, depth=config.depth, nonlinearity=config.nonlinearity, beta=config.beta)
            return xr.Dataset({"sigma": ("entry", sigma.numpy()[np.triu_indices(len(x))])})
        stream, size = cell.stream(setting.variant, config.depth, setting.width, seed), len(x)
        network = config.draw_wide(
            2, setting.width, OUTPUTS, inputs=size, directions=size, generator=stream, device=device
        )
        return _measured(network, x.to(device))

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension; sigma (depth, entry): Σ; diagonal (entry): where x_i = x_j."""
        networks, limits = parts["network"], parts["limit"]
        rows, columns = np.triu_indices(config.n_samples)
        return (
            networks.assign(
                f=networks.f.where(networks.variant != "main"),  # outputs are compared in one ensemble only
                sigma=(("depth", "entry"), limits.sigma.values),
                diagonal=("entry", (rows == columns).astype(np.int8)),
            )
            .assign_coords(depth=limits.limit_L.values)
            .assign_attrs(
                widths=sorted(config.widths),
                outputs=sorted(config.outputs.widths),
                shared=sorted(config.shared.widths),
                network=asdict(config.network),
                largest_rank=int(networks["rank"].max()),
                largest_truncation=float(networks.truncation.max()),
            )
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Excess kurtosis of an output, and the relative distance of q to Σ, against n."""
        for width in dataset.attrs["widths"]:
            for depth in dataset.depth.values:
                q = relative(dataset, "main", depth, width)
                yield float(width), {f"kurtosis/L={depth}": kurtosis(q), f"distance/L={depth}": rms(q - 1)}


def points(cell: Cell[Outputs]) -> Tensor:
    """The inputs, at random on the circle: (n_samples, 2)."""
    n = cell.setting.n_samples
    return circle(random_angles(n, cell.stream("points", n)))


def _share(network: Network, streams: Sequence[torch.Generator]) -> None:
    """One more weight, N(0, 1), that all neurons of the last hidden layer have in common."""
    common = torch.tensor([float(torch.randn(1, generator=stream)) for stream in streams])
    network.biases[-2] += (SHARED_BIAS / network.beta * common)[:, None, None].to(network.biases[-2])


def _measured(network: Network, x: Tensor) -> xr.Dataset:
    """Of one network, or of each of several that are one tensor program."""
    forward = network.forward(x)
    last = forward.activations[-1].double().cpu()
    q = (last @ last.mT) / last.shape[-1] + network.beta**2
    f = forward.output.double().cpu().mT
    rows, columns = np.triu_indices(len(x))
    networks = ("network",) * (q.ndim - 2)
    return xr.Dataset(
        {
            "q": ((*networks, "entry"), q[..., rows, columns].numpy().astype(np.float32)),
            "f": ((*networks, "output", "point"), f.numpy().astype(np.float32)),
            "rank": (networks, np.full(q.shape[:-2], rank(network.weights))),
            "truncation": (networks, np.full(q.shape[:-2], truncation(network.weights))),
        }
    )


EXPERIMENT = Prop1()
