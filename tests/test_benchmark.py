"""Each benchmark at tiny sizes: its columns, and numbers that a time or a size can be. No time is asserted."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from scripts_fixtures import script

from replication.training import GradientDescent, GradientFlow, Solver

from benchmarks import harness, precision, solvers, width  # isort: skip
from benchmarks.figure_1 import figure_1, tensors, train  # isort: skip
from benchmarks import products as matrix_products  # isort: skip

WAYS = ["whole", "by columns", *(f"blocks of {size}" for size in (500, 1000, 2000))]
WAYS += ["by columns, 1000", "by columns, 2000", "DenseWeight"]
# name → its columns after n and N, a width, a number of inputs, the number of rows
TABLES = {
    "products": (["product", *WAYS, "ratio"], 1100, 3, 3),
    "step": (["step", "best product", "ratio", "to the best of each product", "peak MiB", "a", "b"], 100, 8, 1),
    "kernel": (["difference", "ms", "torch.func ms", "ratio", "MiB", "torch.func MiB"], 100, 8, 1),
    "limit": (["σ", "dtype", "N'", "ms", "neural-tangents ms", "ratio"], 0, 40, 8),
    "precision": (["solver", "setting", "steps", "products", "s", "error of f", "error of Θ"], 8, 3, 13),
    "ensemble": (["networks", "one by one ms", "together ms", "ratio"], 5, 3, 1),
    "fig3": (["solver", "steps", "s", "of product rate", "t", "error", "ratio"], 20, 8, 4),
    "revealed": (
        ["revealed s", "revealed MiB", "dense s", "dense MiB", "exponent(s)", "exponent(MiB)"],
        (50, 500, 5000, 20_000),
        4,
        4,
    ),
    "help": (["s", "imports torch"], 1, 1, 1),
}
REQUIREMENTS = {"step": ["ratio ≥ 0.70", "a ≤ 1.15"], "kernel": ["ratio ≥ 20.00"], "help": ["s ≤ 1.50"]}
REQUIREMENTS["revealed"] = [f"exponent({unit}) {bound}" for unit in ("s", "MiB") for bound in ("≥ 0.90", "≤ 1.10")]


benchmark = script("benchmark")


def parameters(n: int) -> int:
    return 3 * n + 2 * (n + 1) * n + n + 1


def invented_peak(task: str, n: int, n_inputs: int) -> float:
    """Twice the parameters, 10 floats per unit and input, and what Python takes."""
    return 1e8 + 4 * (2 * parameters(n) + 10 * n * n_inputs)


def shorten(monkeypatch) -> None:
    """Make ``precision`` take half a second: to t = 4, by few rates, and by DOP853 with coarse tolerances."""
    monkeypatch.setattr(precision, "T", 4.0)
    monkeypatch.setattr(precision, "RATES", [1.0, 0.5])
    monkeypatch.setattr(precision, "OUTSIDE", [1e-2, 1e-4])


@pytest.mark.parametrize("name", TABLES)
def test_table(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(harness, "peak_of", invented_peak)
    monkeypatch.setattr(width, "SETTLED", 50)
    monkeypatch.setattr(solvers, "GOAL", 10)  # a narrow network takes hundreds of steps to t = 4000
    shorten(monkeypatch)
    monkeypatch.setattr(width, "free_memory", lambda device: 16 * 10_000**2)
    columns, n, n_inputs, rows = TABLES[name]
    path = tmp_path / "numbers.json"
    widths = map(str, n if isinstance(n, tuple) else (n,))
    benchmark.main([name, "--n", *widths, f"--inputs={n_inputs}", "--repeats=1", "--threads=1", f"--json={path}"])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["machine"].keys() == {"cpu", "cores", "threads", "torch", "GiB"}
    table = content["tables"][name]
    assert len(table["rows"]) == rows
    for row in table["rows"]:
        assert list(row) == {"help": columns, "limit": ["N", *columns]}.get(name, ["n", "N", *columns])
        numbers = {column: value for column, value in row.items() if not isinstance(value, str)}
        assert all(map(math.isfinite, numbers.values())), numbers
        numbers.pop("exponent(s)", None)  # of times too short to grow while other processes take turns
        assert all(value > 0 for value in numbers.values()), numbers
    assert [wanted["requirement"] for wanted in table["requirements"]] == REQUIREMENTS.get(name, [])
    for wanted in table["requirements"]:
        column, relation, limit = wanted["requirement"].split()
        (measured,) = (row[column] for row in table["rows"] if not isinstance(row[column], str))
        assert wanted["measured"] == measured
        assert wanted["met"] == (measured >= float(limit) if relation == "≥" else measured <= float(limit))
    printed = capsys.readouterr().out
    assert all(column in printed for column in columns)
    assert len(printed.splitlines()) == 2 + 2 + rows + len(table["requirements"])
    if name == "revealed":
        assert [row["dense s"] == "–" for row in table["rows"]] == [False, False, False, True]
        assert table["rows"][2]["exponent(MiB)"] > 1  # of the invented peaks
    if name == "step":
        assert table["rows"][0]["a"] == pytest.approx(2, rel=0.06)
        assert table["rows"][0]["b"] == pytest.approx(10)


def test_other_tables_of_the_same_machine_stay(tmp_path, monkeypatch, capsys):
    path = tmp_path / "numbers.json"
    tiny = ["ensemble", "--n=5", "--inputs=3", "--repeats=1", "--threads=1", f"--json={path}"]
    for cores, kept in ((2, False), (2, True), (3, False)):
        monkeypatch.setattr(benchmark, "machine", lambda cores=cores: {"cores": cores})
        benchmark.main(tiny)
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["machine"] == {"cores": cores}
        assert list(content["tables"]) == ["ensemble", *["help"] * kept]
        content["tables"]["help"] = "of before"
        path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("solver", "passes"),
    [
        (GradientDescent(0.5, 3), {"forward": 4, "backward": 4, "update": 3}),  # λ_max at the start: a backward pass
        (GradientFlow(1e-3, 1.0), {"forward": 2, "backward": 1, "update": 1}),
        (GradientFlow(2e-3, 1.0, 1e-3, 2), {"forward": 3, "backward": 2, "update": 3}),  # the second step has two
    ],
)
def test_products_are_counted(solver: Solver, passes: dict[str, int]) -> None:
    like, x, cost = figure_1(7, 3)
    products: Counter[str] = Counter()
    network = precision.counted(like, tensors(like), products)
    train(solver, network, x, cost)
    assert products == {kind: 2 * times for kind, times in passes.items()}  # matrices of 7 × 7


def test_scipy_is_given_minus_the_gradient_of_the_cost():
    like, x, cost = figure_1(7, 3)
    products: Counter[str] = Counter()
    outside = precision.Outside(like, x, cost, products)
    theta = torch.cat([tensor.flatten() for tensor in tensors(like)]).double().numpy()
    slope = outside.slope(0.0, theta)
    assert products == {"forward": 2, "backward": 2, "update": 2}
    values = torch.from_numpy(theta).clone().requires_grad_()
    parts = values.split([tensor.numel() for tensor in tensors(like)])
    out = x
    for l, (w, b) in enumerate(zip(parts[:4], parts[4:], strict=True)):
        out = (out.relu() if l else out) @ w.reshape(len(b), -1).mT / out.shape[1] ** 0.5 + like.beta * b
    cost.value(out).backward()
    np.testing.assert_allclose(slope, -values.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_scipy_comes_to_the_reference(monkeypatch):
    shorten(monkeypatch)
    reference, *others = precision.precision(8, 3, 1)
    assert reference["solver"] == "reference"
    for error in ("error of f", "error of Θ"):
        errors = {row["solver"]: row[error] for row in others}  # of the most accurate run of each
        assert errors["DOP853"] < 10 * reference[error] < errors["gradient descent"]


@pytest.mark.parametrize(("largest", "there"), [(0, False), (8 * 20 * 200, True)])
def test_scipy_is_left_out_where_it_would_take_too_much_memory(largest, there, monkeypatch):
    shorten(monkeypatch)
    monkeypatch.setattr(precision, "LARGEST", largest)
    assert ("DOP853" in {row["solver"] for row in precision.precision(7, 3, 1)}) == there


def test_a_child_process_tells_its_peak_memory():
    extra = harness.peak_of("step", 2000, 1) - harness.peak_of("step", 8, 1)
    assert 0.9 < extra / (4 * parameters(2000)) < 1.5


def test_all_ways_form_the_same_product(monkeypatch):
    monkeypatch.setattr(matrix_products, "NO_CHANGE", 1.0)
    matrix = torch.randn(1100, 1100, generator=torch.Generator().manual_seed(0))
    drawn = matrix.clone()
    updated = []
    for name, works in matrix_products.ways(matrix, 3).items():
        for way, work in works.items():
            product = work()
            if name == "W += VᵀV":
                updated.append(matrix - drawn)
                matrix.copy_(drawn)
            else:
                expected = works["whole"]()
                torch.testing.assert_close(
                    product.mT if way.startswith("by columns") else product, expected, rtol=0, atol=1e-3
                )
    assert updated[0].abs().max() > 1
    for change in updated:
        torch.testing.assert_close(change, updated[0], rtol=0, atol=1e-5)
