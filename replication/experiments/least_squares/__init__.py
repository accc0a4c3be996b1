"""Least squares (paper §5): wide networks against the closed form of f_t, component by component.

The target is a smooth function of the angle on the unit circle. On equispaced points, with noisy labels, networks show
the decay of the components and the best time to stop; on a few points without noise, the Gaussian law of f_t.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...network import Network
from ...randomness import generator
from ...study.experiment import blocks
from ...study.settings import NetworkConfig
from ...training import DivergenceError, GradientDescent, GradientFlow, follow
from .claims import CLAIMS
from .config import CircleConfig, Config, FewConfig, SamplesConfig, TrainingConfig
from .limit import (
    FAMILIES,
    REFERENCES,
    Problem,
    infinity_gaps,
    ridge_distances,
    sample_components,
    sample_frequencies,
    target,
)
from .statistics import select

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "least_squares"
VERSION = 1
BLOCK_SIZES = {"gaussian": 50, "narrow": 200, "samples": 20}
"""Networks (or samples) of a cell, 10 where nothing else is said. Those of a cell are trained together."""
RIDGE_DECADES = np.linspace(-2, -8, 13)
"""log₁₀ of the ridges, as fractions of N times the smallest rate."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks of one kind and width, or of samples: everything that determines their numbers."""

    variant: str
    width: int
    seeds: tuple[int, ...]
    network: NetworkConfig
    circle: CircleConfig
    few: FewConfig | None
    training: TrainingConfig
    learning_rate: float | None
    samples: SamplesConfig | None

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        return f"{self.variant}-n{self.width}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow networks first."""
    found = []
    for (variant, width), seeds in _ensembles(config).items():
        few, samples = variant in ("gaussian", "narrow"), variant == "samples"
        network, circle = config.network, config.circle
        if variant == "linear":
            network = replace(network, nonlinearity="identity")
        if variant == "clean" or few:
            circle = replace(circle, noise=0.0)
        for block in blocks(range(seeds), BLOCK_SIZES.get(variant, 10)):
            cell = Cell(
                variant=variant,
                width=width,
                seeds=block,
                network=network,
                circle=circle,
                few=config.few if few else None,
                training=config.training,
                learning_rate=config.descent.learning_rate if variant == "descent" else None,
                # A block gives the same numbers however many samples there are.
                samples=replace(config.samples, seeds=1) if samples else None,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (cell.width, cell.variant, cell.seeds))


def _ensembles(config: Config) -> dict[tuple[str, int], int]:
    """(variant, width) → number of seeds; width 0 for what needs no network."""
    found = {("samples", 0): config.samples.seeds}
    for variant in ("noisy", "linear", "descent", "gaussian", "narrow"):
        ensemble = getattr(config, variant)
        found |= {(variant, width): ensemble.seeds for width in ensemble.widths}
    found |= {("clean", width): config.clean_seeds for width in config.noisy.widths}
    return found | {("noisy", max(config.noisy.widths)): config.wide_seeds}


