"""The solver's error in a claim's statistics: a few networks are trained again with half the tolerance."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import xarray as xr

from .claims import Claim
from .experiment import C, Ensemble, Experiment, S
from .settings import NetworkConfig
from .statistics import MIN_SEEDS


def few_networks(experiment: Experiment[C, S], *, half: bool) -> Experiment[C, S]:
    """An experiment restricted to the first networks of each ensemble: as many as an interval needs, or one block.

    half: halve the tolerance of each solver. With half=False the cells are among those of the experiment itself.
    """

    def ensembles(config: C) -> Iterator[Ensemble[S]]:
        for ensemble in experiment.ensembles(config):
            seeds = sorted(ensemble.seeds)[: max(MIN_SEEDS, ensemble.block)]
            yield replace(ensemble, seeds=seeds, setting=halved(ensemble.setting) if half else ensemble.setting)

    few = copy.copy(experiment)
    few.ensembles = ensembles  # type: ignore[method-assign]
    return few


def halved(setting: Any) -> Any:
    """A setting with every field ``tolerance``, at any depth, halved.

    The tolerance of a NetworkConfig stays: it belongs to revealed weights, not to a solver.
    """
    if not is_dataclass(setting) or isinstance(setting, (type, NetworkConfig)):
        return setting
    changed = {item.name: halved(getattr(setting, item.name)) for item in fields(setting) if item.init}
    if isinstance(changed.get("tolerance"), float):
        changed["tolerance"] /= 2
    return replace(setting, **changed)


def solver_errors(claims: Sequence[Claim], plain: xr.Dataset, fine: xr.Dataset) -> dict[str, list[float]]:
    """The change of each statistic of each claim when the tolerance is halved; NaN if a statistic has no value.

    plain, fine: the datasets of ``few_networks`` with the tolerance and with half of it.
    """
    return {
        claim.id: [
            abs(after.estimate - before.estimate)
            if math.isfinite(before.estimate) and math.isfinite(after.estimate)
            else math.nan
            for before, after in zip(claim.check(plain), claim.check(fine), strict=True)
        ]
        for claim in claims
    }
