"""Every reduced preset: no claim fails, and each that it is meant to decide holds and rejects its controls."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import xarray as xr
from scripts_fixtures import assert_decided_as_listed, call, script

from replication.study.claims import Claim, Outcome, decide

compose = script("compose")
NAMES = [name for name in compose.presets() if name.startswith("ci/")]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ci/fig1"])  # which test_scripts.py runs
def test_claims_of_a_reduced_preset_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[Outcome] = []

    def recorded(own: Sequence[Claim], dataset: xr.Dataset) -> list[Outcome]:
        decided.extend(decide(own, dataset))
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
