"""Parts of configs: the base of every config, the network, seeds at widths, and checks of values."""

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from ..network import Network
from ..nonlinearities import NONLINEARITIES
from ..revealed import revealing
from ..weights import DenseWeight, WeightDraw
from .machine import require_memory


class ConfigError(ValueError):
    """A config value outside its domain. The message is one line with the key, the value and the allowed values."""


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    """Raise ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key}={value}: {allowed}")


def require_bounded(value: Any, key: str = "") -> None:
    """Raise ConfigError for a value that no experiment needs and that might fill the memory or never end.

    Refused are integers from 2³¹ on, integers above 10⁶ that are neither widths nor draws, reals beyond 10^±30, texts
    of more than 1000 characters, and lists of more than 10⁵ entries.
    """
    if isinstance(value, dict | list):
        require(len(value) <= 10**5, key, f"({len(value)} entries)", "must be at most 10⁵")
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            require_bounded(item, f"{key}[{name}]" if isinstance(value, list) else f"{key}.{name}".lstrip("."))
    elif isinstance(value, str):
        require(len(value) <= 1000 and "\0" not in value, key, repr(value[:40]), "must be at most 1000 characters")
    elif isinstance(value, int):
        limit = 2**31 - 1 if key == "draw" or any(name in key for name in ("width", "hidden", "unequal")) else 10**6
        require(abs(value) <= limit, key, value, f"must be at most {limit}")
    elif isinstance(value, float) and math.isfinite(value) and value:
        require(1e-30 <= abs(value) <= 1e30, key, value, "must be within 1e-30 and 1e30")


def require_distinct(key: str, values: Sequence[int], minimum: int) -> None:
    """Raise ConfigError unless ``values`` is a non-empty list of distinct integers ≥ minimum."""
    require(len(values) > 0, key, list(values), "must not be empty")
    require(all(isinstance(value, int) for value in values), key, list(values), "must be integers")
    require(min(values) >= minimum, key, list(values), f"must be integers ≥ {minimum}")
    require(len(set(values)) == len(values), key, list(values), "must not repeat")


def require_seeds(prefix: str, widths: Sequence[int], seeds: Sequence[int]) -> None:
    """Raise ConfigError unless ``<prefix>widths`` are distinct and ≥ 1, each with a number ≥ 1 in ``<prefix>seeds``."""
    require_distinct(f"{prefix}widths", widths, 1)
    valid = len(seeds) == len(widths) and min(seeds) >= 1
    require(valid, f"{prefix}seeds", list(seeds), f"must be {len(widths)} integers ≥ 1, one for each width")


def require_names(key: str, names: Sequence[str], known: Collection[str]) -> None:
    """Raise ConfigError unless ``names`` is a non-empty list of distinct known names."""
    valid = len(set(names) & set(known)) == len(names) > 0
    require(valid, key, list(names), f"must be distinct, among {', '.join(known)}")


@dataclass(kw_only=True)
class TrackingConfig:
    """Weights & Biases: mode offline, online or disabled; project, entity and tags of the run."""

    mode: str = "offline"
    project: str = "ntk-replication"
    entity: str | None = None
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        modes = ("offline", "online", "disabled")
        require(self.mode in modes, "tracking.mode", self.mode, f"must be one of {', '.join(modes)}")


@dataclass(kw_only=True)
class BaseConfig:
    """The settings that all experiments share.

    draw: the number of the independent replication, which salts every random stream. No other of these settings changes
    a number. claims: ids of the claims to decide, null for all; undecided: claim → the reason why this preset is not
    meant to decide it; quiet: print no progress and no table of statistics.
    """

    experiment: str
    preset: str
    draw: int
    claims: list[str] | None
    undecided: dict[str, str]
    results: str
    quiet: bool
    device: str
    threads: int | None
    workers: int | None
    tracking: TrackingConfig

    def __post_init__(self) -> None:
        require(0 <= self.draw < 2**31, "draw", self.draw, "must be an integer ≥ 0")
        require(self.results != "", "results", self.results, "must be a folder")
        most = max(256, os.cpu_count() or 1)
        threads = self.threads is None or 1 <= self.threads <= most
        require(threads, "threads", self.threads, f"must be null (all) or ≥ 1 and ≤ {most}")
        workers = self.workers is None or 1 <= self.workers <= most
        require(workers, "workers", self.workers, f"must be null (as many as threads) or ≥ 1 and ≤ {most}")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise ConfigError(f"device={self.device}: must be cpu, cuda or cuda:<index>") from None
        require(device.type in ("cpu", "cuda"), "device", self.device, "must be cpu, cuda or cuda:<index>")
        count = torch.cuda.device_count() if device.type == "cuda" else 1
        require(count > 0, "device", self.device, "no CUDA device is available here; use device=cpu")
        require((device.index or 0) < count, "device", self.device, f"only {count} such device(s) here")


@dataclass(kw_only=True)
class NetworkConfig:
    """A network without its widths: depth L (affine maps), nonlinearity σ, β, dtype (float32 or float64)."""

    depth: int
    nonlinearity: str
    beta: float
    dtype: str

    def __post_init__(self) -> None:
        require(self.depth >= 2, "network.depth", self.depth, "must be ≥ 2, or there is no hidden layer")
        require(self.depth <= 1000, "network.depth", self.depth, "must be ≤ 1000")
        require(
            self.nonlinearity in NONLINEARITIES,
            "network.nonlinearity",
            self.nonlinearity,
            f"must be one of {', '.join(NONLINEARITIES)}",
        )
        require(0 <= self.beta < math.inf, "network.beta", self.beta, "must be ≥ 0")
        require(self.dtype in ("float32", "float64"), "network.dtype", self.dtype, "must be float32 or float64")

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype == "float32" else torch.float64

    def least_nbytes(self, width: int) -> int:
        """The least memory, in bytes, of a network of this width: its hidden matrices, and a pass over one input."""
        return ((self.depth - 2) * width**2 + 6 * self.depth * width) * self.torch_dtype.itemsize

    def draw(
        self,
        n_0: int,
        width: int,
        n_outputs: int = 1,
        *,
        generator: torch.Generator | Sequence[torch.Generator],
        device: str = "cpu",
        output_scale: float = 1.0,
        weight: WeightDraw = DenseWeight.draw,
    ) -> Network:
        """A network n_0 → width → … → width → n_L at initialization; a sequence of generators draws an ensemble."""
        return Network.init(
            [n_0, *[width] * (self.depth - 1), n_outputs],
            generator=generator,
            nonlinearity=self.nonlinearity,
            beta=self.beta,
            output_scale=output_scale,
            dtype=self.torch_dtype,
            device=device,
            weight=weight,
        )


@dataclass(kw_only=True)
class WideNetworkConfig(NetworkConfig):
    """A network that may be too wide for dense matrices.

    weights: dense, or revealed, which keeps only the directions that products use; tolerance: a direction whose part of
    a vector is at most this long, relative to the vector, is dropped instead of revealed.
    """

    weights: str
    tolerance: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.weights in ("dense", "revealed"), "network.weights", self.weights, "must be dense or revealed")
        require(0 <= self.tolerance < 1, "network.tolerance", self.tolerance, "must be in [0, 1)")

    def draw_wide(
        self,
        n_0: int,
        width: int,
        n_outputs: int = 1,
        *,
        inputs: int,
        directions: int,
        generator: torch.Generator,
        device: str = "cpu",
        output_scale: float = 1.0,
    ) -> Network:
        """As ``draw``, with dense or revealed hidden matrices, as ``weights`` says.

        inputs: how many are evaluated at once; directions: how many each matrix may reveal in the end. Raises
        MemoryError, before anything is allocated, if they would not fit.
        """
        require_memory(width, lambda n: self.nbytes(n_0, n, n_outputs, inputs, directions), device)
        weight = revealing(self.tolerance) if self.weights == "revealed" else DenseWeight.draw
        return self.draw(
            n_0, width, n_outputs, generator=generator, device=device, output_scale=output_scale, weight=weight
        )

    def least_nbytes(self, width: int) -> int:
        """As for any network; revealed weights count with a single direction."""
        return self.nbytes(2, width, 1, 1, 1)

    def nbytes(self, n_0: int, width: int, n_outputs: int, inputs: int, directions: int) -> int:
        """An upper bound on the memory, in bytes, of the network and of two passes over the inputs.

        It is reached if no direction is dropped. A dense hidden matrix has n² numbers. A revealed one has r directions
        on each side and as many images, 4 n r numbers. A pass holds α and σ̇ of every input, δ of every input and
        output, and as much working memory.
        """
        hidden = 4 * width * min(directions, width) if self.weights == "revealed" else width**2
        passes = 6 * self.depth * width * inputs * n_outputs
        numbers = (self.depth - 2) * hidden + width * (n_0 + n_outputs + self.depth) + passes
        return numbers * self.torch_dtype.itemsize


@dataclass(kw_only=True)
class SeedsAtWidths:
    """Networks of several widths, with seeds 0 … seeds − 1 at each."""

    widths: list[int]
    seeds: int


def config_keys(cls: type) -> list[str]:
    """Names of the fields of a config class."""
    return [item.name for item in fields(cls)]
