"""The dataset of a config from the cells of a store, with their provenance and cost."""

from typing import Any

import xarray as xr

from .experiment import Experiment
from .provenance import summary
from .settings import BaseConfig
from .store import Store


class MissingCellError(OSError):
    """A cell of a config is not stored."""


def gather(experiment: Experiment[Any, Any], config: BaseConfig, store: Store) -> xr.Dataset:
    """The joined dataset of a config. Raises MissingCellError for the first cell that is not stored."""
    cells = experiment.cells(config)
    results, provenance = [], []
    for cell in cells:
        dataset = store.load(cell)
        if dataset is None:
            raise MissingCellError(f"{config.preset}: {cell.label} is not in {store.root}")
        provenance.append((cell.label, dataset.attrs["provenance"]))
        results.append(dataset)
    return experiment.join(config, results).assign_attrs(
        experiment=experiment.name,
        version=cells[0].version,
        engine=cells[0].engine,
        draw=config.draw,
        preset=config.preset,
        claims=[claim.id for claim in experiment.claims_of(config.claims)],
        cells=len(cells),
        wall_time=sum(of_cell["wall_time"] for _, of_cell in provenance),
        provenance=summary(provenance),
    )
