"""Speed and memory, each side by side with its alternative in one run: ``python scripts/benchmark.py [NAME ...]``.

    products   every way of forming the three products with an n × n matrix, and the ways that DenseWeight takes
    step       a whole gradient step of [2, n, n, n, 1] against the best plain product; its peak memory
    kernel     the finite NTK from activations and derivatives, against contracted Jacobians of torch.func
    flow       gradient flow against gradient descent, both to t = 200, with the error of each
    ensemble   many narrow networks as one tensor program, against one after another
    help       scripts/run.py --help

How to read it: alternatives take turns within each repeat, so that drift of the machine hits all of them alike; times
are medians over the repeats, after one that is not counted. A ratio above 1 says that ours is faster (in ``products``
and ``step``: ours over the best rate, so 1 is the most there is). Memory is the peak of a child process, less the peak
of a child that does the same at a tiny size. A table ends with the requirement that it decides. Run it on a quiet
machine: the ratios stand some noise, the absolute numbers do not.
"""

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from replication.costs import LeastSquares
from replication.datasets import angle_grid, circle, gaussian
from replication.network import Network
from replication.randomness import generator
from replication.tangent import tangent_kernel
from replication.training import GradientDescent, GradientFlow, Solver
from replication.weights import DenseWeight

RUN = Path(__file__).with_name("run.py")
MIB = 2**20
USED = "DenseWeight"
NO_CHANGE = 1e-12  # scale of an update that costs like any other and leaves the weights as they are
T, TOLERANCES = 200.0, (5e-3, 5e-4)


@dataclass(frozen=True)
class Requirement:
    """What a table decides: measured ≥ limit or measured ≤ limit."""

    quantity: str
    relation: str
    limit: float
    measured: float

    def __str__(self) -> str:
        met = self.measured >= self.limit if self.relation == "≥" else self.measured <= self.limit
        verdict = "met" if met else "not met"
        return f"requirement {self.quantity} {self.relation} {self.limit:g}: {verdict} (measured {self.measured:.3g})"


