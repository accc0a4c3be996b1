"""Proposition 1 (paper §4.1): at initialization the outputs of a wide network are i.i.d. Gaussian processes.

Given the last hidden layer, the outputs are independent, and each is Gaussian with covariance
q(x, x') = α(x)·α(x')/n + β². At finite n, q is random. This alone makes the outputs non-Gaussian and dependent: the
excess kurtosis of f_k(x) is 3 Var(q)/E[q]², and Cov(f_k², f_k'²) = Var(q).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...datasets import circle, random_angles
from ...limit import sigma_inf
from ...network import Network
from ...revealed import rank, truncation
from ...study.experiment import Cell, Ensemble, Experiment, Progress, silent
from ...study.settings import WideNetworkConfig
from ...study.statistics import rms
from .claims import CLAIMS, kurtosis, relative
from .settings import DENSE, JOINT, Config

BLOCK_SIZE, WIDE, VERY_WIDE = 200, 2000, 50_000
"""A cell holds BLOCK_SIZE networks, 20 if they are wider than WIDE, and 1 if wider than VERY_WIDE."""
OUTPUTS = 2
SHARED_BIAS = 1.0
"""In the control, all neurons of the last hidden layer share a bias of this size."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of networks of one depth on n_samples points. An instance of this class itself is the limit."""

    network: WideNetworkConfig
    n_samples: int


@dataclass(frozen=True, kw_only=True)
class OutputsAtWidth(Outputs):
    """The outputs of networks of one width. variant: main, outputs (two outputs are compared), or shared (control)."""

    variant: str
    width: int


class Prop1(Experiment[Config, Outputs]):
    """The outputs of networks of every depth and width at initialization, and the limit of the covariance."""

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
        """As ``measure``, but for all narrow networks of a cell at once."""
        setting = cell.setting
        if not isinstance(setting, OutputsAtWidth) or setting.width > DENSE:
            return super().compute(cell, device, progress)
        streams = [cell.stream(setting.variant, setting.network.depth, setting.width, seed) for seed in cell.seeds]
        network = setting.network.draw(2, setting.width, OUTPUTS, generator=streams, device=device)
        if setting.variant == "shared":
            _share(network, streams)
        return _measured(network, points(cell).to(device))

    def measure(self, cell: Cell[Outputs], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """A network's outputs and their conditional covariance, or the limit of that covariance.

        q (entry): q(x_i, x_j) for i ≤ j; f (output, point): the outputs; rank, truncation: see ``revealed``, for
        revealed weights. The limit: sigma (entry), Σ(x_i, x_j).
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
        """All networks along one dimension. sigma (depth, entry): Σ; diagonal (entry): whether x_i = x_j."""
        networks, limits = parts["network"], parts["limit"]
        rows, columns = np.triu_indices(config.n_samples)
        diagonal = xr.DataArray(rows == columns, dims="entry")
        return (
            networks.assign(  # NaN, which takes no room in a file, where no claim and no figure reads the value
                q=networks.q.where((networks.variant != "outputs") | diagonal),
                f=networks.f.where((networks.variant != "main") | (networks.width >= JOINT)),
                sigma=(("depth", "entry"), limits.sigma.values),
                diagonal=diagonal.astype(np.int8),
            )
            .assign_coords(depth=limits.limit_L.values)
            .assign_attrs(
                widths=sorted(config.widths),
                outputs=sorted(config.outputs.widths),
                shared=sorted(config.shared.widths),
                joint=sorted(width for width in config.widths if width >= JOINT),
                network=asdict(config.network),
                largest_rank=int(networks["rank"].max()),
                largest_truncation=float(networks.truncation.max()),
            )
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The excess kurtosis of an output and the relative distance between q and Σ, against n."""
        for width in dataset.attrs["widths"]:
            for depth in dataset.depth.values:
                q = relative(dataset, "main", depth, width)
                yield float(width), {f"kurtosis/L={depth}": kurtosis(q), f"distance/L={depth}": rms(q - 1)}


def points(cell: Cell[Outputs]) -> Tensor:
    """The inputs, at random on the circle: (n_samples, 2)."""
    n = cell.setting.n_samples
    return circle(random_angles(n, cell.stream("points", n)))


def _share(network: Network, streams: Sequence[torch.Generator]) -> None:
    """Add one weight, drawn from N(0, 1), that all neurons of the last hidden layer share."""
    common = torch.tensor([float(torch.randn(1, generator=stream)) for stream in streams])
    network.biases[-2] += (SHARED_BIAS / network.beta * common)[:, None, None].to(network.biases[-2])


def _measured(network: Network, x: Tensor) -> xr.Dataset:
    """The variables of ``measure`` for one network, or for each network of an ensemble."""
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
