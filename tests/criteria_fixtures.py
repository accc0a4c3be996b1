"""The ranges of the claims, written down a second time in criteria.yaml, and data that are moved to their edges."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import xarray as xr
from omegaconf import OmegaConf

from replication.study.claims import Claim, Outcome, worst
from replication.study.statistics import interval

CRITERIA: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("criteria.yaml")))


def assert_as_written(outcome: Outcome) -> None:
    """The ranges of a claim's statistics are those of the file: none is another, and none of them is missing."""
    written = CRITERIA[outcome.claim.id]["allowed"]
    ranges = {statistic.allowed for statistic in outcome.statistics}
    for one in ranges:
        assert any(_same(one, other) for other in written), f"{outcome.claim.id} allows {one}, and not in criteria.yaml"
    for other in written:
        assert any(_same(one, other) for one in ranges), f"{outcome.claim.id} has no statistic that is allowed {other}"


def _same(allowed: tuple[float, float], written: list[float]) -> bool:
    """Whether two ranges agree."""
    return all(a == b or math.isclose(a, b, rel_tol=1e-12) for a, b in zip(allowed, written, strict=True))


def own_verdict(claim: Claim, dataset: xr.Dataset) -> str:
    """The verdict of a claim's own statistics, whatever its controls do: that is another test's matter."""
    return worst(claim.check(dataset))


@contextmanager
def estimates_alone() -> Iterator[None]:
    """In the block bootstraps are short: estimates, names and ranges are as ever, intervals are not to be looked at."""
    with patch.dict(interval.__kwdefaults__, {"resamples": 2}):
        yield


def verdict_at(claim: Claim, dataset: xr.Dataset, number: int, value: float, variable: str, power: float = 1.0) -> str:
    """The verdict on a claim's statistic, with a variable scaled so that the statistic comes to a value.

    number: of the statistic among the claim's; power: the statistic is proportional to the variable to this power.
    """
    with estimates_alone():
        factor = (value / claim.check(dataset)[number].estimate) ** (1 / power)
    scaled = dataset.assign({variable: (dataset[variable].dims, dataset[variable].values * factor)})
    moved = claim.check(scaled)[number]
    assert math.isclose(moved.estimate, value, rel_tol=1e-2), (moved.estimate, value)
    return moved.verdict


def tilted(dataset: xr.Dataset, variable: str, widths: str, exponent: float) -> xr.Dataset:
    """The dataset with a variable times n^exponent, n the width of each network."""
    return dataset.assign({variable: dataset[variable] * dataset[widths].astype(float) ** exponent})
