"""Beyond Theorem 2 (paper §4.2): the drift Θ_t − Θ_0 of each network, of order 1/n, predicted without training it.

For networks of every width and σ the drift is predicted by the second Picard iterate (``replication.drift``); then the
same network is trained by gradient flow. The error of the prediction is of order 1/n of the drift. Pairs of networks
with opposite f_0 give the mean drift, ReLU networks the effect of kinks, and the networks of Figure 1 their inflation.
At initialization, the mean NTK of many small networks differs from the limit by c/n, where c is derived.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import ClassVar

import xarray as xr

from ...study.experiment import Cell, Ensemble, Experiment, Label, Progress, select, silent
from ...study.statistics import geometric
from ...training import DivergenceError
from . import bias, measure
from .claims import CLAIMS
from .measure import Checked, Inflated, OnCircle, Trained, WithKinks
from .settings import DENSE, Config

BLOCK_SIZE, FEW, WIDE, TOGETHER = 20, 5, 5000, 256
"""A cell holds BLOCK_SIZE networks, FEW of the kinds that take longer, and 1 above the width WIDE. Up to the width
TOGETHER the networks of a cell are one ensemble."""

Setting = Trained | Checked | OnCircle | WithKinks | Inflated | bias.Sample | bias.Derived
KINDS = ("network", "pair", "check", "curve", "kinked", "figure1", "block", "derived")
"""network: prediction and training; pair: opposite f_0; check: two solvers; curve: along the circle; kinked: ReLU;
figure1: the networks of Figure 1; block: many networks at t = 0; derived: the theory for these."""


class PredictedDrift(Experiment[Config, Setting]):
    """The drift of Θ, predicted and measured, for every width and σ."""

    name = "drift"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"points": bias.POINTS, "diagonal": measure.DIAGONAL}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        for sigma in config.nonlinearities:
            for width, count in zip(config.widths, config.seeds, strict=True):
                labels: dict[str, Label] = {"nonlinearity": sigma, "width": width}
                block = BLOCK_SIZE if width <= WIDE else 1
                setting = _trained(config, sigma, width)
                yield Ensemble(labels=labels, setting=setting, seeds=range(count), block=block, work=_work(width))
            for width in config.pairs.widths:
                labels = {"nonlinearity": sigma, "width": width}
                setting, seeds = _trained(config, sigma, width), range(config.pairs.seeds)
                work = 2 * _work(width)
                yield Ensemble(labels=labels, setting=setting, seeds=seeds, block=BLOCK_SIZE, work=work, kind="pair")
        first = config.nonlinearities[0]
        for width in config.check.widths:
            checked = Checked(trained=_trained(config, first, width), tolerance=config.check.tolerance / width)
            work, seeds = 5 * _work(width), range(config.check.seeds)
            yield Ensemble(labels={"width": width}, setting=checked, seeds=seeds, work=work, kind="check")
        if config.curve.width:
            width = config.curve.width
            curve = OnCircle(trained=_trained(config, first, width), intervals=config.curve.intervals)
            yield Ensemble(labels={"width": width}, setting=curve, seeds=(0,), work=_work(width), kind="curve")
        for width in config.kinked.widths:
            kinked = WithKinks(
                trained=_trained(config, "relu", width), tolerance=config.kinked.tolerance, scale=config.kinked.scale
            )
            work, seeds = 2 * _work(width), range(config.kinked.seeds)
            yield Ensemble(labels={"width": width}, setting=kinked, seeds=seeds, block=FEW, work=work, kind="kinked")
        for width, count in zip(config.figure1.widths, config.figure1.seeds, strict=True):
            one = config.figure1
            inflated = Inflated(
                width=width,
                network=one.network,
                n_samples=one.n_samples,
                t=one.t,
                nodes=one.nodes,
                tolerance=one.tolerance,
            )
            work = 0.5 + 4e-7 * width**2
            block = FEW if width <= DENSE else 1
            yield Ensemble(
                labels={"width": width}, setting=inflated, seeds=range(count), block=block, work=work, kind="figure1"
            )
        for sigma in config.bias.nonlinearities if config.bias.widths else ():
            for width in config.bias.widths:
                sample = bias.Sample(
                    width=width, networks=config.bias.networks, nonlinearity=sigma, beta=config.network.beta
                )
                labels = {"nonlinearity": sigma, "width": width}
                work, seeds = config.bias.networks * width * 1e-6, range(config.bias.blocks)
                yield Ensemble(labels=labels, setting=sample, seeds=seeds, block=FEW, work=work, kind="block")
            theory = bias.Derived(nonlinearity=sigma, beta=config.network.beta)
            yield Ensemble(labels={"nonlinearity": sigma}, setting=theory, seeds=(0,), work=0.1, kind="derived")

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """The measurement in ``measure`` or ``bias`` for the kind of the cell."""
        setting = cell.setting
        match setting:
            case Trained():
                return _together(cell, setting, [seed], device).isel({cell.kind: 0})
            case Checked():
                return measure.checked_network(cell, setting, seed, device)
            case OnCircle():
                return measure.curve_of_network(cell, setting, seed, device)
            case WithKinks():
                return measure.network_with_kinks(cell, setting, seed, device)
            case Inflated():
                return measure.inflated_network(cell, setting, seed, device)
            case bias.Sample():
                stream = cell.stream("bias", setting.nonlinearity, setting.width, seed)
                return bias.measured(setting, stream)
            case bias.Derived():
                return bias.derived(setting)

    def compute(self, cell: Cell[Setting], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """The networks of a cell: one tensor program if they are narrow, otherwise one by one."""
        setting = cell.setting
        if not (isinstance(setting, Trained) and setting.width <= TOGETHER):
            return super().compute(cell, device, progress)
        try:
            return _together(cell, setting, cell.seeds, device)
        except DivergenceError as error:
            raise DivergenceError(f"{cell.label}: {error}", error.t) from error

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """Each kind of network has its own dimension."""
        joined = xr.merge([parts[kind] for kind in KINDS if kind in parts], combine_attrs="drop", join="exact")
        return joined.assign_attrs(
            widths=sorted(config.widths),
            nonlinearities=config.nonlinearities,
            pairs=sorted(config.pairs.widths),
            check=sorted(config.check.widths),
            kinked=sorted(config.kinked.widths),
            figure1=sorted(config.figure1.widths),
            bias=sorted(config.bias.widths),
            bias_nonlinearities=config.bias.nonlinearities,
            network=asdict(config.network),
            setting=asdict(config.setting),
            largest_rank=int(joined["rank"].max()),
            largest_truncation=float(joined.truncation.max()),
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The drift, and the part of it that is not predicted, against n."""
        for width in dataset.attrs["widths"]:
            row = {}
            for sigma in dataset.attrs["nonlinearities"]:
                networks = select(dataset, nonlinearity=sigma, width=width)
                row[f"drift/{sigma}"] = geometric(networks.drift.values)
                row[f"left/{sigma}"] = geometric(networks.left.sel(prediction="second").values)
            yield float(width), row


def _together(cell: Cell[Setting], trained: Trained, seeds: Sequence[int], device: str) -> xr.Dataset:
    measured = measure.pairs_of_networks if cell.kind == "pair" else measure.trained_networks
    return measured(cell, trained, seeds, device)


def _trained(config: Config, sigma: str, width: int) -> Trained:
    weights = "dense" if width <= DENSE else config.network.weights
    network = replace(config.network, nonlinearity=sigma, weights=weights)
    return Trained(width=width, network=network, training=config.setting)


def _work(width: int) -> float:
    """Relative cost of a network, roughly in seconds."""
    if width <= TOGETHER:
        return 0.01 + 5e-7 * width**2
    return 0.1 + 5e-7 * width**2 if width <= DENSE else 3e-4 * width


EXPERIMENT = PredictedDrift()
