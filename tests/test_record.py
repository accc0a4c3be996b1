"""claims.json: what is frozen, what starts anew, which draws confirm, and whether criteria came before their draws."""

import copy
import json
import math
from typing import Any

import pytest
from scripts_fixtures import script

from replication.study.claims import Claim, Control, Outcome
from replication.study.record import (
    Record,
    confirming,
    headline,
    pending,
    precedes,
    settings,
    text,
    unlike,
    update,
    verdict,
    verdicts,
)
from replication.study.statistics import Statistic

compose = script("compose")
CONFIG = compose.typed(compose.preset("ci/multi_output"))[1]


def outcome(
    verdict: str = "holds",
    allowed: tuple[float, float] = (0.5, 2.0),
    name: str = "a.b",
    kind: Any = "measured",
    wrong: str = "wrong",
):
    estimate = {"holds": 1.0, "fails": 9.0, "undecided": math.nan}[verdict]
    control = Control(wrong, lambda dataset: dataset)
    claim = Claim(name, "§1", "It is so.", "so", "", "a", lambda _: [], [control], kind=kind, history=("was so",))
    rejected = [Statistic("r", -1.0, -1.0, -1.0, allowed)]
    return Outcome(claim, [Statistic("r", estimate, estimate, estimate, allowed)], {wrong: rejected})


def attrs(draw: int = 0, version: int = 1, commit: str = "c") -> dict[str, Any]:
    environment = {"commit": commit, "cpu": "x86_64", "from": "2026-01-01", "to": "2026-01-02", "cells": {"main": 1.0}}
    return {"experiment": "multi_output", "version": version, "engine": 1, "draw": draw, "provenance": [environment]}


def record(*draws: tuple[int, str], **of_outcome: Any) -> Record:
    result: Record = {}
    for draw, came in draws:
        result = update(result, "p", settings(CONFIG), attrs(draw), [outcome(came, **of_outcome)])
    return result


def test_draws_gather_and_the_verdict_is_that_of_the_confirming_ones() -> None:
    assert verdicts(record((0, "holds"))) == {"a.b": "holds, not confirmed yet"}
    both = record((0, "holds"), (1, "holds"), (2, "undecided"))
    assert list(both["p"]["claims"]["a.b"]["draws"]) == ["0", "1", "2"]
    assert confirming(both["p"]["claims"]["a.b"]) == [1, 2]
    assert verdicts(both) == {"a.b": "holds in 1 of 2, undecided in 1"}
    assert both["p"]["claims"]["a.b"]["earlier"] == ["was so"]
    decision = both["p"]["claims"]["a.b"]["draws"]["1"]
    assert decision["computed"] == [
        {"commit": "c", "cpu": "x86_64", "begin": "2026-01-01", "end": "2026-01-02", "cells": 1}
    ]
    assert (decision["statistics"], decision["controls"]) == ([[1.0, 1.0, 1.0]], {"wrong": [[-1.0, -1.0, -1.0]]})


@pytest.mark.parametrize("change", ["criterion", "control", "seeds"])
def test_a_change_is_a_line_of_the_history_and_asks_for_fresh_draws(change: str) -> None:
    before = record((0, "holds"), (1, "holds"), (2, "fails"))
    config = copy.deepcopy(CONFIG)
    if change == "seeds":
        config.seeds += 1  # type: ignore[attr-defined]
    allowed = (0.6, 2.0) if change == "criterion" else (0.5, 2.0)
    changed = outcome(allowed=allowed, wrong="another" if change == "control" else "wrong")
    after = update(before, "p", settings(config), attrs(), [changed])
    entry = after["p"]["claims"]["a.b"]
    (line,) = entry["history"]
    assert line["verdicts"] == {"0": "holds", "1": "holds", "2": "fails"}
    assert (line["criterion"], line["controls"]) == ([["r", 0.5, 2.0]], ["wrong"])
    assert line["settings"] == ({"seeds": CONFIG.seeds} if change == "seeds" else {})  # type: ignore[attr-defined]
    assert list(entry["draws"]) == ["0"]
    assert confirming(entry) == [3, 4]
    assert verdict(entry) == "holds, not confirmed yet"


