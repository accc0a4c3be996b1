"""Theorem 1 (paper §4.1): the NTK at initialization tends to Θ_∞ ⊗ Id, over five decades of width.

Θ⁽ᴸ⁾(θ) is computed on a few points of the unit circle; wide networks have revealed hidden matrices. Its distance to the
limit is measured against the width, for several nonlinearities, depths, unequal widths and n_L = 3 outputs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...datasets import circle, random_angles
from ...limit import theta_inf
from ...network import Network
from ...revealed import rank, revealing, truncation
from ...study.experiment import Cell, Ensemble, Experiment, Progress, select, silent
from ...study.machine import require_memory
from ...study.settings import WideNetworkConfig
from ...study.statistics import rms
from ...tangent import Tangent
from ...usual import descent_kernel, layer_kernels, one_rate
from ...weights import DenseWeight
from .claims import CLAIMS, relative
from .settings import DENSE, GROUP, Config

BLOCK_SIZE, WIDE, VERY_WIDE, NARROW_BLOCK = 100, 2000, 50_000, 25
"""A cell holds BLOCK_SIZE networks, 10 if they are wider than WIDE, 1 if wider than VERY_WIDE, or NARROW_BLOCK groups
of narrow networks."""
OUTPUTS = 3


@dataclass(frozen=True, kw_only=True)
class Initialized:
    """Networks at initialization with the same hidden widths, and the number of points.

    variant: main, narrow, the name of another nonlinearity, deep (ReLU, β = 0), biased (as deep, but with the network's
    σ and β), unequal, or outputs (n_L = 3); group: the number of networks whose mean is stored.
    """

    variant: str
    hidden: tuple[int, ...]
    n_outputs: int
    group: int
    network: WideNetworkConfig
    n_samples: int

    def draw(self, generator: torch.Generator | Sequence[torch.Generator], device: str) -> Network:
        """A network, or an ensemble for a sequence of generators.

        Raises MemoryError, naming the largest width that fits, before anything is allocated.
        """
        config, widest, directions = self.network, max(self.hidden), self.n_samples * self.n_outputs
        require_memory(widest, lambda n: config.nbytes(2, n, self.n_outputs, self.n_samples, directions), device)
        dense = widest <= DENSE or config.weights == "dense"
        return Network.init(
            [2, *self.hidden, self.n_outputs],
            generator=generator,
            nonlinearity=config.nonlinearity,
            beta=config.beta,
            dtype=config.torch_dtype,
            device=device,
            weight=DenseWeight.draw if dense else revealing(config.tolerance),
        )


class Theorem1(Experiment[Config, Initialized]):
    """The NTK at initialization minus its limit, for many widths, depths, nonlinearities and numbers of outputs."""

    name = "theorem1"
    version = 2
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"dense": DENSE}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Initialized]]:
        layers = config.network.depth - 1
        numbers = [
            ("main", (n,) * layers, seeds) for n, seeds in zip(config.main.widths, config.main.seeds, strict=True)
        ]
        for variant in (*config.nonlinearities, "outputs"):
            numbers += [(variant, (width,) * layers, config.others.seeds) for width in config.others.widths]
        for variant in ("deep", "biased"):
            numbers += [(variant, (config.deep.widths[0],) * (depth - 1), config.deep.seeds) for depth in config.depths]
        numbers += [("unequal", tuple(hidden), config.unequal_seeds) for hidden in config.unequal]
        numbers += [("narrow", (width,) * layers, config.narrow.seeds // GROUP) for width in config.narrow.widths]
        for variant, hidden, seeds in numbers:
            network, widest = replace(config.network, depth=len(hidden) + 1), max(hidden)
            if variant in config.nonlinearities:
                network = replace(network, nonlinearity=variant)
            if variant == "deep":
                network = replace(network, nonlinearity="relu", beta=0.0)
            group, size = (GROUP, NARROW_BLOCK) if variant == "narrow" else (1, BLOCK_SIZE)
            yield Ensemble(
                labels={"variant": variant, "depth": len(hidden) + 1, "hidden": "-".join(map(str, hidden))},
                setting=Initialized(
                    variant=variant,
                    hidden=hidden,
                    n_outputs=OUTPUTS if variant == "outputs" else 1,
                    group=group,
                    network=network,
                    n_samples=config.n_samples,
                ),
                seeds=range(seeds),
                block=size if widest <= WIDE else 10 if widest <= VERY_WIDE else 1,
                # Drawing, products, and a fixed overhead.
                work=group * len(hidden) * (3e3 + min(widest**2, 40.0 * widest * config.n_samples)),
            )

    def compute(self, cell: Cell[Initialized], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """As ``measure``, but for all narrow networks of a cell at once.

        The group of a seed has the networks seed·group … (seed + 1)·group − 1.
        """
        setting = cell.setting
        if max(setting.hidden) > DENSE:
            return super().compute(cell, device, progress)
        seeds = [seed * setting.group + i for seed in cell.seeds for i in range(setting.group)]
        network = setting.draw([cell.stream(setting.variant, *setting.hidden, seed) for seed in seeds], device)
        return _measured(network, points(cell), setting)

    def measure(self, cell: Cell[Initialized], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """A network's NTK on the points, minus the limit.

        deviation (entry): Θ − Θ_∞ on and above the diagonal, averaged over the diagonal blocks of the outputs; limit
        (entry): Θ_∞; scale: its root mean square; off_diagonal: root mean square over the blocks of two different
        outputs, NaN for n_L = 1; standard: ‖K − Θ_∞‖_F, where K is the kernel for one learning rate in the usual
        parametrization (Remark 1); rank, truncation: see ``revealed``, for revealed weights; width: max n_l;
        inverse_widths: Σ 1/n_l, for 0 < l < L.
        """
        network = cell.setting.draw(cell.stream(cell.setting.variant, *cell.setting.hidden, seed), device)
        return _measured(network, points(cell), cell.setting).isel(network=0)

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks, and the means of groups of narrow networks, along one dimension.

        diagonal (entry): whether x_i = x_j. For the many networks of other depths only the diagonal is kept, so that
        the published file stays small.
        """
        rows, columns = np.triu_indices(config.n_samples)
        networks = parts["network"].assign(diagonal=("entry", (rows == columns).astype(np.int8)))
        whole = ~networks.variant.isin(["deep", "biased"])
        return networks.assign(
            deviation=networks.deviation.where(whole | (networks.diagonal == 1)),
            standard=networks.standard.where(whole).astype(np.float32),
        ).assign_attrs(
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

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The root mean square of ‖Θ − Θ_∞‖/‖Θ_∞‖, against n."""
        for width in dataset.attrs["widths"]:
            yield float(width), {"deviation": rms(relative(select(dataset, variant="main", width=width)))}


def points(cell: Cell[Initialized]) -> Tensor:
    """The inputs, at random on the circle: (n_samples, 2)."""
    n = cell.setting.n_samples
    return circle(random_angles(n, cell.stream("points", n)))


@cache
def _limit(x: tuple[tuple[float, float], ...], depth: int, nonlinearity: str, beta: float) -> Tensor:
    """Θ_∞ on the points. It is cached, because all networks of a cell share it and some σ take a second."""
    return theta_inf(torch.tensor(x, dtype=torch.float64), depth=depth, nonlinearity=nonlinearity, beta=beta)


def _measured(network: Network, x: Tensor, setting: Initialized) -> xr.Dataset:
    """The variables of ``measure`` for one network, for each network of an ensemble, or averaged over its groups."""
    config, n, n_outputs = setting.network, len(x), setting.n_outputs
    limit = _limit(tuple(map(tuple, x.tolist())), config.depth, config.nonlinearity, config.beta)
    tangent = Tangent(network, x.to(network.biases[0].device))
    kernel = tangent.kernel.cpu().reshape(-1, n, n_outputs, n, n_outputs)
    standard = descent_kernel(*layer_kernels(tangent), one_rate(network, 1.0)).cpu()
    standard = standard.reshape(len(kernel), n * n_outputs, n * n_outputs)
    diagonal = torch.einsum("sikjk->sij", kernel) / n_outputs
    off = torch.full((len(kernel),), math.nan, dtype=torch.float64)
    if n_outputs > 1:
        different = ~torch.eye(n_outputs, dtype=torch.bool)
        off = kernel.permute(0, 2, 4, 1, 3)[:, different].square().mean(dim=(1, 2, 3)).sqrt()
    tensor_limit = torch.kron(limit, torch.eye(n_outputs, dtype=torch.float64))
    rows, columns = np.triu_indices(n)
    networks = xr.Dataset(
        {
            "deviation": (("network", "entry"), (diagonal - limit)[:, rows, columns].numpy().astype(np.float32)),
            "off_diagonal": ("network", off.numpy()),
            "standard": ("network", (standard - tensor_limit).flatten(1).norm(dim=1).numpy()),
            "truncation": ("network", [truncation(network.weights)] * len(kernel)),
        }
    )
    if setting.group > 1:
        networks = networks.coarsen(network=setting.group).mean()
    size = networks.sizes["network"]
    same = {
        "rank": rank(network.weights),
        "width": max(setting.hidden),
        "inverse_widths": sum(1 / width for width in setting.hidden),
        "scale": rms(limit.numpy()),
    }
    return networks.assign({name: ("network", [value] * size) for name, value in same.items()}).assign(
        limit=(("network", "entry"), np.tile(limit.numpy()[rows, columns].astype(np.float32), (size, 1)))
    )


EXPERIMENT = Theorem1()
