"""An experiment: settings → ensembles of networks → cells → measurements → one labelled dataset → claims.

An author writes a config, its ensembles, the measurement on one network, claims and a figure:

    @dataclass(frozen=True, kw_only=True)
    class Setting:
        width: int
        t: float

    class Drift(Experiment[Config, Setting]):
        name, version, config, claims = "drift", 1, Config, CLAIMS
        constants: ClassVar = {"points": POINTS}

        def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
            for width in config.widths:
                setting = Setting(width=width, t=config.t)
                yield Ensemble(labels={"width": width}, setting=setting, seeds=range(config.seeds), work=width**2)

        def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
            network = Network.init([2, cell.setting.width, 1], generator=cell.stream(cell.setting.width, seed))
            kernel = tangent_kernel(network, circle(angle_grid(POINTS)))
            return xr.Dataset({"theta": (("row", "column"), kernel.numpy())})

    EXPERIMENT = Drift()

The joined dataset has one dimension ``network`` with the measurements, the seed and each label of every network.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
import xarray as xr

from ..engine import ENGINE
from ..randomness import generator
from ..training import DivergenceError
from .claims import Claim
from .settings import BaseConfig, NetworkConfig, require
from .store import NOT_IDENTITY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

C = TypeVar("C", bound=BaseConfig)
S = TypeVar("S")
T = TypeVar("T")
Label = str | int | float
Progress = Callable[[float], None]
"""Called with the fraction of the work that is done."""


def silent(fraction: float) -> None:
    """Progress that is not shown."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(Generic[S]):
    """Networks that differ by their seed only.

    labels: coordinates that distinguish these networks in the joined dataset; setting: a dataclass of everything that
    determines their numbers; seeds: the networks to compute; block: number of networks in a cell; work: relative cost
    of one network; kind: the dimension along which they are joined. Batches of data, limits and so on each have their
    own dimension.
    """

    labels: Mapping[str, Label]
    setting: S
    seeds: Collection[int]
    block: int = 1
    work: float = 1.0
    kind: str = "network"


@dataclass(frozen=True, kw_only=True)
class Cell(Generic[S]):
    """A fixed block of an ensemble: the unit of work and of storage. Every field but ``work`` is part of its key."""

    experiment: str
    version: int
    draw: int
    kind: str
    labels: Mapping[str, Label]
    setting: S
    seeds: tuple[int, ...]
    constants: Mapping[str, Any]
    engine: int = ENGINE
    work: float = field(default=1.0, compare=False, metadata=NOT_IDENTITY)

    @property
    def label(self) -> str:
        """A name of the cell for people and for its file, such as ``main-n500-seed0-9``."""
        words = {"width": "n{}", "n_0": "n0_{}", "P": "P{}", "L": "L{}", "depth": "L{}", "beta": "beta{}"}
        parts = [words.get(name, "{}").format(value) for name, value in self.labels.items()]
        seeds = f"seed{self.seeds[0]}" + (f"-{self.seeds[-1]}" if len(self.seeds) > 1 else "")
        kind = [] if self.kind == "network" else [self.kind]
        return "-".join([*kind, *(part for part in parts if part), seeds])

    @property
    def folder(self) -> str:
        """Its folder in a store: the experiment, its version and the engine's version."""
        return f"{self.experiment}/v{self.version}.{self.engine}"

    def stream(self, *key: str | int) -> torch.Generator:
        """The random stream named ``key`` of this experiment in this draw."""
        return generator(self.experiment, *key, draw=self.draw)


