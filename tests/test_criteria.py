"""Every claim's ranges are written down a second time, with the reason for them, and compared in some test."""

import re
from pathlib import Path

import pytest
from criteria_fixtures import CRITERIA, assert_as_written

from replication.experiments import available, load
from replication.study.claims import Claim, Control, Outcome
from replication.study.statistics import Statistic

TESTS = Path(__file__).parent


def test_every_claim_has_ranges_and_a_reason() -> None:
    assert CRITERIA.keys() == {claim.id for name in available() for claim in load(name).claims}
    for name, entry in CRITERIA.items():
        assert entry.keys() == {"allowed", "why"}, name
        assert entry["allowed"], name
        assert len(entry["why"]) > 10, name


def test_the_ranges_of_every_experiment_are_compared() -> None:
    """In a test of its own with all of its claims, on data for which they hold."""
    compared = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py") if path != Path(__file__))
    assert len(re.findall(r"^ +assert_as_written\(outcome\)$", compared, re.MULTILINE)) == len(available())


@pytest.mark.parametrize("allowed", [(0.99, 1.02), (0.98, 1.01), (0.99, 1.01 + 1e-9), (0.0, float("inf"))])
def test_a_moved_range_is_noticed(allowed: tuple[float, float]) -> None:
    claim = Claim("fig3.first_constant", "", "", "", "", "", lambda _: [], [Control("c", lambda d: d)])
    assert_as_written(Outcome(claim, [Statistic("s", 1.0, 1.0, 1.0, (0.99, 1.01))]))
    with pytest.raises(AssertionError, match="allow"):
        assert_as_written(Outcome(claim, [Statistic("s", 1.0, 1.0, 1.0, allowed)]))
