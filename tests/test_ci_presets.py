"""Every reduced preset: no claim fails, and each that it is meant to decide holds and rejects its controls."""

from pathlib import Path

import pytest
from scripts_fixtures import call, script

from replication.study.claims import decide
from replication.study.store import read_dataset

compose = script("compose")
NAMES = [name for name in compose.presets() if name.startswith("ci/")]


@pytest.mark.parametrize("name", NAMES)
def test_claims_of_a_reduced_preset_hold(name: str, tmp_path: Path) -> None:
    experiment, config = compose.typed(compose.preset(name))
    done = call(f"+exp={name}", "tracking=disabled", "threads=1", "workers=1", f"results={tmp_path}")
    assert done.returncode == 0, done.stderr
    (data,) = tmp_path.glob("runs/*/*.nc")
    for outcome in decide(experiment.claims_of(config.claims), read_dataset(data)):
        too_few = outcome.claim.id in config.undecided
        allowed = {"holds", "undecided"} if too_few else {"holds"}
        assert outcome.verdict in allowed, [str(statistic) for statistic in outcome.statistics]
        assert set(outcome.controls.values()) <= ({"fails", "undecided"} if too_few else {"fails"}), outcome.claim.id


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