def work(cell: Cell) -> float:
    """Relative cost of a cell: draws, products with n × n matrices, and overheads."""
    if cell.samples:
        return len(cell.seeds) * 3e8
    points, steps = (8, 15) if cell.few else (cell.circle.n_samples, cell.training.times)
    return len(cell.seeds) * (cell.width**2 * (500 + 12 * steps * points) + steps * 5e7)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Train the networks of a cell together, or take components of samples; ``progress`` is told the fraction done.

    On the circle, with e_t = f_t − labels on the data: error (network, t): mean of (f_t − f*)² off the data; component
    (network, t, mode): ⟨P_k e_0, e_t⟩_{p^in}, P_k onto the eigenspace of frequency k; norm (network, t):
    ‖e_t‖_{p^in}; rest (network, t): its part in frequencies k ≥ 2; deviation (network, reference): the largest
    ‖f_t − closed form from the same f_0‖_{p^in} over t, over ‖e_0‖. On the few points: f (network, time, point).
    Samples: as in ``sample_components`` and ``sample_frequencies``. Raises DivergenceError, naming the cell.
    """
    if cell.samples:
        return _samples(cell, cell.samples)
    streams = [generator(NAME, "network", cell.variant, cell.width, seed) for seed in cell.seeds]
    network = cell.network.draw(2, cell.width, generator=streams, device=device)
    train = _few if cell.few else _circle
    try:
        return train(cell, network, progress).assign(seed=("network", list(cell.seeds)))
    except DivergenceError as error:
        raise DivergenceError(f"{cell.label}: {error}", error.t) from error


def _samples(cell: Cell, setting: SamplesConfig) -> xr.Dataset:
    parts = []
    for seed in cell.seeds:
        components = sample_components(setting, cell.network, seed)
        families = sample_frequencies(setting, cell.network, seed)
        variables = {name: ("rank", values.astype(np.float32)) for name, values in components.items()}
        variables |= {name: (("family", "rank"), value.astype(np.float32)) for name, value in families.items()}  # type: ignore[misc]
        parts.append(xr.Dataset(variables))
    return xr.concat(parts, dim="sample").assign(sample_seed=("sample", list(cell.seeds)))


def times_of(training: TrainingConfig) -> np.ndarray:
    """0 and the times at which networks on the circle are seen, (times + 1,)."""
    return np.concatenate([[0.0], np.geomspace(training.first, training.t, training.times)])


def _trajectory(
    network: Network,
    points: Tensor,
    labels: Tensor,
    times: Sequence[float],
    tolerance: float,
    progress: Callable[[float], None],
) -> Tensor:
    """f_t at all points, the data first, at each time: (times, S, N + M, 1). Each interval is one step if it can be."""
    n, cost = labels.shape[-2], LeastSquares(labels)
    found = [network(points).double()]
    for i, (start, end) in enumerate(pairwise(times)):
        try:
            for _ in GradientFlow(end - start, tolerance, end - start).states(network, points[:n], cost):
                pass
        except DivergenceError as error:
            raise DivergenceError(f"from t = {start:g} on: {error}", start + error.t) from error
        found.append(network(points).double())
        progress((i + 1) / (len(times) - 1))
    return torch.stack(found).cpu()


def _circle(cell: Cell, network: Network, progress: Callable[[float], None]) -> xr.Dataset:
    problem, setting = Problem.on_circle(cell.circle, cell.network), cell.circle
    n, times = problem.n, times_of(cell.training)
    points, device = problem.x.to(network.biases[0].device), network.biases[0].device
    noise = [
        torch.randn(n, 1, generator=generator(NAME, "noise", cell.variant, cell.width, seed), dtype=torch.float64)
        for seed in cell.seeds
    ]
    labels = problem.target[:n] + setting.noise * torch.stack(noise)
    if cell.learning_rate is None:
        f = _trajectory(network, points, labels.to(device), times.tolist(), cell.training.tolerance, progress)
    else:
        # Whole steps: the times differ a little from the grid's, by less than a step.
        steps = math.ceil(cell.training.t / cell.learning_rate)
        states = GradientDescent(cell.learning_rate, steps).states(network, points[:n], LeastSquares(labels.to(device)))
        f = follow(states, times.tolist()).cpu()
        f = torch.cat([f, torch.full((*f.shape[:2], setting.n_test, 1), math.nan, dtype=f.dtype)], dim=2)
    errors = (f[:, :, :n] - labels)[..., 0]
    modes = problem.modes(setting.modes)
    coefficients = torch.einsum("tsn,kin->tski", errors, modes) / n
    low = torch.einsum("tsn,kin->tski", errors, problem.modes(2)) / n
    norm = errors.square().mean(dim=2).sqrt()
    rest = (norm.square() - low.square().sum(dim=(2, 3))).clamp(min=0).sqrt()
    deviations = [_deviations(problem, reference, f, labels, times) for reference in REFERENCES]
    variables = {
        "error": (("t", "network"), (f - problem.target)[:, :, n:].square().mean(dim=(2, 3))),
        "component": (("t", "network", "mode"), (coefficients[:1] * coefficients).sum(dim=3)),
        "norm": (("t", "network"), norm),
        "rest": (("t", "network"), rest),
        "deviation": (("reference", "network"), torch.stack(deviations)),
    }
    dataset = xr.Dataset(
        {name: (dims, values.numpy().astype(np.float32)) for name, (dims, values) in variables.items()}
    )
    return dataset.transpose("network", ...)


def _deviations(problem: Problem, reference: str, f: Tensor, labels: Tensor, times: np.ndarray) -> Tensor:
    """sup_t ‖f_t − closed form‖_{p^in}/‖f_0 − labels‖ of each network: the error obeys the flow towards 0."""
    n = problem.n
    flow = problem.flow(reference, torch.zeros(n, 1, dtype=torch.float64))
    errors = f[:, :, :n] - labels
    start = torch.cat([errors[0], torch.zeros_like(f[0, :, n:])], dim=1)
    gaps = [(errors[i] - flow.f(t, start)[:, :n]).square().mean(dim=(1, 2)) for i, t in enumerate(times)]
    return (torch.stack(gaps).amax(dim=0) / errors[0].square().mean(dim=(1, 2))).sqrt()


def _few(cell: Cell, network: Network, progress: Callable[[float], None]) -> xr.Dataset:
    assert cell.few is not None
    problem = Problem.on_few(cell.few, cell.circle.concentration, cell.network)
    device = network.biases[0].device
    labels = problem.target[: problem.n].expand(len(cell.seeds), -1, -1).to(device)
    f = _trajectory(network, problem.x.to(device), labels, cell.few.times, cell.training.tolerance, progress)
    return xr.Dataset({"f": (("network", "time", "point"), f[..., 0].transpose(0, 1).numpy().astype(np.float32))})


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """The networks on the circle (network), those on the few points (member), the samples, and what §5 predicts.

    rates (reference, mode): λ_k; predicted, predicted_clean (reference, s): the expected test error, with noise and
    without; law_mean, law_covariance (reference, time, point, …) on the few points; circle_mean, circle_sd (time,
    gamma): the law along the circle; ridge (case, decade), gap (case, route), gap_bound (route): see ``limit``;
    example (curve, gamma): f*, and the fit to one draw of noisy labels from f_0 = 0 at the best time and at t = ∞;
    variance (reference_0, component): λ_i of Σ and, for the control, of Θ_∞ on the few points, with captured (member,
    component): ⟨f⁽ⁱ⁾, f_0⟩² for the components of Σ.
    """
    circle_parts, few_parts, sample_parts = [], [], []
    ensembles = _ensembles(config)
    for cell, dataset in results:
        dimension = "sample" if cell.samples else "network"
        seeds = dataset["sample_seed" if cell.samples else "seed"].values
        wanted = dataset.isel({dimension: seeds < ensembles[cell.variant, cell.width]})
        size = wanted.sizes[dimension]
        if cell.samples:
            sample_parts.append(wanted)
            continue
        names = {"variant": ("network", [cell.variant] * size), "width": ("network", [cell.width] * size)}
        if cell.few:
            few_parts.append(wanted.assign(names).rename(network="member").rename(seed="member_seed", variant="kind"))
        else:
            circle_parts.append(wanted.assign(names))
    networks = xr.concat(circle_parts, dim="network", join="exact", combine_attrs="drop")
    members = xr.concat(few_parts, dim="member", combine_attrs="drop").drop_vars("width")
    samples = xr.concat(sample_parts, dim="sample", combine_attrs="drop")
    found = xr.merge([networks, members, samples, _predictions(config, members)], combine_attrs="drop")
    return found.assign_coords(t=times_of(config.training), family=list(FAMILIES)).assign_attrs(
        widths=sorted(config.noisy.widths),
        noise=config.circle.noise,
        n_samples=config.circle.n_samples,
        n_few=len(config.few.angles),
        gaussian_width=config.gaussian.widths[0],
        concentration=config.circle.concentration,
        few_angles=[*config.few.angles, *config.few.probes],
        few_target=target(torch.tensor(config.few.angles), config.circle.concentration)[:, 0].tolist(),
    )


def _predictions(config: Config, members: xr.Dataset) -> xr.Dataset:
    circle, few, network = config.circle, config.few, config.network
    problem, at_few = Problem.on_circle(circle, network), Problem.on_few(few, circle.concentration, network)
    fine = np.geomspace(config.training.first, config.training.t, 121)
    gamma = np.linspace(-math.pi, math.pi, 121)
    along = Problem.on_few(few, circle.concentration, network, others=gamma.tolist())
    laws = {reference: at_few.laws(reference, few.times) for reference in REFERENCES}
    curves = along.laws("theta", few.times)
    n, n_few = problem.n, at_few.n

    stream = generator(NAME, "example", n)
    labels = problem.target[:n] + circle.noise * torch.randn(n, 1, generator=stream, dtype=torch.float64)
    root = torch.linalg.cholesky(problem.sigma())
    f_0 = root @ torch.randn(len(root), 1, generator=stream, dtype=torch.float64)
    ridges = ridge_distances(problem, labels, f_0, RIDGE_DECADES.tolist())
    gaps, bounds = infinity_gaps(problem, labels, f_0)

    predicted = np.stack([problem.expected_error(name, circle.noise, fine.tolist()) for name in REFERENCES])
    best = float(fine[predicted[0].argmin()])
    on_grid = Problem(torch.cat([problem.angles[:n], torch.tensor(gamma)]), n, circle.concentration, network)
    flow, zero = on_grid.flow("theta", labels), torch.zeros(n + len(gamma), 1, dtype=torch.float64)
    fits = [on_grid.target, *(flow.f(t, zero) for t in (best, math.inf))]

    bases = {name: at_few.flow(name) for name in ("sigma", "theta")}
    spectrum = [bases["sigma"].rates.numpy(), bases["theta"].rates.numpy()]
    start = torch.tensor(members.f.values[:, 0, :n_few, None]).double()
    captured = bases["sigma"].components.coefficients(start).square().numpy()
    return xr.Dataset(
        {
            "rates": (("reference", "mode"), np.stack([problem.rates(name, circle.modes) for name in REFERENCES])),
            "predicted": (("reference", "s"), predicted),
            "predicted_clean": ("s", problem.expected_error("theta", 0.0, fine.tolist())),
            "law_mean": (
                ("reference", "time", "point"),
                np.stack([[law.mean[:, 0].numpy() for law in laws[name]] for name in REFERENCES]),
            ),
            "law_covariance": (
                ("reference", "time", "point", "point2"),
                np.stack([[law.covariance.numpy() for law in laws[name]] for name in REFERENCES]),
            ),
            "circle_mean": (("time", "gamma"), np.stack([law.mean[n_few:, 0].numpy() for law in curves])),
            "circle_sd": (("time", "gamma"), np.stack([law.sd[n_few:, 0].numpy() for law in curves])),
            "ridge": (("case", "decade"), np.stack(list(ridges.values()))),
            "gap": (("case", "route"), np.array([gaps[case] for case in ridges])),
            "gap_bound": ("route", bounds),
            "example": (("curve", "gamma"), np.stack([fit[n:, 0].numpy() for fit in fits])),
            "example_labels": ("datum", labels[:, 0].numpy()),
            "variance": (("base", "direction"), np.stack(spectrum)),
            "captured": (("member", "direction"), captured.astype(np.float32)),
        },
        coords={
            "reference": list(REFERENCES),
            "mode": np.arange(circle.modes),
            "s": fine,
            "time": few.times,
            "gamma": gamma,
            "case": list(ridges),
            "decade": RIDGE_DECADES,
            "route": ["remainder", "MAP"],
            "curve": ["target", "stopped", "infinity"],
            "datum": problem.angles[:n].numpy(),
            "base": ["sigma", "theta"],
        },
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Mean test error and mean ‖f_t − labels‖ of the noisy networks of each width against time, and the prediction."""
    groups = {width: select(dataset, "noisy", width) for width in dataset.attrs["widths"]}
    predicted = dataset.predicted.sel(reference="theta")
    for i, t in enumerate(dataset.t.values):
        found = {f"test_error/n={width}": float(group.error[:, i].mean()) for width, group in groups.items()}
        found |= {f"distance/n={width}": float(group.norm[:, i].mean()) for width, group in groups.items()}
        if t > 0:
            found["test_error/predicted"] = float(np.interp(math.log(t), np.log(dataset.s), predicted))
        yield float(t), found
