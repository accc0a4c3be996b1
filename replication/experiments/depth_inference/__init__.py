"""Which depth, pixel scaling and nonlinearity do the three eigenvalues of the paper's §6.3 come from?

The paper states λ_1, λ_2, λ_3 of Θ⁽ᴸ⁾/N for 512 MNIST digits, from one network of width 10000. It states neither L nor
the scaling of the pixels. For every hypothesis this experiment computes the eigenvalues of Θ_∞/N over many batches of
digits, and their difference from those of a finite network on the same batch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from scipy.sparse.linalg import eigsh

from ...datasets import mnist
from ...limit import limit
from ...network import Network
from ...study.experiment import Cell, Ensemble, Experiment, Progress, select
from ...tangent import tangent_kernel
from .claims import CLAIMS
from .config import SOURCE_SIZE, Config
from .nonlinearity import NONLINEARITIES
from .statistics import COMPONENTS, OBSERVED, ROUNDING, networks_of, reference_index

BLOCK_SIZE = 5
"""Number of batches in a cell."""
HELD_OUT = 1_000_000
"""Held-out batches and networks have seeds from here on."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """Batches with one scaling and nonlinearity, at every depth.

    width: width of the networks, one for each batch; None for the limit, which has the steps of the power iteration.
    """

    scaling: str
    nonlinearity: str
    depths: tuple[int, ...]
    width: int | None
    n_samples: int
    beta: float
    dtype: str
    power_steps: int

    @property
    def work(self) -> float:
        """Relative cost of a batch: the recursion of the limit, or draws, products and Gram matrices of a network."""
        n, pairs = self.n_samples, self.n_samples**2
        if self.width is None:
            return max(self.depths) * pairs * 70.0
        return sum(self.depths) * (self.width**2 * (30 + n / 10) + self.width * pairs / 10)


class DepthInference(Experiment[Config, Hypothesis]):
    """Eigenvalues of limit kernels (kind limit) and of the networks' kernels (kind network) for every hypothesis."""

    name = "depth_inference"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"components": COMPONENTS}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Hypothesis]]:
        """The limit, then the networks."""
        reference = _reference(config)
        every = [(scaling, sigma) for scaling in config.scalings for sigma in config.nonlinearities]
        held_out = range(HELD_OUT, HELD_OUT + config.held_out.seeds)
        more = config.reference_networks
        networks = {(config.networks.width, *hypothesis): {*range(config.networks.seeds)} for hypothesis in every}
        for n, more_seeds in [*((n, range(more.seeds)) for n in more.widths), (config.held_out.width, held_out)]:
            networks.setdefault((n, *reference), set()).update(more_seeds)
        limits = {hypothesis: set(range(config.batches)) for hypothesis in every}
        limits[reference] = {*range(config.reference_batches), *held_out}
        wanted: dict[tuple[int | None, str, str], set[int]] = {(None, *pair): seeds for pair, seeds in limits.items()}
        for (width, scaling, sigma), seeds in (wanted | networks).items():
            setting = Hypothesis(
                scaling=scaling,
                nonlinearity=sigma,
                depths=tuple(sorted(config.depths)),
                width=width,
                n_samples=config.n_samples,
                beta=config.beta,
                dtype="float64" if width is None else config.dtype,
                power_steps=config.power_steps if width is None else 0,
            )
            yield Ensemble(
                labels={"scaling": scaling, "nonlinearity": sigma} | ({"width": width} if width else {}),
                setting=setting,
                seeds=seeds,
                block=BLOCK_SIZE,
                work=setting.work,
                kind="network" if width else "limit",
            )

    def least_nbytes(self, cell: Cell[Hypothesis], width: int) -> int:
        """The bytes of the hidden matrices of the deepest network."""
        return (max(cell.setting.depths) - 2) * width**2 * (4 if cell.setting.dtype == "float32" else 8)

    def measure(self, cell: Cell[Hypothesis], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """The three largest eigenvalues of Θ/N on the batch of a seed.

        eigenvalues (depth, component). The limit, whose recursion gives all depths at once, also has stopped: the
        eigenvalues from a power iteration with ``power_steps`` steps for each component.
        """
        setting = cell.setting
        sigma = NONLINEARITIES[setting.nonlinearity]
        x = mnist(setting.n_samples, seed, scaling=setting.scaling, draw=cell.draw).images.to(device)
        eigenvalues, stopped = [], []
        if setting.width is None:
            theta = limit(x, depth=max(setting.depths), nonlinearity=sigma, beta=setting.beta).theta
        for j, depth in enumerate(setting.depths):
            if setting.width is None:
                kernel = theta[depth - 1].cpu()
                stream = cell.stream("power iteration", depth, seed)
                stopped.append(stopped_power_iteration(kernel / setting.n_samples, setting.power_steps, stream))
            else:
                network = Network.init(
                    [x.shape[1], *[setting.width] * (depth - 1), 1],
                    generator=cell.stream("network", depth, setting.width, seed),
                    nonlinearity=sigma,
                    beta=setting.beta,
                    dtype=torch.float32 if setting.dtype == "float32" else torch.float64,
                    device=device,
                )
                kernel = tangent_kernel(network, x).cpu()
            eigenvalues.append(_largest(kernel.numpy() / setting.n_samples))
            progress((j + 1) / len(setting.depths))
        arrays = {"eigenvalues": (("depth", "component"), np.array(eigenvalues))}
        if stopped:
            arrays["stopped"] = (("depth", "component"), np.array(stopped))
        return xr.Dataset(arrays, coords={"depth": list(setting.depths)})

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The eigenvalues of every hypothesis and of the paper, for figures and claims.

        limit (batch, depth, scaling, nonlinearity, component): λ_i of Θ_∞/N; network (seed, …): λ_i of a network
        on each of the first batches; reference_limit (reference_batch, depth, component) and reference_network
        (reference_seed, width, depth, component): more of both at the reference's scaling and nonlinearity; held_out
        and held_out_limit (sample, depth, component): the same for held-out batches; stopped (reference_batch,
        component): λ_i from the early-stopped power iteration at the reference; observed and rounding (component): the
        paper's numbers, and half a unit of their last digits.
        """
        reference, held_out = _reference(config), range(HELD_OUT, HELD_OUT + config.held_out.seeds)
        batches, seeds = range(config.reference_batches), range(config.reference_networks.seeds)
        widths, depths = sorted(config.reference_networks.widths), sorted(config.depths)

        def of(width: int | None, wanted: Iterable[int], hypothesis: tuple[str, str] = reference) -> xr.Dataset:
            """The batches of these seeds, in the given order."""
            scaling, sigma = hypothesis
            if width is None:
                chosen = select(parts["limit"], "limit", limit_scaling=scaling, limit_nonlinearity=sigma)
                order = {seed: i for i, seed in enumerate(chosen.limit_seed.values.tolist())}
                return chosen.isel(limit=[order[seed] for seed in wanted])
            chosen = select(parts["network"], scaling=scaling, nonlinearity=sigma, width=width)
            order = {seed: i for i, seed in enumerate(chosen.seed.values.tolist())}
            return chosen.isel(network=[order[seed] for seed in wanted])

        def values(width: int | None, wanted: Iterable[int], hypothesis: tuple[str, str] = reference) -> np.ndarray:
            """Eigenvalues under one hypothesis, (seeds, depth, component)."""
            eigenvalues: np.ndarray = of(width, wanted, hypothesis).eigenvalues.values.astype(np.float32)
            return eigenvalues

        def every(width: int | None, wanted: range) -> np.ndarray:
            """Eigenvalues under every hypothesis, (seeds, depth, scaling, nonlinearity, component)."""
            grid = [[values(width, wanted, (k, m)) for m in config.nonlinearities] for k in config.scalings]
            return np.moveaxis(np.array(grid), (0, 1), (2, 3))

        power = of(None, batches).stopped.sel(depth=config.reference.depth).values
        hypothesis = ("depth", "scaling", "nonlinearity", "component")
        return xr.Dataset(
            {
                "limit": (("batch", *hypothesis), every(None, range(config.batches))),
                "network": (("seed", *hypothesis), every(config.networks.width, range(config.networks.seeds))),
                "reference_limit": (("reference_batch", "depth", "component"), values(None, batches)),
                "reference_network": (
                    ("reference_seed", "width", "depth", "component"),
                    np.stack([values(width, seeds) for width in widths], axis=1),
                ),
                "stopped": (("reference_batch", "component"), power.astype(np.float32)),
                "held_out": (("sample", "depth", "component"), values(config.held_out.width, held_out)),
                "held_out_limit": (("sample", "depth", "component"), values(None, held_out)),
                "observed": ("component", list(OBSERVED)),
                "rounding": ("component", list(ROUNDING)),
            },
            coords={
                "depth": depths,
                "scaling": config.scalings,
                "nonlinearity": config.nonlinearities,
                "width": widths,
            },
            attrs={
                "reference": asdict(config.reference),
                "paper_width": config.width,
                "network_width": config.networks.width,
                "held_out_width": config.held_out.width,
                "n_samples": config.n_samples,
                "source_size": SOURCE_SIZE,
                "power_steps": config.power_steps,
            },
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Bias and spread of ln λ_i of networks against their width, at the reference."""
        depth, _, _ = reference_index(dataset)
        for width, deviations in networks_of(dataset).items():
            values = zip(deviations[:, depth].mean(axis=0), deviations[:, depth].std(axis=0), strict=True)
            for i, (bias, sd) in enumerate(values, 1):
                yield float(width), {f"bias/ln lambda_{i}": float(bias), f"sd/ln lambda_{i}": float(sd)}


def _reference(config: Config) -> tuple[str, str]:
    return config.reference.scaling, config.reference.nonlinearity


def _largest(matrix: np.ndarray) -> np.ndarray:
    """The largest eigenvalues, descending, by Lanczos iteration: a tenth of the time for all 512."""
    eigenvalues = eigsh(matrix, COMPONENTS, v0=np.ones(len(matrix)), tol=1e-10, return_eigenvectors=False)
    descending: np.ndarray = np.sort(eigenvalues)[::-1]
    return descending


def stopped_power_iteration(matrix: torch.Tensor, steps: int, stream: torch.Generator) -> np.ndarray:
    """Rayleigh quotients after a number of steps of power iteration; each component is orthogonal to earlier ones."""
    basis = torch.zeros(0, len(matrix), dtype=torch.float64)
    quotients = []
    for start in torch.randn(COMPONENTS, len(matrix), generator=stream, dtype=torch.float64):
        v = start
        for _ in range(steps):
            v = matrix @ v
            v = v - (basis @ v) @ basis
            v = v / v.norm()
        quotients.append(float(v @ (matrix @ v)))
        basis = torch.cat([basis, v[None]])
    return np.array(quotients)


EXPERIMENT = DepthInference()
