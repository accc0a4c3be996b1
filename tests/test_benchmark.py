"""Each benchmark at tiny sizes: its columns, and numbers that a time or a size can be. No time is asserted."""

import json
import math

import pytest
import torch
from scripts_fixtures import script

from benchmarks import harness, solvers, width  # isort: skip
from benchmarks import products as matrix_products  # isort: skip

WAYS = ["whole", "by columns", *(f"blocks of {size}" for size in (500, 1000, 2000))]
WAYS += ["by columns, 1000", "by columns, 2000", "DenseWeight"]
# name → its columns after n and N, a width, a number of inputs, the number of rows
TABLES = {
    "products": (["product", *WAYS, "ratio"], 1100, 3, 3),
    "step": (["step", "best product", "ratio", "to the best of each product", "peak MiB", "a", "b"], 100, 8, 1),
    "kernel": (["difference", "ms", "torch.func ms", "ratio", "MiB", "torch.func MiB"], 100, 8, 1),
    "limit": (["σ", "dtype", "N'", "ms", "neural-tangents ms", "ratio"], 0, 40, 8),
    "flow": (["solver", "steps", "error of f", "error of Θ", "s", "ratio"], 50, 2, 3),
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


@pytest.mark.parametrize("name", TABLES)
def test_table(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(harness, "peak_of", invented_peak)
    monkeypatch.setattr(width, "SETTLED", 50)
    monkeypatch.setattr(solvers, "GOAL", 10)  # a narrow network takes hundreds of steps to t = 4000
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