def test_a_changed_claim_alone_is_decided_on_fresh_draws() -> None:
    whole: Record = {}
    for draw in (0, 1):
        whole = update(whole, "p", settings(CONFIG), attrs(draw), [outcome(name="a.a"), outcome(name="a.b")])
    whole = update(whole, "p", settings(CONFIG), attrs(), [outcome(name="a.a"), outcome(name="a.b", wrong="another")])
    assert pending(whole["p"]) == {2: ["a.a", "a.b"], 3: ["a.b"]}
    whole = update(whole, "p", settings(CONFIG), attrs(2), [outcome(name="a.a"), outcome(name="a.b", wrong="another")])
    whole = update(whole, "p", settings(CONFIG), attrs(3), [outcome("fails", name="a.b", wrong="another")])
    assert pending(whole["p"]) == {}
    assert verdicts(whole) == {"a.a": "holds in 2 of 2", "a.b": "holds in 1 of 2, fails in 1"}
    assert update(whole, "p", settings(CONFIG), attrs(), [outcome(name="a.b", wrong="another")])["p"][
        "claims"
    ].keys() == {"a.b"}


def test_another_version_forgets_the_draws_and_asks_for_the_same_ones() -> None:
    before = record((0, "holds"), (1, "holds"))
    after = update(before, "p", settings(CONFIG), attrs(version=2), [outcome()])
    assert (list(after["p"]["claims"]["a.b"]["draws"]), after["p"]["claims"]["a.b"]["history"]) == (["0"], [])
    assert confirming(after["p"]["claims"]["a.b"]) == [1, 2]


def test_unlike_names_what_is_not_frozen() -> None:
    frozen = record((0, "holds"))
    config = copy.deepcopy(CONFIG)
    config.seeds = 7  # type: ignore[attr-defined]
    assert unlike(frozen, "p", CONFIG, [outcome()]) == []
    (line,) = unlike(frozen, "p", config)
    assert line == f"seeds is 7, and was {CONFIG.seeds} when criteria were frozen"  # type: ignore[attr-defined]
    for changed in (outcome(allowed=(0.4, 2.0)), outcome(wrong="another")):
        assert unlike(frozen, "p", CONFIG, [changed]) == ["a.b: its criterion is not the frozen one"]
    assert "publish draw 0" in unlike(frozen, "q", CONFIG)[0]


@pytest.mark.parametrize(
    ("then", "complaint"),
    [
        (record((0, "holds")), None),
        (None, "there is no criterion"),
        (record((0, "holds"), allowed=(0.1, 2.0)), "the criterion, a control or a setting is different"),
        (record((0, "holds"), wrong="another"), "the criterion, a control or a setting is different"),
        (record((0, "holds"), (1, "holds")), "it was decided before"),
    ],
)
def test_precedes_asks_the_commit_of_the_cells(then: Record | None, complaint: str | None) -> None:
    now = record((0, "holds"), (1, "holds"))
    asked: list[str] = []

    def file_at(commit: str) -> str | None:
        asked.append(commit)
        return None if then is None else text(then)

    lines = precedes(now, "p", file_at)
    assert asked == ["c"]  # that of draw 1 alone: criteria are chosen on draw 0
    assert [line.endswith(complaint or "") for line in lines] == ([] if complaint is None else [True])


def test_headline_counts_claims_by_their_confirming_draws_and_identities_apart() -> None:
    whole: Record = {}
    table = {"a": ("holds", "holds"), "b": ("holds", "fails"), "c": ("fails", "undecided"), "d": ("holds", "holds")}
    for draw in (0, 1, 2):
        outcomes = [outcome(came[draw - 1] if draw else "holds", name=f"x.{name}") for name, came in table.items()]
        whole = update(whole, "p", settings(CONFIG), attrs(draw), [*outcomes, outcome(name="x.i", kind="identity")])
    whole = update(whole, "literal/p", settings(CONFIG), attrs(), [outcome("fails", name="x.a")])
    assert headline(whole) == (
        "4 claims: 2 hold in every confirming draw, 1 in one of two, 1 in none; 1 identity verified"
    )
    assert verdicts(whole)["x.a"] == "holds in 2 of 2"
    whole = update(whole, "wide/p", settings(CONFIG), attrs(), [outcome("fails", name="x.a"), outcome(name="x.w")])
    assert headline(whole).startswith(
        "5 claims: 2 hold in every confirming draw, 1 in one of two, 1 in none, 1 hold on"
    )
    assert headline(record((0, "fails"))) == "1 claim: 1 are undecided or fail"


def test_text_reads_back_and_keeps_lists_of_numbers_on_a_line() -> None:
    whole = record((0, "holds"), (1, "undecided"), allowed=(-math.inf, 2.0))
    assert json.loads(text(whole)) == whole
    assert '["r", null, 2.0]' in text(whole)
    assert "[null, null, null]" in text(whole)
