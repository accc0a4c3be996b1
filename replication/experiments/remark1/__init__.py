"""Remark 1 (paper §2): the NTK parametrization, the usual one, and the effect of β and of the factors 1/√n_l.

There are three kinds of networks. Mapped ones are trained together with their counterparts in the usual
parametrization, with the learning rates that make both the same. Compared ones are trained together with usual networks
that have one rate for all parameters, as in the paper's comparison. Initial ones are wide networks at initialization;
the parts of their kernels are measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import product
from typing import ClassVar

import xarray as xr

from ...study.experiment import Cell, Ensemble, Experiment, Label, Progress
from ...study.statistics import geometric
from .claims import CLAIMS, compared, initial, share, usual_share
from .measure import BesideUsual, Limit, WithBetas, compare, kernel_parts, map_to_usual, share_in_limit
from .settings import RUNS, SLOW, Config

BLOCK_SIZES = {"mapped": 2, "compared": 10, "initial": 20}
"""Number of networks in a cell."""
STREAMS = {"mapped": "map", "compared": "classical", "initial": "kernel"}
"""Kind → the key of its random streams."""

Measured = BesideUsual | WithBetas | Limit


class Remark1(Experiment[Config, Measured]):
    """Training towards x_1x_2 in both parametrizations, and the kernel for several β and widths."""

    name = "remark1"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"runs": RUNS, "slow": SLOW}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Measured]]:
        betas = tuple(sorted(config.kernel.betas))
        yield Ensemble(labels={}, setting=Limit(network=config.network, betas=betas), seeds=(0,), kind="limit")
        for kind, labels, setting, seeds in _networks(config):
            passes = (1 + len(RUNS)) * setting.steps if isinstance(setting, BesideUsual) and setting.trained else 20
            yield Ensemble(
                kind=kind,
                labels=labels,
                setting=setting,
                seeds=range(seeds),
                block=BLOCK_SIZES[kind],
                work=passes * (max(setting.hidden) ** 2 + 5e4),
            )

    def measure(self, cell: Cell[Measured], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """See ``map_to_usual``, ``compare``, ``kernel_parts`` and, for the limit, ``share_in_limit``."""
        setting = cell.setting
        if isinstance(setting, Limit):
            return share_in_limit(setting.network, setting.betas)
        stream = cell.stream("network", STREAMS[cell.kind], setting.n_0, *setting.hidden, seed)
        network = setting.draw(stream, device)
        x = setting.inputs(cell.stream("inputs", setting.n_0, setting.n_samples)).to(device)
        if isinstance(setting, WithBetas):
            return kernel_parts(setting.betas, network, x)
        return (map_to_usual if cell.kind == "mapped" else compare)(setting, network, x, x[:, :1] * x[:, 1:2])

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The networks of each kind along their own dimension, and the limit for each β."""
        limit = parts["limit"][["share_inf"]].isel(limit=0)
        kinds = [parts["mapped"], parts["compared"], parts["initial"], limit]
        return xr.merge(kinds, combine_attrs="drop").assign_attrs(
            network=asdict(config.network),
            width=config.width,
            widths=sorted(config.kernel.widths),
            compared=sorted(config.classical.widths),
            inputs=sorted(config.classical.inputs),
            betas=sorted(config.kernel.betas),
            learning_rate=config.classical.learning_rate,
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The biases' share of Θ for each β, λ_max in both parametrizations, and the ratio of speeds, against n."""
        beta = dataset.attrs["network"]["beta"]
        for width in sorted({*dataset.attrs["widths"], *dataset.attrs["compared"]}):
            row = {}
            if width in dataset.attrs["widths"]:
                for value in dataset.attrs["betas"]:
                    row[f"bias_share/beta={value}"] = float(share(initial(dataset, width, value)).mean())
                networks = initial(dataset, width, beta)
                row["bias_share/usual"] = float(usual_share(networks).mean())
                row["lambda_max/ntk"] = geometric(networks.largest.values)
                row["lambda_max/usual"] = geometric(networks.largest_usual.values)
            if width in dataset.attrs["compared"]:
                networks = compared(dataset, width, 2)
                row |= {f"speed_ratio/{run}": float(2 ** networks.doublings.sel(run=run).mean()) for run in RUNS}
            yield float(width), row


def _networks(config: Config) -> Iterator[tuple[str, Mapping[str, Label], BesideUsual | WithBetas, int]]:
    """The kind, labels, setting and number of seeds of every ensemble of networks."""
    network, n_samples = config.network, config.n_samples
    for hidden, sigma, beta in product(config.map.hidden, config.map.nonlinearities, config.map.betas):
        setting = BesideUsual(
            hidden=tuple(hidden),
            n_0=2,
            network=replace(network, nonlinearity=sigma, beta=beta),
            n_samples=n_samples,
            learning_rate=config.map.learning_rate,
            steps=config.map.steps,
            trained=True,
        )
        labels: dict[str, Label] = {"hidden": "-".join(map(str, hidden)), "sigma": sigma, "beta": beta}
        yield "mapped", labels, setting, config.map.seeds
    sizes = {(width, 2) for width in config.classical.widths} | {(config.width, n_0) for n_0 in config.classical.inputs}
    for width, n_0 in sorted(sizes):
        named = width == config.width
        setting = BesideUsual(
            hidden=(width,) * (network.depth - 1),
            n_0=n_0,
            network=replace(network, beta=network.beta if named else width**-0.5),
            n_samples=n_samples,
            learning_rate=config.classical.learning_rate,
            steps=config.classical.steps,
            trained=named and n_0 == 2,
        )
        yield "compared", {"n_0": n_0, "width": width}, setting, config.classical.seeds
    betas = tuple(sorted(config.kernel.betas))
    for width, seeds in zip(config.kernel.widths, config.kernel.seeds, strict=True):
        widths = (width,) * (network.depth - 1)
        wide = WithBetas(hidden=widths, n_0=2, network=network, n_samples=n_samples, betas=betas)
        yield "initial", {"width": width}, wide, seeds


EXPERIMENT = Remark1()
