"""Every reduced preset runs, its claims hold, and its negative controls are rejected."""

from pathlib import Path

import pytest
from scripts_fixtures import call, script

from replication.claims import decide
from replication.experiments import load
from replication.results import read_dataset

# test_scripts.py has the reduced Figure 1, in a process of its own.
NAMES = [name for name in script("compose").presets() if name.startswith("ci/") and name != "ci/fig1"]


@pytest.mark.parametrize("name", NAMES)
def test_claims_of_a_reduced_preset_hold(name: str, tmp_path: Path) -> None:
    done = call(f"+exp={name}", "tracking=disabled", "threads=1", f"results={tmp_path}")
    assert done.returncode == 0, done.stderr
    (data,) = tmp_path.glob("runs/*/*.nc")
    outcomes = decide(load(name.removeprefix("ci/")).CLAIMS, read_dataset(data))
    assert {outcome.claim.id: outcome.verdict for outcome in outcomes} == {o.claim.id: "holds" for o in outcomes}
    for outcome in outcomes:
        assert set(outcome.controls.values()) == {"fails"}, outcome.claim.id
