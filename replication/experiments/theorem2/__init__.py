"""Theorem 2 (paper §4.2): during training the NTK changes less as the network gets wider.

Θ is recorded on training points and probes of the unit circle. Networks are trained in three directions d_t: the
gradient of least squares, the gradient of cross-entropy, and a direction that another network supplies, as the
discriminator of a generative adversarial network does. Wide hidden matrices are revealed. For Remark 4 the same
networks show how far the activations of each hidden layer move, and how much the parameters of each layer change f.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import ClassVar

import numpy as np
import xarray as xr

from ...study.experiment import Cell, Ensemble, Experiment, Progress, select
from ...study.statistics import geometric
from .claims import CLAIMS, largest_change, runs
from .measure import Trained, trained_network
from .settings import DENSE, DIRECTIONS, TIMES, Config

BLOCK_SIZE, WIDE = 5, 30_000
"""A cell holds BLOCK_SIZE networks, and 1 if they are wider than WIDE."""
PASSES = {"least_squares": 60.0, "cross_entropy": 60.0, "adversarial": 100.0, "mean_field": 300.0}
"""Rough number of products with each hidden matrix during training."""


class Theorem2(Experiment[Config, Trained]):
    """The change of the NTK, the activations and the matrices in training, for every width, σ and direction."""

    name = "theorem2"
    version = 4
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"directions": DIRECTIONS, "times": TIMES}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Trained]]:
        first = config.network.nonlinearity
        seeds: dict[tuple[str, str, int], int] = {}
        for width, count in zip(config.widths, config.seeds, strict=True):
            fewer = min(count, config.direction_seeds)
            seeds |= {(direction, first, width): fewer for direction in config.directions}
            seeds |= {("least_squares", sigma, width): count for sigma in config.nonlinearities}
        seeds |= {("mean_field", first, width): config.mean_field.seeds for width in config.mean_field.widths}
        for (direction, sigma, width), count in sorted(seeds.items()):
            mean_field = direction == "mean_field"
            tolerance = config.mean_field.tolerance if mean_field else config.setting.tolerance
            weights = "dense" if width <= DENSE else config.network.weights
            yield Ensemble(
                labels={"direction": direction, "nonlinearity": sigma, "width": width},
                setting=Trained(
                    direction="least_squares" if mean_field else direction,
                    mean_field=mean_field,
                    width=width,
                    network=replace(config.network, nonlinearity=sigma, weights=weights),
                    training=replace(config.setting, tolerance=tolerance),
                ),
                seeds=range(count),
                block=BLOCK_SIZE if width <= WIDE else 1,
                work=PASSES[direction] * (width * (width if width <= DENSE else 2000) + 1e6),
            )

    def measure(self, cell: Cell[Trained], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """See ``trained_network``."""
        return trained_network(cell, seed, device)

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension. time is in units of the training time."""
        networks = parts["network"]
        return networks.assign_coords(time=np.linspace(0, 1, TIMES)).assign_attrs(
            widths=sorted(config.widths),
            nonlinearities=config.nonlinearities,
            directions=config.directions,
            mean_field=sorted(config.mean_field.widths),
            network=asdict(config.network),
            setting=asdict(config.setting),
            largest_rank=int(networks["rank"].max()),
            largest_truncation=float(networks.truncation.max()),
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The change of Θ, the movement of the last hidden layer and the share of the lower layers, against n."""
        for width in dataset.attrs["widths"]:
            for direction, sigma in runs(dataset):
                networks = select(dataset, direction=direction, nonlinearity=sigma, width=width)
                row = {f"change/{direction}/{sigma}": geometric(largest_change(networks))}
                if direction == "least_squares":
                    row[f"moved/{sigma}"] = geometric(networks.moved.values[:, -1])
                    row[f"lower_share/{sigma}"] = float(1 - networks.share.values[:, -1].mean())
                yield float(width), row


EXPERIMENT = Theorem2()
