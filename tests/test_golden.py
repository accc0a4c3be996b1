"""The numbers of the engine and of every reduced preset are those of golden.json, and change only with a version."""

import copy
import math
from typing import Any

import golden
import golden_numbers
import numpy as np
import pytest


@pytest.mark.parametrize("group", golden_numbers.groups())
def test_numbers_are_those_of_the_file(group: str) -> None:
    content = golden.read()
    versions, entries = golden_numbers.groups()[group]()
    different = golden.stale(content, versions | {"engine": golden_numbers.engine_version()})
    assert not different, "\n".join(different)
    compared = list(golden.deviations(group, golden_numbers.numbers(entries), content["numbers"].get(group, {})))
    different = [line for deviation, line in compared if deviation > 1]
    assert not different, "\n".join([*different, golden.ADVICE])
    assert compared


def test_file_has_no_other_parts() -> None:
    content = golden.read()
    assert content["numbers"].keys() == golden_numbers.groups().keys()
    assert golden.text(content) == golden.FILE.read_text(encoding="utf-8")


ARRAY = np.random.default_rng(0).standard_normal(1000)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values * (1 + 1e-6),
        lambda values: values[::-1],
        lambda values: np.where(np.arange(1000) == 700, values + 1e-4, values),
        lambda values: values[:-1],
        lambda values: np.where(np.arange(1000) == 700, np.nan, values),
        lambda values: values[:2],
    ],
    ids=["scale", "order", "one entry", "size", "not finite", "one or two values"],
)
def test_a_change_of_an_array_is_noticed(change: Any) -> None:
    before, after = golden_numbers.summary(ARRAY), golden_numbers.summary(change(ARRAY))
    assert golden.deviation(before, before, 1e-8, 0) == 0
    assert golden.deviation(after, before, 1e-8, 0) > 1


def test_deviation_is_relative_to_the_size_of_the_array_or_absolute() -> None:
    assert math.isclose(golden.deviation([3, 2.0, 1e-3], [3, 2.0, 3e-3], 1e-2, 0), 0.1)
    assert math.isclose(golden.deviation([1e-17], [3e-17], 1e-2, 1e-16), 0.2)
    assert golden.deviation([], [], 1e-8, 0) == 0
    assert golden.deviation([0.0], [0.0], 1e-8, 0) == 0


CONTENT = {
    "versions": {"engine": 2, "fig1": 1},
    "numbers": {"ci/fig1": {"old-float64": {"theta": [3, 2.0, 1.0], "gone": [1.0]}}},
}


def _updated(numbers: golden_numbers.Numbers, **versions: int) -> tuple[golden_numbers.Numbers, list[str]]:
    return golden.updated(copy.deepcopy(CONTENT), "ci/fig1", {"engine": 2, "fig1": 1} | versions, numbers)


def test_numbers_do_not_change_without_a_version() -> None:
    numbers, refused = _updated({"old-float64": {"theta": [3, 2.001, 1.0]}})
    assert numbers == CONTENT["numbers"]["ci/fig1"]
    (line,) = refused
    assert "ci/fig1 old-float64 theta: [3, 2.001, 1] now, [3, 2, 1] in the file" in line


@pytest.mark.parametrize("version", ["engine", "fig1"])
def test_numbers_change_with_a_version(version: str) -> None:
    new = {"old-float64": {"theta": [3, 2.001, 1.0]}}
    assert _updated(new, **{version: 3}) == (new, [])


def test_entries_come_and_go_and_rounding_leaves_no_trace() -> None:
    rounded = 2.0 + 1e-12
    numbers, refused = _updated(
        {"old-float64": {"theta": [3, rounded, 1.0], "more": [5.0]}, "new-float64": {"f": [1.0]}}
    )
    assert not refused
    assert numbers == {"old-float64": {"theta": [3, 2.0, 1.0], "more": [5.0]}, "new-float64": {"f": [1.0]}}


def test_another_version_is_named() -> None:
    assert golden.stale(CONTENT, {"engine": 2, "fig1": 1}) == []
    (line,) = golden.stale(CONTENT, {"engine": 3, "fig1": 1})
    assert line == "version of engine: 3 in the code, 2 in golden.json: run `make golden`"
