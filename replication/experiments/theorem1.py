"""Theorem 1 (paper §4.1): the NTK at initialization tends to Θ_∞ ⊗ Id, over five decades of width.

Θ⁽ᴸ⁾(θ) on a few points of the unit circle, for networks whose hidden matrices are revealed where they are wide: its
distance to the limit against the width, for several nonlinearities, depths, unequal widths and n_L = 3 outputs.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..datasets import circle
from ..limit import theta_inf
from ..network import Network
from ..nonlinearities import NONLINEARITIES
from ..randomness import generator
from ..revealed import rank, revealing, truncation
from ..study.claims import Claim, Control
from ..study.experiment import blocks
from ..study.memory import require_memory
from ..study.settings import BaseConfig, SeedsAtWidths, WideNetworkConfig, require, require_distinct
from ..study.statistics import Statistic, interval, rate, rms
from ..tangent import Tangent
from ..usual import descent_kernel, layer_kernels, one_rate
from ..weights import DenseWeight

NAME = "theorem1"
VERSION = 2
DENSE = 256
"""Hidden layers up to this width are tensors, their networks one tensor program; wider ones as the config has it."""
BLOCK_SIZE, WIDE, VERY_WIDE, NARROW_BLOCK = 100, 2000, 50_000, 5000
"""Networks of a cell; 10 above ``WIDE``, 1 above ``VERY_WIDE``; more of the narrow ones."""
OUTPUTS = 3
GROUP = 200
"""Narrow networks enter the data as means over so many of them."""
DEPTH = 0.1
"""Largest relative deviation from what ``second_moment`` predicts."""


@dataclass(kw_only=True)
class Wide:
    """Networks of several widths, with as many seeds as ``seeds`` says at each."""

    widths: list[int]
    seeds: list[int]


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks on n_samples points of the circle: ``main`` at every width, and what varies beside the width.

    nonlinearities: others than the network's, at the widths of ``others``, as are networks of 3 outputs; depths: at one
    width (``deep``), with β = 0 and with the network's β; unequal: hidden widths, with ``unequal_seeds`` networks each;
    narrow: many networks of small widths, for the bias.
    """

    network: WideNetworkConfig
    n_samples: int
    main: Wide
    nonlinearities: list[str]
    others: SeedsAtWidths
    depths: list[int]
    deep: SeedsAtWidths
    unequal: list[list[int]]
    unequal_seeds: int
    narrow: SeedsAtWidths

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, "n_samples", self.n_samples, "must be ≥ 2")
        require_distinct("main.widths", self.main.widths, 1)
        valid = len(self.main.seeds) == len(self.main.widths) and min(self.main.seeds, default=0) >= 1
        require(valid, "main.seeds", list(self.main.seeds), f"must be {len(self.main.widths)} integers ≥ 1")
        others = set(self.nonlinearities) & set(NONLINEARITIES) - {self.network.nonlinearity}
        known = len(others) == len(self.nonlinearities)
        allowed = f"must be distinct, among {', '.join(NONLINEARITIES)}, without network.nonlinearity"
        require(known, "nonlinearities", list(self.nonlinearities), allowed)
        require_distinct("depths", self.depths, 2)
        for key in ("others", "deep", "narrow"):
            require_distinct(f"{key}.widths", getattr(self, key).widths, 1)
            require(getattr(self, key).seeds >= 1, f"{key}.seeds", getattr(self, key).seeds, "must be ≥ 1")
        require(len(self.deep.widths) == 1, "deep.widths", self.deep.widths, "must be one width")
        hidden = self.network.depth - 1
        valid = all(len(widths) == hidden and min(widths) >= 1 for widths in self.unequal)
        require(valid, "unequal", [list(widths) for widths in self.unequal], f"must be lists of {hidden} widths ≥ 1")
        sums = {sum(1 / width for width in widths) for widths in self.unequal}
        require(len(sums) > 1, "unequal", [list(widths) for widths in self.unequal], "must have different Σ 1/n_l")
        require(self.narrow.seeds >= 2 * GROUP, "narrow.seeds", self.narrow.seeds, f"must be ≥ {2 * GROUP}")
        require(self.unequal_seeds >= 1, "unequal_seeds", self.unequal_seeds, "must be ≥ 1")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks with the same hidden widths.

    variant: main, narrow, another nonlinearity's name, deep (ReLU, β = 0), biased (as deep, with the network's
    σ and β), unequal, or outputs (n_L = 3).
    """

    variant: str
    hidden: tuple[int, ...]
    n_outputs: int
    seeds: tuple[int, ...]
    network: WideNetworkConfig
    n_samples: int

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        widths = "-".join(map(str, self.hidden if len(set(self.hidden)) > 1 else self.hidden[:1]))
        return f"{self.variant}-L{len(self.hidden) + 1}-n{widths}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow networks first."""
    found = []
    for (variant, hidden), seeds in _ensembles(config).items():
        network = replace(config.network, depth=len(hidden) + 1)
        if variant in config.nonlinearities:
            network = replace(network, nonlinearity=variant)
        if variant == "deep":
            network = replace(network, nonlinearity="relu", beta=0.0)
        widest = max(hidden)
        size = NARROW_BLOCK if variant == "narrow" else BLOCK_SIZE
        for block in blocks(range(seeds), size if widest <= WIDE else 10 if widest <= VERY_WIDE else 1):
            cell = Cell(
                variant=variant,
                hidden=hidden,
                n_outputs=OUTPUTS if variant == "outputs" else 1,
                seeds=block,
                network=network,
                n_samples=config.n_samples,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (max(cell.hidden), cell.label))


