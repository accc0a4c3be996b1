"""Least squares (paper §5): wide networks against the closed form of f_t, component by component.

The target is a smooth function of the angle on the unit circle. Networks trained on equispaced points with noisy labels
show the decay of the components and the best time to stop. Networks trained on a few points without noise show the
Gaussian law of f_t.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import xarray as xr

from ...study.experiment import Cell, Ensemble, Experiment, Progress, select, silent
from ...training import DivergenceError
from .claims import CLAIMS
from .limit import GRID, REFERENCES, RIDGE_DECADES, predict, target
from .measure import FAMILIES, RESOLVED, sample_components, sample_frequencies, train_on_circle, train_on_few
from .settings import Config, OnCircle, OnFew, Prediction, Sample, Setting, Trained

BLOCK_SIZES = {"gaussian": 50, "narrow": 200, "sample": 20}
"""Number of networks (or samples) in a cell; 10 for a variant not named here. A cell's networks are one ensemble."""


class LeastSquares(Experiment[Config, Setting]):
    """Networks on the circle (network) and on a few points (member), samples of inputs (sample), predictions of §5."""

    name = "least_squares"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {
        "references": REFERENCES,
        "ridge_decades": RIDGE_DECADES,
        "grid": GRID,
        "families": FAMILIES,
        "resolved": RESOLVED,
    }

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        network, circle, training, samples = config.network, config.circle, config.training, config.samples
        prediction = Prediction(network=network, circle=circle, few=config.few, training=training)
        yield Ensemble(kind="prediction", labels={}, setting=prediction, seeds=(0,), work=1e10)
        sample = Sample(
            network=network,
            n_samples=samples.n_samples,
            draws=samples.draws,
            length=samples.length,
            wave_number=samples.wave_number,
        )
        size = BLOCK_SIZES["sample"]
        yield Ensemble(kind="sample", labels={}, setting=sample, seeds=range(samples.seeds), block=size, work=3e8)
        for (variant, width), seeds in config.on_circle.items():
            yield Ensemble(
                labels={"variant": variant, "width": width},
                setting=OnCircle(
                    variant=variant,
                    width=width,
                    network=replace(network, nonlinearity="identity") if variant == "linear" else network,
                    circle=replace(circle, noise=0.0) if variant == "clean" else circle,
                    training=training,
                    learning_rate=config.descent.learning_rate if variant == "descent" else None,
                ),
                seeds=range(seeds),
                block=10,
                work=_work(width, circle.n_samples, training.times),
            )
        for variant, members in (("gaussian", config.gaussian), ("narrow", config.narrow)):
            for width in members.widths:
                yield Ensemble(
                    kind="member",
                    labels={"variant": variant, "width": width},
                    setting=OnFew(
                        variant=variant,
                        width=width,
                        network=network,
                        few=config.few,
                        concentration=circle.concentration,
                        tolerance=training.tolerance,
                    ),
                    seeds=range(members.seeds),
                    block=BLOCK_SIZES[variant],
                    work=_work(width, len(config.few.angles), 15),
                )

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """The prediction, or the components of a sample. A network is trained by ``compute``, as a cell of one."""
        setting = cell.setting
        if isinstance(setting, Prediction):
            return predict(setting, cell.stream("example", setting.circle.n_samples))
        if isinstance(setting, Sample):
            components = sample_components(setting, cell.stream("sample", setting.n_samples, seed))
            families = sample_frequencies(setting, cell.stream("points", setting.n_samples, seed))
            arrays = {name: ("rank", values.astype(np.float32)) for name, values in components.items()}
            along = {name: (("family", "rank"), values.astype(np.float32)) for name, values in families.items()}
            return xr.Dataset(arrays | along, coords={"family": list(FAMILIES)})
        return self.compute(replace(cell, seeds=(seed,)), device, progress).isel({cell.kind: 0})

    def compute(self, cell: Cell[Setting], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """Train the networks of a cell as one ensemble (see ``on_circle`` and ``on_few``), or measure its samples."""
        setting = cell.setting
        if not isinstance(setting, Trained):
            return super().compute(cell, device, progress)

        def streams(name: str) -> list[torch.Generator]:
            return [cell.stream(name, setting.variant, setting.width, seed) for seed in cell.seeds]

        network = setting.network.draw(2, setting.width, generator=streams("network"), device=device)
        try:
            if isinstance(setting, OnFew):
                return train_on_few(setting, network, progress)
            assert isinstance(setting, OnCircle)
            return train_on_circle(setting, network, streams("noise"), progress)
        except DivergenceError as error:
            raise DivergenceError(f"{cell.label}: {error}", error.t) from error

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The networks on the circle, the networks on the few points, the samples, and the predictions of §5."""
        prediction = parts["prediction"].isel(prediction=0, drop=True).drop_vars("prediction_seed")
        described = [parts["network"], parts["member"], parts["sample"], prediction]
        joined: xr.Dataset = xr.merge(described, join="exact", combine_attrs="drop")
        return joined.assign_attrs(
            widths=sorted(config.noisy.widths),
            noise=config.circle.noise,
            n_samples=config.circle.n_samples,
            n_few=len(config.few.angles),
            gaussian_width=config.gaussian.widths[0],
            concentration=config.circle.concentration,
            few_angles=[*config.few.angles, *config.few.probes],
            few_target=target(torch.tensor(config.few.angles), config.circle.concentration)[:, 0].tolist(),
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """For each width, the mean test error and the mean ‖f_t − labels‖ with noise, and the predicted test error."""
        groups = {width: select(dataset, variant="noisy", width=width) for width in dataset.attrs["widths"]}
        predicted = dataset.predicted.sel(reference="theta")
        for i, t in enumerate(dataset.t.values):
            row = {f"test_error/n={width}": float(group.error[:, i].mean()) for width, group in groups.items()}
            row |= {f"distance/n={width}": float(group.norm[:, i].mean()) for width, group in groups.items()}
            if t > 0:
                row["test_error/predicted"] = float(np.interp(math.log(t), np.log(dataset.s), predicted))
            yield float(t), row


def _work(width: int, points: int, steps: int) -> float:
    """Relative cost of a network: drawing, products with n × n matrices, and a fixed overhead."""
    return width**2 * (500.0 + 12.0 * steps * points) + steps * 5e7


EXPERIMENT = LeastSquares()
