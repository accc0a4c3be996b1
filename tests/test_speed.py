"""What is said of the benchmark: each ratio the right way round, at the largest size; nothing of what is not there."""

from typing import Any

import pytest

from replication.study.speed import headline, line, page, summary

MACHINE = {"cpu": "a processor", "cores": 2, "threads": 2, "torch": "2.0", "GiB": 15.9}


def content(**tables: list[dict[str, Any]]) -> dict[str, Any]:
    return {"machine": MACHINE, "tables": {name: {"rows": rows} for name, rows in tables.items()}}


def cells(measured: dict[str, Any]) -> list[list[str]]:
    """Those of each line below the header."""
    rows = [line for line in summary(measured).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows[2:]]


def test_nothing_is_said_before_anything_is_measured() -> None:
    assert summary(None) == "Not measured yet."
    assert headline(None) == headline(content()) == "not measured yet"
    assert line("a <!-- speed -->b<!-- /speed --> c", None) == "a <!-- speed -->not measured yet<!-- /speed --> c"
    with pytest.raises(ValueError, match="there are no <!-- benchmark --> and <!-- /benchmark --> to write between"):
        page("<!-- benchmark -->", None)


def test_a_time_and_a_rate_are_each_compared_the_right_way_round() -> None:
    kernel = [{"n": 500, "N": 128, "ms": 2.0, "torch.func ms": 50.0}]
    step = [{"n": 1000, "N": 64, "step": 90.0, "best product": 100.0}]
    products = [{"n": 1000, "N": 64, "product": "V W", "DenseWeight": 80.0, "ratio": 0.8}]
    measured = cells(content(kernel=kernel, step=step, products=products))
    assert [row[1:] for row in measured] == [
        ["n = 1000, N = 64, V W", "80 GFLOP/s", "the best of all ways: 100 GFLOP/s", "0.8", "–"],
        ["n = 1000, N = 64", "90 GFLOP/s", "its products at the best rate: 100 GFLOP/s", "0.9", "–"],
        ["n = 500, N = 128", "2 ms", "Jacobians of `torch.func`: 50 ms", "25", "–"],
    ]
    both = content(kernel=kernel, fig3=[{"solver": "descent", "s": 9.0}, {"solver": "order 2", "s": 0.5}])
    assert headline(both) == "speed of 25 × Jacobians, 18 × Figure 3's 4000 steps"
    assert headline(content(kernel=kernel)) == "speed of 25 × Jacobians"


def test_the_largest_size_that_has_an_alternative_is_shown_and_the_range_of_all() -> None:
    rows = [
        {"n": 100, "N": 64, "revealed s": 0.2, "dense s": 0.1},
        {"n": 1000, "N": 64, "revealed s": 0.5, "dense s": 1.5},
        {"n": 10_000, "N": 64, "revealed s": 1.0, "dense s": 20.0},
        {"n": 100_000, "N": 64, "revealed s": 9.0, "dense s": "–"},
    ]
    ((_, *shown),) = cells(content(revealed=rows))
    assert shown == ["n = 10000, N = 64", "1 s", "dense ones: 20 s", "20", "0.5 … 20"]
    ((_, *alone),) = cells(content(revealed=rows[3:]))
    assert alone == ["n = 100000, N = 64", "9 s", "dense ones: –", "–", "–"]


def run(n: int, solver: str, s: float, f: float, theta: float) -> dict[str, Any]:
    return {"n": n, "N": 128, "solver": solver, "s": s, "error of f": f, "error of Θ": theta}


def test_a_flow_is_compared_with_a_run_that_errs_as_much_or_more() -> None:
    rows = [
        run(300, "reference", 9.0, 1e-9, 1e-9),
        run(300, "gradient flow, order 1", 0.5, 1e-1, 1e-1),  # errs more in both
        run(300, "gradient flow, order 1", 1.0, 1e-3, 1e-1),  # and in Θ
        run(300, "gradient flow, order 1", 2.0, 1e-3, 1e-3),
        run(300, "gradient flow, order 2", 4.0, 1e-4, 1e-4),
        run(300, "gradient descent", 5.0, 1e-1, 1e-1),
        run(300, "gradient descent", 30.0, 1e-2, 1e-2),
        run(300, "gradient descent", 60.0, 1e-5, 1e-2),  # that no flow comes to, in f
        run(300, "DOP853", 6.0, 1e-6, 1e-6),  # nor to this
    ]
    ((what, *shown),) = cells(content(precision=rows))
    assert what == "gradient flow to t = 200"
    assert shown[:2] == ["n = 300, N = 128 (2 of 3 runs)", "2 s"]
    assert shown[2:] == ["descent whose errors are no smaller: 30 s", "15", "10 … 15"]
    assert "work_precision.png" in summary(content(precision=rows))


def test_figure_3_is_compared_with_the_papers_steps() -> None:
    rows = [{"n": 1000, "N": 512, "solver": name, "s": s} for name, s in [("descent", 60.0), ("order 1", 6.0)]]
    rows.append({"n": 1000, "N": 512, "solver": "order 2", "s": 3.0})
    ((_, *shown),) = cells(content(fig3=rows))
    assert shown == ["n = 1000, N = 512", "3 s", "by its 4000 steps: 60 s", "20", "10 … 20"]


def test_a_benchmark_without_an_alternative_tells_its_time() -> None:
    ((what, *shown),) = cells(content(help=[{"s": 0.4, "imports torch": "no"}]))
    assert (what, shown) == ("`scripts/run.py --help`", ["–", "0.4 s", "–", "–", "–"])
    assert "2 cores (a processor, 16 GiB, PyTorch 2.0)" in summary(content(help=[{"s": 0.4}]))