def _ensembles(config: Config) -> dict[tuple[str, tuple[int, ...]], int]:
    """(variant, hidden widths) → number of seeds."""
    layers = config.network.depth - 1
    found = {("main", (n,) * layers): seeds for n, seeds in zip(config.main.widths, config.main.seeds, strict=True)}
    for variant in (*config.nonlinearities, "outputs"):
        found |= {(variant, (width,) * layers): config.others.seeds for width in config.others.widths}
    for variant in ("deep", "biased"):
        found |= {(variant, (config.deep.widths[0],) * (depth - 1)): config.deep.seeds for depth in config.depths}
    found |= {("unequal", tuple(widths)): config.unequal_seeds for widths in config.unequal}
    return found | {("narrow", (width,) * layers): config.narrow.seeds for width in config.narrow.widths}


def work(cell: Cell) -> float:
    """Relative cost of a cell: draws, products, and an overhead."""
    layers = len(cell.hidden)
    size = max(cell.hidden)
    return len(cell.seeds) * layers * (3e3 + min(size**2, 40.0 * size * cell.n_samples))


def points(n: int) -> Tensor:
    """The inputs, at random on the circle: (n, 2)."""
    drawn = torch.rand(n, generator=generator(NAME, "points", n), dtype=torch.float64)
    return circle((2 * math.pi * drawn - math.pi).sort().values)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Each network's NTK on the points, less the limit.

    deviation (network, entry): Θ − Θ_∞ above the diagonal and on it, the mean over the outputs' diagonal blocks;
    off_diagonal (network): root mean square over the blocks of two different outputs, NaN for n_L = 1; standard
    (network): ‖K − Θ_∞‖_F for the kernel K of one rate in the usual parametrization (Remark 1); rank, truncation
    (network): of revealed weights.
    Raises MemoryError, naming the largest width that fits, before anything is allocated.
    """
    network_config, x = cell.network, points(cell.n_samples)
    widest = max(cell.hidden)
    dense = widest <= DENSE or network_config.weights == "dense"
    directions = len(x) * cell.n_outputs
    require_memory(widest, lambda n: network_config.nbytes(2, n, cell.n_outputs, len(x), directions), device)
    depth, sigma, beta = network_config.depth, network_config.nonlinearity, network_config.beta
    limit = theta_inf(x, depth=depth, nonlinearity=sigma, beta=beta)
    batches: list[tuple[int, ...]] = [cell.seeds] if widest <= DENSE else [(seed,) for seed in cell.seeds]
    found = []
    for i, seeds in enumerate(batches):
        streams = [generator(NAME, cell.variant, *cell.hidden, seed) for seed in seeds]
        network = Network.init(
            [2, *cell.hidden, cell.n_outputs],
            generator=streams if widest <= DENSE else streams[0],
            nonlinearity=sigma,
            beta=beta,
            dtype=network_config.torch_dtype,
            device=device,
            weight=DenseWeight.draw if dense else revealing(network_config.tolerance),
        )
        found.append(_measure(network, x.to(device), limit))
        progress((i + 1) / len(batches))
    return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))


def _measure(network: Network, x: Tensor, limit: Tensor) -> xr.Dataset:
    tangent = Tangent(network, x)
    n, n_outputs = len(x), network.widths[-1]
    kernel = tangent.kernel.cpu().reshape(-1, n, n_outputs, n, n_outputs)  # of one network, or of an ensemble
    standard = descent_kernel(*layer_kernels(tangent), one_rate(network, 1.0)).cpu()
    standard = standard.reshape(len(kernel), n * n_outputs, n * n_outputs)
    diagonal = torch.einsum("sikjk->sij", kernel) / n_outputs
    upper = torch.triu_indices(n, n)
    off = torch.full((len(kernel),), math.nan, dtype=torch.float64)
    if n_outputs > 1:
        different = ~torch.eye(n_outputs, dtype=torch.bool)
        off = kernel.permute(0, 2, 4, 1, 3)[:, different].square().mean(dim=(1, 2, 3)).sqrt()
    tensor_limit = torch.kron(limit, torch.eye(n_outputs, dtype=torch.float64))
    return xr.Dataset(
        {
            "deviation": (("network", "entry"), (diagonal - limit)[:, upper[0], upper[1]].numpy().astype(np.float32)),
            "off_diagonal": ("network", off.numpy()),
            "standard": ("network", (standard - tensor_limit).flatten(1).norm(dim=1).numpy()),
            "rank": ("network", [rank(network.weights)] * len(kernel)),
            "truncation": ("network", [truncation(network.weights)] * len(kernel)),
        }
    )


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All networks, or means of groups of narrow ones, along one dimension; limit (network, entry): Θ_∞ of each."""
    ensembles, parts = _ensembles(config), []
    x = points(config.n_samples)
    upper = np.triu_indices(len(x))
    for cell, dataset in results:
        wanted = dataset.isel(network=dataset.seed.values < ensembles[cell.variant, cell.hidden])
        if cell.variant == "narrow":  # so many, of which only the mean is of interest
            wanted = wanted.coarsen(network=GROUP, boundary="trim").mean()
            wanted = wanted.assign({name: wanted[name].astype(int) for name in ("seed", "rank")})
        size = wanted.sizes["network"]
        network = cell.network
        limit = theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta).numpy()
        names: dict[str, list[str] | list[int] | list[float]] = {
            "variant": [cell.variant] * size,
            "depth": [network.depth] * size,
            "width": [max(cell.hidden)] * size,
            "hidden": ["-".join(map(str, cell.hidden))] * size,
            "inverse_widths": [sum(1 / width for width in cell.hidden)] * size,
            "scale": [math.sqrt(np.square(limit).mean())] * size,
        }
        found = {name: ("network", values) for name, values in names.items()}
        deep = np.broadcast_to(limit[upper].astype(np.float32), (size, len(upper[0])))
        parts.append(wanted.assign(found).assign(limit=(("network", "entry"), deep)))
    networks = xr.concat(parts, dim="network", join="exact", combine_attrs="drop")
    return networks.assign(diagonal=("entry", (upper[0] == upper[1]).astype(np.int8))).assign_attrs(
        widths=sorted(config.main.widths),
        nonlinearities=config.nonlinearities,
        others=sorted(config.others.widths),
        depths=sorted(config.depths),
        deep=config.deep.widths[0],
        narrow=sorted(config.narrow.widths),
        n_samples=config.n_samples,
        network=asdict(config.network),
        largest_rank=int(networks["rank"].max()),
        largest_truncation=float(networks.truncation.max()),
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Root mean square of ‖Θ − Θ_∞‖/‖Θ_∞‖ against n."""
    for width in dataset.attrs["widths"]:
        yield float(width), {"deviation": rms(relative(select(dataset, "main", width)))}


def select(dataset: xr.Dataset, variant: str, width: int | None = None) -> xr.Dataset:
    """The networks of a variant, of one width if given."""
    chosen = dataset.variant == variant
    if width is not None:
        chosen = chosen & (dataset.width == width)
    return dataset.isel(network=np.flatnonzero(chosen))


def relative(networks: xr.Dataset) -> np.ndarray:
    """(Θ − Θ_∞) ÷ rms of Θ_∞, for each network and entry."""
    found: np.ndarray = networks.deviation.values.astype(float) / networks.scale.values[:, None]
    return found


def variance(networks: np.ndarray) -> float:
    """Variance over networks, (seeds, …), the mean over the rest."""
    return float(networks.var(axis=0, ddof=1).mean())


def bias(values: np.ndarray) -> float:
    """|E Θ − Θ_∞|, (seeds, entries), the mean over entries weighted by their precision: far from the diagonal."""
    weights = 1 / np.maximum(values.var(axis=0, ddof=1), 1e-12)
    return float(abs((values.mean(axis=0) * weights).sum() / weights.sum()))


def on_diagonal(networks: xr.Dataset) -> np.ndarray:
    """Θ(x, x)/Θ_∞(x, x), (seeds, points)."""
    chosen = networks.isel(entry=np.flatnonzero(networks.diagonal))
    found: np.ndarray = 1 + chosen.deviation.values.astype(float) / chosen.limit.values
    return found


def log_second_moment(ratios: np.ndarray) -> float:
    """ln E[Θ(x, x)²]/E[Θ(x, x)]², the mean over points, of ratios (seeds, points)."""
    return float(np.log(np.square(ratios).mean(axis=0) / np.square(ratios.mean(axis=0))).mean())


def second_moment(depth: int) -> float:
    """c of ln E[Θ(x, x)²]/E[Θ(x, x)]² = c Σ_l 1/n_l to first order, for ReLU, β = 0 and equal widths.

    Θ has L terms of equal mean, the l-th a product of squared norms: of α below layer l, of δ above. A hidden layer
    adds E[σ⁴]/E[σ²]² − 1 = 5 over n to the covariance of two terms if it is on the same side of both, and
    E[σ²σ̇²]/(E[σ²]E[σ̇²]) − 1 = 1 over n if it is between them, as |l − l'| of the L − 1 are, (L² − 1)/(3L) on
    average: c = 5 − (4/3)(1 + 1/L), from 3 for L = 2 to 11/3.
    """
    return 5 - 4 / 3 * (1 + 1 / depth)


def arrangements(dataset: xr.Dataset) -> tuple[list[float], list[np.ndarray]]:
    """Σ_l 1/n_l and ``relative`` of the networks of each arrangement of unequal widths."""
    networks = select(dataset, "unequal")
    groups = [
        networks.isel(network=np.flatnonzero(networks.hidden == name)) for name in sorted(set(networks.hidden.values))
    ]
    return [float(group.inverse_widths[0]) for group in groups], [relative(group) for group in groups]


def _check_convergence(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    groups = [relative(select(dataset, "main", width)) for width in widths]
    found = [
        rate("‖Θ − Θ_∞‖", rms, widths, groups, (-0.55, -0.45)),
        rate("sd of Θ", lambda group: math.sqrt(variance(group)), widths, groups, (-0.55, -0.45)),
    ]
    last = interval([groups[-1]], lambda sample: rms(sample[0]))
    return [*found, Statistic(f"rms of ‖Θ − Θ_∞‖ ÷ ‖Θ_∞‖ (n={widths[-1]})", *last, (0.0, 0.03))]


def _check_nonlinearities(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["others"]
    return [
        rate(f"‖Θ − Θ_∞‖ ({name})", rms, widths, [relative(select(dataset, name, n)) for n in widths], (-0.6, -0.4))
        for name in dataset.attrs["nonlinearities"]
    ]


def _check_outputs(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["others"]
    groups = [select(dataset, "outputs", width) for width in widths]
    return [
        rate("blocks of two outputs", rms, widths, [group.off_diagonal.values for group in groups], (-0.6, -0.4)),
        rate("blocks of one output − Θ_∞", rms, widths, [relative(group) for group in groups], (-0.6, -0.4)),
    ]


def _check_bias(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["narrow"]
    groups = [relative(select(dataset, "narrow", width)) for width in widths]
    return [rate("bias of Θ", bias, widths, groups, (-1.25, -0.75))]


def _check_depth(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    for depth in dataset.attrs["depths"]:
        networks = _at_depth(dataset, "deep", depth)
        expected = second_moment(depth) * float(networks.inverse_widths[0])
        estimate = interval([on_diagonal(networks)], lambda s, c=expected: log_second_moment(s[0]) / c)  # type: ignore[misc]
        name = f"ln(E[Θ²]/E[Θ]²) ÷ {second_moment(depth):.3g} Σ1/n (L={depth})"
        found.append(Statistic(name, *estimate, (1 - DEPTH, 1 + DEPTH)))
    depths = dataset.attrs["depths"]
    groups = [on_diagonal(_at_depth(dataset, "biased", depth)) for depth in (depths[-1], depths[0])]
    beta = dataset.attrs["network"]["beta"]
    name = f"ln(E[Θ²]/E[Θ]²), β = {beta:g}: L = {depths[-1]} ÷ L = {depths[0]}"
    growth = interval(groups, lambda pair: log_second_moment(pair[0]) / log_second_moment(pair[1]))
    return [*found, Statistic(name, *growth, (2.0, math.inf))]


def _at_depth(dataset: xr.Dataset, variant: str, depth: int) -> xr.Dataset:
    networks = select(dataset, variant)
    return networks.isel(network=np.flatnonzero(networks.depth == depth))


def _check_unequal(dataset: xr.Dataset) -> list[Statistic]:
    sums, groups = arrangements(dataset)

    def power(sample: Sequence[np.ndarray]) -> float:
        return float(np.polyfit(np.log(sums), np.log([variance(group) for group in sample]), 1)[0])

    def scatter(sample: Sequence[np.ndarray]) -> float:
        ratios = np.array([variance(group) / value for group, value in zip(sample, sums, strict=True)])
        return float(np.log(ratios).std())

    return [
        Statistic("exponent of Var Θ in Σ 1/n_l", *interval(groups, power), (0.8, 1.2)),
        Statistic("scatter of ln(Var Θ ÷ Σ 1/n_l)", *interval(groups, scatter), (-math.inf, 0.4)),
    ]


def _standard(dataset: xr.Dataset) -> xr.Dataset:
    """The kernel of the standard parametrization in the place of Θ."""
    spread = dataset.standard.values[:, None] / math.sqrt(dataset.sizes["entry"])
    values = np.broadcast_to(spread, dataset.deviation.shape)
    return dataset.assign(deviation=(dataset.deviation.dims, values))


def _one_width(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks of each variant in the place of all of its widths."""
    parts = [
        dataset.isel(
            network=np.flatnonzero(~dataset.variant.isin(["narrow", "outputs", *dataset.attrs["nonlinearities"]]))
        )
    ]
    for variant in ("narrow", "outputs", *dataset.attrs["nonlinearities"]):
        widths = dataset.attrs["narrow" if variant == "narrow" else "others"]
        narrow = select(dataset, variant, widths[0])
        parts += [narrow.assign(width=("network", [n] * narrow.sizes["network"])) for n in widths]
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _one_output(dataset: xr.Dataset) -> xr.Dataset:
    """The blocks of one output in the place of those of two: as if all outputs were the same."""
    return dataset.assign(off_diagonal=("network", dataset.scale.values))


def _depth_free(dataset: xr.Dataset) -> xr.Dataset:
    """The shallowest networks in the place of all depths."""
    parts = []
    for variant in ("deep", "biased"):
        shallow = _at_depth(dataset, variant, dataset.attrs["depths"][0])
        for depth in dataset.attrs["depths"]:
            size = shallow.sizes["network"]
            sums = [(depth - 1) / dataset.attrs["deep"]] * size
            parts.append(shallow.assign(depth=("network", [depth] * size), inverse_widths=("network", sums)))
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _widest_layer(dataset: xr.Dataset) -> xr.Dataset:
    """As if the widest layer alone counted."""
    return dataset.assign(inverse_widths=("network", 1 / dataset.width.values))


_NARROW = Control("one width in the place of all", _one_width)

CLAIMS = (
    Claim(
        id="theorem1.convergence",
        place="Theorem 1",
        statement="At initialization the NTK tends to Θ_∞ as the width grows.",
        paper="in probability (no rate)",
        criterion="the exponents in n of the rms of ‖Θ − Θ_∞‖ and of the sd of Θ lie in [−0.55, −0.45] over all "
        "widths, and at the largest the former is below 3 % of ‖Θ_∞‖",
        figure="theorem1",
        check=_check_convergence,
        controls=(Control("the standard parametrization, whose kernel grows with n", _standard),),
    ),
    Claim(
        id="theorem1.nonlinearities",
        place="Theorem 1",
        statement="So it does for other Lipschitz nonlinearities.",
        paper="for every Lipschitz σ",
        criterion="the exponent lies in [−0.6, −0.4] for each of them",
        figure="theorem1",
        check=_check_nonlinearities,
        controls=(_NARROW,),
    ),
    Claim(
        id="theorem1.outputs",
        place="Theorem 1",
        statement="With several outputs it tends to Θ_∞ ⊗ Id: each output has the same kernel, two have none.",
        paper="Θ_∞ ⊗ Id",
        criterion="for n_L = 3 the exponents in n of the blocks of two outputs, and of those of one less Θ_∞, lie in "
        "[−0.6, −0.4]",
        figure="theorem1",
        check=_check_outputs,
        controls=(Control("one output three times", _one_output),),
    ),
    Claim(
        id="theorem1.bias",
        place="Theorem 1",
        statement="The mean of Θ approaches the limit faster than a single Θ does, like 1/n.",
        paper="not discussed",
        criterion="the exponent in n of the bias of narrow networks, averaged over entries by their precision, lies in "
        "[−1.25, −0.75]",
        figure="theorem1_structure",
        check=_check_bias,
        controls=(_NARROW,),
        note="our own addition; later theory has O(1/n) off the diagonal",
    ),
    Claim(
        id="theorem1.depth",
        place="Theorem 1",
        statement="The relative spread of Θ(x, x) without biases grows with the depth as e^{c Σ 1/n_l} − 1, with "
        "c = 5 − (4/3)(1 + 1/L): 3 for one hidden layer, and towards 11/3 for many.",
        paper="not discussed",
        criterion=f"for ReLU and β = 0, ln(E[Θ²]/E[Θ]²) is within {DEPTH:.0%} of c Σ_l 1/n_l at every depth; with the "
        "paper's β it is at least twice as large for the deepest networks as for the shallowest",
        figure="theorem1_structure",
        check=_check_depth,
        controls=(Control("the shallowest networks in the place of all", _depth_free),),
        note="our own addition, and exact to order 1/n; Hanin and Nica (2019) bound E[Θ²]/E[Θ]² by constants times "
        "e^{5 Σ 1/n_l}, for depths comparable with the width too",
    ),
    Claim(
        id="theorem1.unequal",
        place="Theorem 1",
        statement="With unequal widths, Σ_l 1/n_l is what the spread depends on.",
        paper="the widths go to infinity one after the other",
        criterion="over arrangements of hidden widths the exponent of Var Θ in Σ_l 1/n_l lies in [0.8, 1.2], and the "
        "standard deviation of ln(Var Θ ÷ Σ_l 1/n_l) between them is below 0.4",
        figure="theorem1_structure",
        check=_check_unequal,
        controls=(Control("1/n of the widest layer in the place of the sum", _widest_layer),),
        note="our own addition",
    ),
)