class Experiment(ABC, Generic[C, S]):
    """The contract between an experiment and the rest. Each module has one instance, named ``EXPERIMENT``.

    name: the name of the module; version: bumped by hand when a change of the experiment's code changes numbers;
    config: the dataclass of its config; constants: every constant of its code that changes numbers.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    config: type[C]
    claims: ClassVar[Sequence[Claim]]
    constants: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def ensembles(self, config: C) -> Iterable[Ensemble[S]]:
        """The ensembles of a config."""

    @abstractmethod
    def measure(self, cell: Cell[S], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """Measure the network of one seed. The result depends on the cell and the experiment's constants only."""

    def assemble(self, config: C, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The dataset that figures and claims read, from the joined networks of each kind. Computes no number."""
        (joined,) = parts.values()
        return joined

    def figures(self, dataset: xr.Dataset) -> "dict[str, Figure]":
        """Its figures by name, from the dataset alone; by default drawn by its module in ``replication.plots``."""
        figures: dict[str, Figure] = importlib.import_module(f"replication.plots.{self.name}").figures(dataset)
        return figures

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The metrics that tracking records: rows of (t, {name: value})."""
        return iter(())

    def claims_of(self, ids: Collection[str] | None) -> list[Claim]:
        """The claims with these ids; all claims for None. Raises ConfigError for an unknown id."""
        known = [claim.id for claim in self.claims]
        for name in ids or ():
            require(name in known, "claims", name, f"must be among {', '.join(known)}")
        return [claim for claim in self.claims if ids is None or claim.id in ids]

    def cells(self, config: C) -> list[Cell[S]]:
        """The cells of a config, cheap networks first."""
        return [cell for cell, _ in self._plan(config)]

    def compute(self, cell: Cell[S], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """Measure each network of a cell. Raises DivergenceError with the cell and the seed.

        Override it if one tensor program computes all networks of a cell.
        """
        count, parts = len(cell.seeds), []
        for i, seed in enumerate(cell.seeds):
            try:
                parts.append(self.measure(cell, seed, device, lambda done, i=i: progress((i + done) / count)))  # type: ignore[misc]
            except DivergenceError as error:
                raise DivergenceError(f"{cell.label}, seed {seed}: {error}", error.t) from error
            progress((i + 1) / count)
        return xr.concat(parts, dim=cell.kind)

    def least_nbytes(self, cell: Cell[S], width: int) -> int:
        """The least memory, in bytes, of a network of a cell if it had this width.

        Override it if the cell's setting has no NetworkConfig.
        """
        network = part_of(cell.setting, NetworkConfig)
        return network.least_nbytes(width) if network else 8 * width

    def join(self, config: C, results: Sequence[xr.Dataset]) -> xr.Dataset:
        """Join the datasets of the ``cells`` of a config. Only the config's seeds are kept, each with its labels."""
        parts: dict[str, list[xr.Dataset]] = {}
        for (cell, seeds), result in zip(self._plan(config), results, strict=True):
            wanted = np.isin(cell.seeds, list(seeds))
            labels = {"seed": np.array(cell.seeds)} | {
                name: np.array([value] * len(cell.seeds)) for name, value in cell.labels.items()
            }
            prefix = "" if cell.kind == "network" else f"{cell.kind}_"
            named = result.assign({prefix + name: (cell.kind, values) for name, values in labels.items()})
            parts.setdefault(cell.kind, []).append(named.isel({cell.kind: wanted}))
        joined = {
            kind: xr.concat(datasets, dim=kind, join="exact", combine_attrs="drop") for kind, datasets in parts.items()
        }
        return self.assemble(config, joined)

    def _plan(self, config: C) -> list[tuple[Cell[S], Collection[int]]]:
        """Each cell, with the seeds of its ensemble. A network belongs to the same cell in every config."""
        plan = []
        for ensemble in self.ensembles(config):
            for block in blocks(ensemble.seeds, ensemble.block):
                cell = Cell(
                    experiment=self.name,
                    version=self.version,
                    draw=config.draw,
                    kind=ensemble.kind,
                    labels=ensemble.labels,
                    setting=ensemble.setting,
                    seeds=block,
                    constants=self.constants,
                    work=ensemble.work * len(block),
                )
                plan.append((ensemble.work, cell, ensemble.seeds))
        plan.sort(key=lambda item: item[0])  # stable: ensembles and blocks of equal work keep their order
        return [(cell, seeds) for _, cell, seeds in plan]


def width_of(setting: Any) -> int:
    """The largest ``width``, or width among ``hidden``, anywhere in a setting; 0 if there is none."""
    if not is_dataclass(setting):
        return 0
    named = [getattr(setting, "width", None) or 0, *getattr(setting, "hidden", ())]
    return int(max(*named, *(width_of(getattr(setting, item.name)) for item in fields(setting)), 0))


def part_of(setting: Any, kind: type[T]) -> T | None:
    """The first part of a setting that has this type, or None."""
    if isinstance(setting, kind):
        return setting
    parts = [getattr(setting, item.name) for item in fields(setting)] if is_dataclass(setting) else []
    return next((fitting for part in parts if (fitting := part_of(part, kind))), None)


def blocks(seeds: Iterable[int], size: int) -> list[tuple[int, ...]]:
    """The blocks that contain any of the seeds; all blocks are fixed: 0 … size − 1, size … 2·size − 1, …"""
    return [tuple(range(first, first + size)) for first in sorted({seed - seed % size for seed in seeds})]


def select(dataset: xr.Dataset, kind: str = "network", **labels: Label) -> xr.Dataset:
    """The networks, or other entries along the dimension ``kind``, whose labels have the given values."""
    chosen = np.ones(dataset.sizes[kind], dtype=bool)
    for name, value in labels.items():
        chosen &= dataset[name].values == value
    return dataset.isel({kind: np.flatnonzero(chosen)})
