"""Every reduced preset: no claim fails, and each that it is meant to decide holds and rejects its controls."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import estimates_alone
from scripts_fixtures import assert_decided_as_listed, call, script

from replication.study.claims import Claim, Outcome, decide
from replication.study.record import criterion

compose = script("compose")
NAMES = [name for name in compose.presets() if name.startswith("ci/")]
EXACT = {"share_inf"}
"""Numbers of the limit that stand in the name of a statistic: no draw changes them."""


def noisy(dataset: xr.Dataset) -> xr.Dataset:
    """Each number of the data times one of its own, of order 1."""
    rng = np.random.default_rng(0)
    return dataset.assign(
        {
            name: (values.dims, values.values * np.exp(rng.standard_normal(values.shape) / 2))
            for name, values in dataset.data_vars.items()
            if values.dtype.kind == "f" and name not in EXACT
        }
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ci/fig1"])  # which test_run.py runs
def test_claims_of_a_reduced_preset_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[Outcome] = []

    def recorded(own: Sequence[Claim], dataset: xr.Dataset) -> list[Outcome]:
        decided.extend(decide(own, dataset))
        with np.errstate(all="ignore"), estimates_alone():
            others = [Outcome(claim, claim.check(noisy(dataset))) for claim in own]
        # else a criterion that was committed would be another one on the draws that confirm it
        assert list(map(criterion, decided)) == list(map(criterion, others))
        return decided

    monkeypatch.setattr("replication.study.claims.decide", recorded)
    done = call(f"+exp={name}", "tracking=disabled", "threads=1", "workers=1", f"results={tmp_path}")
    assert done.returncode == 0, done.stderr
    experiment, config = compose.typed(compose.preset(name))
    assert [outcome.claim for outcome in decided] == list(experiment.claims_of(config.claims))
    assert_decided_as_listed(decided, config)


def test_most_claims_are_meant_to_be_decided_and_the_others_say_why_not() -> None:
    claims, decided = set(), set()
    for name in NAMES:
        experiment, config = compose.typed(compose.preset(name))
        ids = {claim.id for claim in experiment.claims_of(config.claims)}
        assert set(config.undecided) <= ids
        assert all(len(reason) > 10 for reason in config.undecided.values()), name
        claims |= ids
        decided |= ids - set(config.undecided)
    assert len(decided) >= 60
    assert len(claims) >= 86
