"""Figure 3 (paper §6.3): convergence along the second kernel principal component of a batch of MNIST digits.

Networks are trained from f_θ(0) towards f_θ(0) + 0.5 f⁽²⁾, and f_θ(t) − f* = g_t + h_t is followed, along f⁽²⁾ and
orthogonal to it. f⁽²⁾ is that of the limit kernel Θ_∞⁽ᴸ⁾, by diagonalization, so that a network depends on no other;
the paper takes it from one wide network, by power iteration, and so do the principal components that are drawn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import xarray as xr

from ...kernels import PrincipalComponents
from ...mnist import size as digits_in
from ...network import Network
from ...randomness import generator
from ...study.experiment import Cell, Ensemble, Experiment, Progress, select
from ...tangent import tangent_kernel
from ...weights import DeferredWeight, DenseWeight
from .claims import CLAIMS
from .measure import BRACKET, COMPONENTS, NEGLIGIBLE, initial, largest_rate, limit_components, limit_of, spectrum, train
from .settings import TIMES, Batch, Config, Descents, Initial, Setting, Spectrum, Trained
from .statistics import drawn

BLOCK_SIZE, BLOCK_WIDTH = 5, 500
"""Networks up to this width are computed and stored this many at a time."""


@lru_cache(maxsize=2)  # of the whole batch and of the rates' part of it
def _reference(batch: Batch, draw: int, depth: int, nonlinearity: str, beta: float) -> PrincipalComponents:
    return limit_components(batch.digits(draw).images, depth, nonlinearity, beta)


class Fig3(Experiment[Config, Setting]):
    """Networks that are trained along f⁽²⁾, the limit that they are compared with, and limits of other batches.

    Kinds: network, of which the variant main is trained and the variant initial is not; descent, trained by gradient
    descent to be compared with gradient flow; rates, largest learning rates; limit; batch, limits of other batches.
    """

    name = "fig3"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {
        "times": TIMES,
        "components": COMPONENTS,
        "negligible": NEGLIGIBLE,
        "bracket": BRACKET,
    }

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        network, data, descent, rates = config.network, config.data, config.descent, config.rates
        batch, first = data.batch(data.n, data.seed), data.batch(rates.n, data.seed)
        others = Spectrum(network=network, batch=data.batch(config.spectrum.n, 0), beta=config.spectrum.beta)
        seeds = range(config.spectrum.batches)
        yield Ensemble(kind="batch", labels={}, setting=others, seeds=seeds, block=BLOCK_SIZE, work=others.work)
        limit = Setting(network=network, batch=batch)
        yield Ensemble(kind="limit", labels={}, setting=limit, seeds=(0,), work=limit.work)

        def networks(
            setting: Initial, seeds: set[int] | range, kind: str = "network", **labels: str
        ) -> Ensemble[Setting]:
            descends = isinstance(setting, Trained) and setting.training.solver == "gradient_descent"
            slow = setting.width > BLOCK_WIDTH or descends or isinstance(setting, Descents)
            return Ensemble(
                kind=kind,
                labels={**labels, "width": setting.width},
                setting=setting,
                seeds=seeds,
                block=1 if slow else BLOCK_SIZE,
                work=setting.work,
            )

        for width, count in config.initial.counts.items():
            at_start = Initial(network=network, batch=batch, width=width)
            yield networks(at_start, range(count), variant="initial")
        for width, wanted in config.trained.items():
            trained = Trained(network=network, batch=batch, width=width, training=config.training)
            yield networks(trained, wanted, variant="main")
        if descent.seeds:
            training = replace(
                config.training, solver="gradient_descent", learning_rate=descent.learning_rate, t=descent.t
            )
            by_descent = Trained(network=network, batch=batch, width=descent.width, training=training)
            yield networks(by_descent, set(descent.seeds), "descent")
        flow = replace(config.training, solver="gradient_flow", t=rates.t)
        for width, count in rates.counts.items():
            setting = Descents(network=network, batch=first, width=width, training=flow, resolution=rates.resolution)
            yield networks(setting, range(count), "rates")

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """What ``measure`` says of a limit kernel, or of one network: at t = 0, trained, or its largest rate."""
        setting, network = cell.setting, cell.setting.network
        if isinstance(setting, Spectrum):
            other = replace(setting.batch, seed=seed).digits(cell.draw)
            return spectrum(other.images, network, setting.beta)
        digits = setting.batch.digits(cell.draw)
        reference = _reference(setting.batch, cell.draw, network.depth, network.nonlinearity, network.beta)
        if not isinstance(setting, Initial):
            return limit_of(digits, reference)
        x, width, starts = digits.images, setting.width, generator("power iteration", draw=cell.draw)
        flow = cell.kind == "network" and isinstance(setting, Trained) and setting.training.solver == "gradient_flow"
        weight = DeferredWeight if flow else DenseWeight

        def draw() -> Network:
            # Not the networks on which the criteria were explored.
            stream = cell.stream("fresh network", width, seed)
            return network.draw(x.shape[1], width, generator=stream, device=device, weight=weight.draw)

        if isinstance(setting, Descents):
            return largest_rate(draw, x, reference, setting.training, setting.resolution)
        if isinstance(setting, Trained):
            return train(draw(), x, reference, setting.training, progress, starts)
        return xr.Dataset(initial(tangent_kernel(draw(), x.to(device)), reference, starts)).drop_vars("functions")

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """Everything that the figures and the claims read, one dimension for each kind but the limit.

        network: trained networks and, with NaN for what training would tell, those at t = 0 only; descent_…: networks
        trained by gradient descent; rates_…: largest learning rates; limit_…, along batch: limit kernels. functions
        (component, digit): the principal components that are drawn, of the first of the widest networks.
        """
        networks = parts["network"]
        first = select(networks, variant="main", width=max(config.widths), seed=config.seeds[0]).isel(network=0)
        described = [
            networks.drop_vars("functions"),
            xr.Dataset({"functions": (("component", "digit"), first.functions.values)}),
            parts["limit"].isel(limit=0).drop_vars("limit_seed"),
            parts["batch"],
        ]
        times = {"t": np.linspace(0, config.training.t, TIMES), "component": np.arange(1, COMPONENTS + 1)}
        for kind in {"descent", "rates"} & parts.keys():
            part = parts[kind].drop_vars("functions", errors="ignore")
            plain = [name for name in (*part.data_vars, *part.dims) if name == "t" or name in part.data_vars]
            names = {name: f"{kind}_{name}" for name in plain if not str(name).startswith(f"{kind}_")}
            described.append(part.rename(names))
        if "descent" in parts:
            times["descent_t"] = np.linspace(0, config.descent.t, TIMES)
        joined: xr.Dataset = xr.merge(described, join="exact", compat="no_conflicts")
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
            sampled=config.spectrum.n / digits_in(config.data.path),
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Means over the drawn seeds of |g_t| and ‖h_t‖_{p^in} at each width, against time."""
        groups = {width: drawn(dataset, width) for width in dataset.attrs["widths"]}
        for i, t in enumerate(dataset.t.values):
            values: dict[str, float] = {}
            for width, group in groups.items():
                values[f"g/n={width}"] = float(np.abs(group.g[:, i]).mean())
                values[f"h/n={width}"] = float(group.h[:, i].mean())
            yield float(t), values


EXPERIMENT = Fig3()
