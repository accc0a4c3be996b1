"""Figure 3 (paper §6.3): convergence along the second kernel principal component of a batch of MNIST digits.

Networks are trained from f_θ(0) towards f* = f_θ(0) + 0.5 f⁽²⁾. The error f_θ(t) − f* = g_t + h_t is recorded, with g_t
along f⁽²⁾ and h_t orthogonal to it. Here f⁽²⁾ is a component of the limit kernel Θ_∞⁽ᴸ⁾, computed by diagonalization,
so that no network depends on another. The paper computes it for one wide network, by power iteration; the figure draws
principal components that are computed in that way.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace
from typing import ClassVar

import numpy as np
import xarray as xr

from ...network import Network
from ...randomness import generator
from ...study.experiment import Cell, Ensemble, Experiment, Progress, select
from ...tangent import tangent_kernel
from ...weights import DeferredWeight, DenseWeight
from . import measure
from .claims import CLAIMS
from .measure import BRACKET, COMPONENTS, TIMES
from .settings import Config, Descents, Initial, Setting, Spectrum, Trained
from .statistics import drawn

BLOCK_SIZE, BLOCK_WIDTH = 5, 500
"""A cell holds BLOCK_SIZE networks, and 1 if they are wider than BLOCK_WIDTH."""


def _work(setting: Setting) -> float:
    """Relative cost of one network or batch: kernels, diagonalizations and products with n × n matrices."""
    size = setting.batch.n
    if not isinstance(setting, Initial):
        return 300.0 * size**3
    step = 18.0 * setting.width**2 * size + 12.0 * setting.width * size * 784
    kernel = 40.0 * setting.width * size**2 + 50 * size**3
    if not isinstance(setting, Trained):
        return kernel + step
    if setting.training.solver == "gradient_descent":
        steps = setting.training.steps
        return kernel + step + steps * step + min(TIMES, steps) * kernel
    trials = 150 * step if isinstance(setting, Descents) else 0.0
    return (7 + 65 / math.sqrt(setting.width)) * (kernel + step) + trials


class Fig3(Experiment[Config, Setting]):
    """Networks trained along f⁽²⁾, the limit with which they are compared, and the limit kernels of other batches.

    Kinds of cells: network (variant main is trained, variant initial is not); descent: networks trained by gradient
    descent, for the comparison with gradient flow; rates: largest learning rates; limit; batch: limit kernels of other
    batches.
    """

    name = "fig3"
    version = 2
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"times": TIMES, "components": COMPONENTS, "bracket": BRACKET}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        network, data, descent, rates = config.network, config.data, config.descent, config.rates
        batch, first = data.batch(data.n, data.seed), data.batch(rates.n, data.seed)

        def ensemble(kind: str, setting: Setting, seeds: Collection[int], **labels: str | int) -> Ensemble[Setting]:
            descends = isinstance(setting, Trained) and setting.training.solver == "gradient_descent"
            wide = isinstance(setting, Initial) and setting.width > BLOCK_WIDTH
            block = 1 if wide or descends or isinstance(setting, Descents) else BLOCK_SIZE
            return Ensemble(kind=kind, labels=labels, setting=setting, seeds=seeds, block=block, work=_work(setting))

        others = Spectrum(network=network, batch=data.batch(config.spectrum.n, 0), beta=config.spectrum.beta)
        yield ensemble("batch", others, range(config.spectrum.batches))
        limit = Setting(network=network, batch=batch)
        yield Ensemble(kind="limit", labels={}, setting=limit, seeds=(0,), work=_work(limit))
        for width, count in config.initial.counts.items():
            initial = Initial(network=network, batch=batch, width=width)
            yield ensemble("network", initial, range(count), variant="initial", width=width)
        for width, seeds in config.trained.items():
            trained = Trained(network=network, batch=batch, width=width, training=config.training)
            yield ensemble("network", trained, seeds, variant="main", width=width)
        if descent.seeds:
            rate = descent.learning_rate
            training = replace(config.training, solver="gradient_descent", learning_rate=rate, t=descent.t)
            trained = Trained(network=network, batch=batch, width=descent.width, training=training)
            yield ensemble("descent", trained, descent.seeds, width=descent.width)
        flow = replace(config.training, solver="gradient_flow", t=rates.t)
        for width, count in rates.counts.items():
            setting = Descents(network=network, batch=first, width=width, training=flow, resolution=rates.resolution)
            yield ensemble("rates", setting, range(count), width=width)

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """The variables of a limit kernel or of one network: at t = 0, in training, or its largest learning rate.

        The functions of the module ``measure`` describe them.
        """
        setting, network = cell.setting, cell.setting.network
        if isinstance(setting, Spectrum):
            other = replace(setting.batch, seed=seed).digits(cell.draw)
            return measure.spectrum(other.images, network, setting.beta)
        digits = setting.batch.digits(cell.draw)
        architecture = (network.depth, network.nonlinearity, network.beta)
        reference = measure.limit_components(setting.batch, cell.draw, *architecture)
        if not isinstance(setting, Initial):
            return measure.limit_of(digits, reference)
        x, width, starts = digits.images, setting.width, generator("power iteration", draw=cell.draw)
        flow = cell.kind == "network" and isinstance(setting, Trained) and setting.training.solver == "gradient_flow"
        weight = DeferredWeight if flow else DenseWeight

        def draw() -> Network:
            # Not the networks on which the criteria were explored.
            stream = cell.stream("fresh network", width, seed)
            return network.draw(x.shape[1], width, generator=stream, device=device, weight=weight.draw)

        if isinstance(setting, Descents):
            return measure.largest_rate(draw, x, reference, setting.training, setting.resolution)
        if isinstance(setting, Trained):
            return measure.train(draw(), x, reference, setting.training, progress, starts)
        return measure.initial(tangent_kernel(draw(), x.to(device)), reference, starts).drop_vars("functions")

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The data of the figures and the claims, with one dimension for each kind but the limit.

        network: trained networks and networks at t = 0 only, for which the variables of training are NaN; descent_…:
        networks trained by gradient descent; rates_…: largest learning rates; limit_…, along batch: limit kernels.
        functions (component, digit): the principal components in the figure, from the first of the widest networks.
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
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """|g_t| and ‖h_t‖_{p^in} at each width, averaged over the drawn seeds, against time."""
        groups = {width: drawn(dataset, width) for width in dataset.attrs["widths"]}
        for i, t in enumerate(dataset.t.values):
            named = ((f"{name}/n={width}", group[name]) for width, group in groups.items() for name in ("g", "h"))
            yield float(t), {name: float(np.abs(values[:, i]).mean()) for name, values in named}


EXPERIMENT = Fig3()
