"""Every reduced preset runs, its claims hold or are too close for so few networks, and no control passes."""

from pathlib import Path

import pytest
from scripts_fixtures import call, script

from replication.experiments import load
from replication.study.claims import decide
from replication.study.store import read_dataset

# test_scripts.py has the reduced Figure 1, in a process of its own.
NAMES = [name for name in script("compose").presets() if name.startswith("ci/") and name != "ci/fig1"]
# Presets and claims for which seconds are too few to decide at 99.9 %; there none may fail all the same.
TOO_FEW = {
    "ci/depth_inference",
    "ci/fig3",
    "ci/kernel_gradient",
    "theorem1.nonlinearities",
    "theorem1.bias",
    "theorem1.depth",
    "theorem2.directions",
    "theorem2.weights",
}


@pytest.mark.parametrize("name", NAMES)
def test_claims_of_a_reduced_preset_hold(name: str, tmp_path: Path) -> None:
    done = call(f"+exp={name}", "tracking=disabled", "threads=1", f"results={tmp_path}")
    assert done.returncode == 0, done.stderr
    (data,) = tmp_path.glob("runs/*/*.nc")
    outcomes = decide(load(name.removeprefix("ci/")).claims, read_dataset(data))
    for outcome in outcomes:
        few = {name, outcome.claim.id} & TOO_FEW
        assert outcome.verdict in ({"holds", "undecided"} if few else {"holds"}), outcome.statistics
        assert set(outcome.controls.values()) <= ({"fails", "undecided"} if few else {"fails"}), outcome.claim.id