@dataclass(frozen=True)
class Table:
    """Numbers under named columns."""

    title: str
    columns: list[str]
    rows: list[list[str | int | float]]
    requirements: list[Requirement] = field(default_factory=list)

    def __str__(self) -> str:
        cells = [self.columns, *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        texts = [isinstance(value, str) for value in self.rows[0]]
        lines = [
            "  ".join(
                cell.ljust(w) if text else cell.rjust(w) for cell, w, text in zip(row, widths, texts, strict=True)
            )
            for row in cells
        ]
        return "\n".join([self.title, *lines, *map(str, self.requirements)])


def _cell(value: str | int | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def race(
    alternatives: Mapping[str, Callable[[], object]],
    repeats: int,
    prepare: Callable[[], object] = lambda: None,
    warm_up: bool = True,
) -> dict[str, float]:
    """Median seconds of each alternative, run in turn within each repeat; ``prepare`` goes before each, uncounted."""
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for repeat in range(-warm_up, repeats):
        for name, work in alternatives.items():
            prepare()
            start = time.perf_counter()
            work()
            elapsed = time.perf_counter() - start
            if repeat >= 0:
                times[name].append(elapsed)
    return {name: median(found) for name, found in times.items()}


def network_and_data(n: int, n_inputs: int) -> tuple[Network, Tensor, LeastSquares]:
    """The network [2, n, n, n, 1], inputs and cost of Figure 1."""
    network = Network.init([2, n, n, n, 1], generator=generator("fig1", "network", n, 0))
    x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
    return network, x, LeastSquares(x[:, :1] * x[:, 1:])


# Peak memory, in child processes


def peak_of(task: str, n: int, n_inputs: int) -> float:
    """Bytes: the peak of a child process that does one of ``TASKS``."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, __file__, "--threads", threads, "--peak", task, str(n), str(n_inputs)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Bytes: the peak resident memory of this process."""
    try:
        # On Linux ru_maxrss survives exec: a child starts from the peak of the parent that launched it.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024.0 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def two_steps(n: int, n_inputs: int) -> None:
    network, x, cost = network_and_data(n, n_inputs)
    for _ in GradientDescent(1e-3, steps=2).states(network, x, cost):
        pass


def finite_kernel(n: int, n_inputs: int) -> None:
    network, x, _ = network_and_data(n, n_inputs)
    tangent_kernel(network, x)


def finite_kernel_by_jacobians(n: int, n_inputs: int) -> None:
    network, x, _ = network_and_data(n, n_inputs)
    contracted_jacobians(network, x)


TASKS = {"step": two_steps, "kernel": finite_kernel, "jacobians": finite_kernel_by_jacobians}


# The benchmarks: (widths n, numbers of inputs N, repeats) → table


def ways(matrix: Tensor, n_inputs: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Product with a square matrix W → way of forming it → the work; V, (N, n), has the inputs as rows."""
    n = len(matrix)
    weight = DenseWeight(matrix)
    v = torch.randn(n_inputs, n)
    columns = v.mT.contiguous()

    def blocks(right: Tensor, size: int) -> Callable[[], object]:
        def work() -> None:
            out = torch.empty(n_inputs, n)
            for start in range(0, n, size):
                torch.mm(v, right[:, start : start + size], out=out[:, start : start + size])

        return work

    def update_blocks() -> None:
        for start in range(0, n, 1000):
            block = slice(start, start + 1000)
            matrix[block].addmm_(v[:, block].mT, v, alpha=NO_CHANGE)

    return {
        "V Wᵀ": {
            "whole": lambda: v @ matrix.mT,
            "W @ columns": lambda: matrix @ columns,
            **{f"blocks of {size} rows of W": blocks(matrix.mT, size) for size in (500, 1000, 2000)},
            USED: lambda: weight.apply(v),
        },
        "V W": {
            "whole": lambda: v @ matrix,
            "Wᵀ @ columns": lambda: matrix.mT @ columns,
            "blocks of 1000 columns of W": blocks(matrix, 1000),
            USED: lambda: weight.apply_transpose(v),
        },
        "W += UᵀV": {
            "addmm_": lambda: matrix.addmm_(v.mT, v, alpha=NO_CHANGE),
            "addmm_ in blocks of 1000 rows": update_blocks,
            USED: lambda: weight.update(v, v, NO_CHANGE),
        },
    }


def products(widths: Sequence[int], inputs: Sequence[int], repeats: int) -> Table:
    rows: list[list[str | int | float]] = []
    for n in widths:
        matrix = torch.randn(n, n)
        rates: dict[tuple[str, str], list[float]] = {}
        for n_inputs in inputs:
            works = {(p, way): work for p, found in ways(matrix, n_inputs).items() for way, work in found.items()}
            names = {" ".join(key): key for key in works}
            times = race({name: works[key] for name, key in names.items()}, repeats)
            for name, key in names.items():
                rates.setdefault(key, []).append(2e-9 * n**2 * n_inputs / times[name])
        for product, way in rates:
            rows.append([n, product, way, *rates[product, way]])
            if way == USED:
                others = [found for (p, w), found in rates.items() if p == product and w != USED]
                best = [max(found) for found in zip(*others, strict=True)]
                ratios = [used / limit for used, limit in zip(rates[product, USED], best, strict=True)]
                rows.append([n, product, f"{USED} / best way", *ratios])
    columns = ["n", "product", "way", *(f"N = {n_inputs}" for n_inputs in inputs)]
    return Table("products: GFLOP/s in float32", columns, rows)


def step(widths: Sequence[int], inputs: Sequence[int], repeats: int) -> Table:
    rows: list[list[str | int | float]] = []
    parameters_share = 0.0
    for n in widths:
        peaks = {n_inputs: peak_of("step", n, n_inputs) - peak_of("step", 8, 1) for n_inputs in {1, *inputs}}
        network, _, _ = network_and_data(n, 1)
        bytes_of_parameters = 4 * network.num_parameters
        for n_inputs in inputs:
            _, x, cost = network_and_data(1, n_inputs)
            matrix = network.weights[1]
            assert isinstance(matrix, DenseWeight)
            plain = ways(matrix.values, n_inputs)
            works = {f"{p} {way}": work for p, found in plain.items() for way, work in found.items() if way != USED}
            states = GradientDescent(1e-3, repeats + 1).states(network, x, cost)
            next(states)
            # From one state to the next: backward pass, update, forward pass.
            times = race({"step": partial(next, states), **works}, repeats)
            bests = [min(times[f"{p} {way}"] for way in found if way != USED) for p, found in plain.items()]
            work_of_product = 2e-9 * n**2 * n_inputs
            rate = 6 * work_of_product / times["step"]
            best = work_of_product / min(bests)
            memory = peaks[n_inputs] / MIB, peaks[n_inputs] / (bytes_of_parameters + 4 * 9 * n * n_inputs)
            rows.append([n, n_inputs, rate, best, rate / best, 2 * sum(bests) / times["step"], *memory])
        _, constant = np.polyfit(list(peaks), list(peaks.values()), 1)
        parameters_share = max(parameters_share, float(constant) / bytes_of_parameters)
    columns = ["n", "N", "step GFLOP/s", "best product", "ratio", "ratio, product by product"]
    columns += ["peak MiB", "peak / (parameters + 9nN)"]
    return Table(
        "step: a gradient step of [2, n, n, n, 1] in float32, counted over its 6 products with n × n matrices; "
        "9nN: α, σ̇, δ of 3 layers",
        columns,
        rows,
        [
            Requirement("ratio", "≥", 0.70, min(float(row[4]) for row in rows)),
            Requirement("a in peak = a × parameters + O(nN), a line in N", "≤", 1.15, parameters_share),
        ],
    )


def contracted_jacobians(network: Network, x: Tensor) -> Tensor:
    """The NTK of a network with one output by automatic differentiation, parameter tensor by parameter tensor."""
    parameters = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        assert isinstance(weight, DenseWeight)
        parameters.append((weight.values, bias))

    def f(parameters: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        for l, (weight, bias) in enumerate(parameters):
            x = weight @ (x if l == 0 else x.relu()) / math.sqrt(weight.shape[1]) + network.beta * bias[0]
        return x[0]

    jacobians = vmap(jacrev(f), (None, 0))(parameters, x.float())
    terms = [torch.einsum("ip,jp->ij", j, j) for layer in jacobians for j in (part.flatten(1) for part in layer)]
    return torch.stack(terms).sum(dim=0)


def kernel(widths: Sequence[int], inputs: Sequence[int], repeats: int) -> Table:
    rows: list[list[str | int | float]] = []
    for n in widths:
        for n_inputs in inputs:
            network, x, _ = network_and_data(n, n_inputs)
            ours, theirs = tangent_kernel(network, x), contracted_jacobians(network, x)
            difference = float((ours - theirs).abs().max() / ours.abs().max())
            if not difference < 1e-4:
                raise SystemExit(f"error: the two kernels differ by {difference:.2g} of their largest entry")
            works = {
                "kernel": partial(tangent_kernel, network, x),
                "jacobians": partial(contracted_jacobians, network, x),
            }
            times = race(works, repeats)
            extra = [
                max(0.0, peak_of(task, n, n_inputs) - peak_of(task, 8, 1) - 4 * network.num_parameters) / MIB
                for task in works
            ]
            ratio = times["jacobians"] / times["kernel"]
            rows.append([n, n_inputs, difference, 1e3 * times["kernel"], 1e3 * times["jacobians"], ratio, *extra])
    return Table(
        "kernel: the finite NTK, L = 4, float32: ours, and Jacobians of torch.func contracted",
        ["n", "N", "difference", "ours ms", "torch.func ms", "ratio", "ours extra MiB", "torch.func extra MiB"],
        rows,
        [Requirement("ratio", "≥", 20, min(float(row[5]) for row in rows))],
    )


def train(solver: Solver, network: Network, x: Tensor, cost: LeastSquares) -> tuple[int, Tensor]:
    """(steps, f at the end) of a training."""
    states = list(map(attrgetter("f"), solver.states(network, x, cost)))
    return len(states) - 1, states[-1]


def flow(widths: Sequence[int], inputs: Sequence[int], repeats: int) -> Table:
    rows: list[list[str | int | float]] = []
    solvers: dict[str, Solver] = {"gradient descent, rate 1": GradientDescent(1.0, round(T))}
    solvers |= {f"gradient flow, tolerance {tolerance:g}": GradientFlow(T, tolerance) for tolerance in TOLERANCES}
    points = circle(angle_grid(100))
    for n in widths:
        for n_inputs in inputs:
            network, x, cost = network_and_data(n, n_inputs)
            drawn = [tensor.clone() for tensor in _tensors(network)]

            def reset(network: Network = network, drawn: list[Tensor] = drawn) -> None:
                for tensor, value in zip(_tensors(network), drawn, strict=True):
                    tensor.copy_(value)

            fine = _double(network)
            _, f_fine = train(GradientFlow(T, min(TOLERANCES) / 100), fine, x, cost)
            theta_fine = tangent_kernel(fine, points[50:51], points)
            found = {}
            for name, solver in solvers.items():  # this is the warm-up, too
                reset()
                steps, f = train(solver, network, x, cost)
                theta = tangent_kernel(network, points[50:51], points)
                error_of_theta = float((theta - theta_fine).norm() / theta_fine.norm())
                found[name] = steps, float((f - f_fine).square().mean().sqrt()), error_of_theta
            works = {name: partial(train, solver, network, x, cost) for name, solver in solvers.items()}
            times = race(works, repeats, reset, warm_up=False)
            slow = next(iter(times.values()))
            for name, (steps, *errors) in found.items():
                rows.append([n, n_inputs, name, steps, times[name], slow / times[name], *errors])
    return Table(
        f"flow: training to t = {T:g}, float32; errors against a float64 flow of tolerance {min(TOLERANCES) / 100:g}: "
        "root mean square of f on the data (f* ~ 1), relative of Θ(x_0, x(γ))",
        ["n", "N", "solver", "steps", "s", "ratio", "error of f", "error of Θ"],
        rows,
    )


def _tensors(network: Network) -> list[Tensor]:
    return [weight.values for weight in network.weights if isinstance(weight, DenseWeight)] + network.biases


def _double(network: Network) -> Network:
    """The same network in float64."""
    tensors = [tensor.double() for tensor in _tensors(network)]
    weights = [DenseWeight(values) for values in tensors[: network.depth]]
    return Network(weights, tensors[network.depth :], network.nonlinearity, network.beta)


def ensemble(widths: Sequence[int], inputs: Sequence[int], repeats: int, networks: int = 50) -> Table:
    rows: list[list[str | int | float]] = []

    def move(network: Network, x: Tensor) -> None:
        forward = network.forward(x)
        network.update(forward, network.backward(forward, torch.ones_like(forward.output)), NO_CHANGE)

    for n in widths:
        for n_inputs in inputs:
            x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
            streams = [generator("fig1", "network", n, seed) for seed in range(networks)]
            apart = [Network.init([2, n, n, n, 1], generator=stream) for stream in streams]
            together = Network.init([2, n, n, n, 1], generator=streams)
            works: dict[str, Callable[[], object]] = {
                "apart": lambda apart=apart, x=x: [move(network, x) for network in apart],
                "together": partial(move, together, x),
            }
            times = race(works, repeats)
            ratio = times["apart"] / times["together"]
            rows.append([n, n_inputs, networks, 1e3 * times["apart"], 1e3 * times["together"], ratio])
    return Table(
        "ensemble: forward pass, backward pass and update of networks [2, n, n, n, 1], float32",
        ["n", "N", "networks", "one by one ms", "together ms", "ratio"],
        rows,
    )


def help_time(widths: Sequence[int], inputs: Sequence[int], repeats: int) -> Table:
    command = [sys.executable, str(RUN), "--help"]
    seconds = race({"help": lambda: subprocess.run(command, check=True, capture_output=True)}, repeats)["help"]
    probe = [sys.executable, "-X", "importtime", str(RUN), "--help"]
    lines = subprocess.run(probe, check=True, capture_output=True, text=True).stderr.splitlines()
    torch_imported = any(line.split("|")[-1].strip() == "torch" for line in lines)
    return Table(
        "help: python scripts/run.py --help",
        ["torch imported", "s"],
        [["yes" if torch_imported else "no", seconds]],
        [Requirement("seconds", "≤", 1.5, seconds)],
    )


# name → benchmark, its widths n, its numbers of inputs N
BENCHMARKS: dict[str, tuple[Callable[[Sequence[int], Sequence[int], int], Table], list[int], list[int]]] = {
    "products": (products, [10000], [64, 128, 256, 512]),
    "step": (step, [10000], [64, 128, 512]),
    "kernel": (kernel, [500], [128]),
    "flow": (flow, [500, 2000], [128]),
    "ensemble": (ensemble, [16, 64, 250], [4, 64]),
    "help": (help_time, [], []),
}


def machine() -> dict[str, str | int]:
    """What the numbers depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, "all"], default="all", metavar="NAME")
    parser.add_argument("--n", type=int, nargs="+", help="widths n, in place of each benchmark's own")
    parser.add_argument("--inputs", type=int, nargs="+", help="numbers of inputs N, in place of each benchmark's own")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median is taken (default 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch (default: all cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables and the machine there, too")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak:
        task, n, n_inputs = options.peak
        TASKS[task](int(n), int(n_inputs))
        print(own_peak())
        return
    described = machine()
    print(", ".join(f"{key} {value}" for key, value in described.items()))
    tables = {}
    for name in BENCHMARKS if "all" in options.names else options.names:
        benchmark, widths, inputs = BENCHMARKS[name]
        tables[name] = benchmark(options.n or widths, options.inputs or inputs, options.repeats)
        print(f"\n{tables[name]}", flush=True)
    if options.json:
        content = {"machine": described, "tables": {name: asdict(table) for name, table in tables.items()}}
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
