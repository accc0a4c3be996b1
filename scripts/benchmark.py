"""Speed and memory, each side by side with its alternative in one run: ``python scripts/benchmark.py [NAME ...]``.

    products   every way of forming the three products with an n × n matrix, and the way that DenseWeight takes
    step       a gradient step of [2, n, n, n, 1] against the best plain product; its peak memory
    kernel     the finite NTK from activations and derivatives, against contracted Jacobians of torch.func
    limit      Θ_∞ of ReLU and erf, L = 4, in float64 and float32, of N inputs and between N and 512, against jitted
               neural-tangents where that can be imported (by the Python that the variable NTK_PEER names, if set)
    flow       gradient flow against gradient descent, both to t = 200, with the error of each
    ensemble   many narrow networks as one tensor program, against one after another
    fig3       the paper's 4000 steps on 512 digits, extrapolated from measured ones, against gradient flow to t = 4000
               of both orders, with the error of each
    revealed   the NTK at initialization with revealed weights and with dense ones, against width (figures/width.json)
    help       scripts/run.py --help

How to read it: networks are float32. Alternatives take turns, so that drift of the machine hits all alike; times are
medians over the repeats, after a turn that is not counted. A ratio above 1 says that ours is faster; in ``products``
and ``step`` it is ours over the best, of which 1 is the most there is. Memory is the peak of a child process less that
of one that does the same at a tiny size. A last line gives the requirement that a table decides, at its worst row. Run
it on a quiet machine: ratios stand a little noise, rates do not.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from replication.costs import LeastSquares
from replication.datasets import angle_grid, circle, gaussian, mnist
from replication.kernels import principal_components
from replication.limit import theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.revealed import revealing
from replication.study.memory import free_memory
from replication.study.statistics import exponent
from replication.tangent import tangent_kernel
from replication.training import GradientDescent, GradientFlow, Solver, State, follow
from replication.weights import DeferredWeight, DenseWeight, WeightDraw

Row = dict[str, Any]
Work = Callable[[], object]
Benchmark = tuple[Callable[[int, int, int], Iterator[Row]], list[int], list[int], list[tuple[str, str, float]]]

RUN = Path(__file__).with_name("run.py")
NO_CHANGE = 1e-12  # an update at this scale costs what any other does, and leaves the weights as they are
T, TOLERANCE = 200.0, 5e-3  # of Figure 1


def race(works: Mapping[str, Work], repeats: int, prepare: Work = lambda: None) -> dict[str, float]:
    """Median seconds of each work, done in turn within each repeat; ``prepare`` comes before each, uncounted."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            prepare()
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: median(seconds[1:]) for name, seconds in times.items()}


def figure_1(n: int, n_inputs: int) -> tuple[Network, Tensor, LeastSquares]:
    """Network, inputs and cost of Figure 1."""
    network = Network.init([2, n, n, n, 1], generator=generator("fig1", "network", n, 0))
    x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
    return network, x, LeastSquares(x[:, :1] * x[:, 1:])


def tensors(network: Network) -> list[Tensor]:
    """W⁽⁰⁾, W⁽¹⁾, …, then b⁽⁰⁾, b⁽¹⁾, …"""
    return [weight.values for weight in network.weights if isinstance(weight, DenseWeight)] + network.biases


def ways(matrix: Tensor, n_inputs: int) -> dict[str, dict[str, Work]]:
    """Product with a square matrix W → way of forming it → the work. V is (N, n), and also at hand by columns."""
    n = len(matrix)
    weight = DenseWeight(matrix)
    v = torch.randn(n_inputs, n)
    columns = v.mT.contiguous()

    def blocks(right: Tensor, size: int) -> Tensor:
        out = torch.empty(n_inputs, n)
        for start in range(0, n, size):
            torch.mm(v, right[:, start : start + size], out=out[:, start : start + size])
        return out

    def column_blocks(right: Tensor, size: int) -> Tensor:
        out = torch.empty(n, n_inputs)
        for start in range(0, n, size):
            torch.mm(right[:, start : start + size].mT, columns, out=out[start : start + size])
        return out

    def update(size: int) -> None:
        for start in range(0, n, size):
            matrix[start : start + size].addmm_(v[:, start : start + size].mT, v, alpha=NO_CHANGE)

    def update_columns(size: int) -> None:
        for start in range(0, n, size):
            matrix[start : start + size].addmm_(columns[start : start + size], columns.mT, alpha=NO_CHANGE)

    ways: dict[str, dict[str, Work]] = {}
    for name, right, used in (("V Wᵀ", matrix.mT, weight.apply), ("V W", matrix, weight.apply_transpose)):
        ways[name] = {"whole": partial(torch.mm, v, right), "by columns": partial(torch.mm, right.mT, columns)}
        ways[name] |= {f"blocks of {size}": partial(blocks, right, size) for size in (500, 1000, 2000)}
        ways[name] |= {f"by columns, {size}": partial(column_blocks, right, size) for size in (1000, 2000)}
        ways[name]["DenseWeight"] = partial(used, v)
    ways["W += VᵀV"] = {
        "whole": partial(matrix.addmm_, v.mT, v, alpha=NO_CHANGE),
        "by columns": partial(matrix.addmm_, columns, columns.mT, alpha=NO_CHANGE),
        **{f"blocks of {size}": partial(update, size) for size in (500, 1000, 2000)},
        **{f"by columns, {size}": partial(update_columns, size) for size in (1000, 2000)},
        "DenseWeight": partial(weight.update, v, v, NO_CHANGE),
    }
    return ways


def products(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """GFLOP/s of products with W (n × n), V (N × n)"""
    for name, works in ways(torch.randn(n, n), n_inputs).items():
        rates = {way: 2e-9 * n**2 * n_inputs / seconds for way, seconds in race(works, repeats).items()}
        best = max(rate for way, rate in rates.items() if way != "DenseWeight")
        yield {"product": name, **rates, "ratio": rates["DenseWeight"] / best}


def step(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """GFLOP/s of a gradient step, over its 6 wide products; peak memory = a × parameters + b × nN floats"""
    peak, least = (peak_of("step", n, size) - peak_of("step", 8, 1) for size in (n_inputs, 1))
    network, x, cost = figure_1(n, n_inputs)
    wide = ways(tensors(network)[1], n_inputs)
    plain = {f"{name}, {way}": wide[name][way] for name in wide for way in wide[name] if way != "DenseWeight"}
    states = GradientDescent(1e-3, repeats + 1).states(network, x, cost)
    next(states)  # from here to the next state: backward pass, update, forward pass
    times = race({"step": partial(next, states), **plain}, repeats)
    best_of_each = [min(times[way] for way in plain if way.startswith(f"{name},")) for name in wide]
    flops = 2e-9 * n**2 * n_inputs
    yield {
        "step": 6 * flops / times["step"],
        "best product": flops / min(best_of_each),
        "ratio": 6 * min(best_of_each) / times["step"],
        "to the best of each product": 2 * sum(best_of_each) / times["step"],
        "peak MiB": peak / 2**20,
        "a": least / (4 * network.num_parameters),
        "b": (peak - least) / (4 * n * max(1, n_inputs - 1)),
    }


def contracted_jacobians(network: Network, x: Tensor) -> Tensor:
    """The NTK of a ReLU network with one output by automatic differentiation, one parameter tensor after another."""

    def f(parameters: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        for l, (weight, bias) in enumerate(parameters):
            x = weight @ (x.relu() if l else x) / weight.shape[1] ** 0.5 + network.beta * bias[0]
        return x[0]

    held = tensors(network)
    parameters = list(zip(held[: network.depth], held[network.depth :], strict=True))
    jacobians = vmap(jacrev(f), (None, 0))(parameters, x.float())
    parts = [part.flatten(1) for layer in jacobians for part in layer]
    return torch.stack([torch.einsum("ip,jp->ij", part, part) for part in parts]).sum(dim=0)


def kernel(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """The finite NTK, L = 4, and by torch.func; MiB: peak memory over that of the parameters"""
    network, x, _ = figure_1(n, n_inputs)
    ours, other = tangent_kernel(network, x), contracted_jacobians(network, x)
    difference = float((ours - other).abs().max() / ours.abs().max())
    if not difference < 1e-4:
        raise SystemExit(f"error: the two kernels differ by {difference:.2g} of the largest entry")
    works = {"kernel": partial(tangent_kernel, network, x), "jacobians": partial(contracted_jacobians, network, x)}
    times = race(works, repeats)
    extra = [peak_of(task, n, n_inputs) - peak_of(task, 8, 1) - 4 * network.num_parameters for task in works]
    yield {
        "difference": difference,
        "ms": 1e3 * times["kernel"],
        "torch.func ms": 1e3 * times["jacobians"],
        "ratio": times["jacobians"] / times["kernel"],
        "MiB": max(0.0, extra[0] / 2**20),
        "torch.func MiB": max(0.0, extra[1] / 2**20),
    }


PEER = """
import json, sys, time
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from neural_tangents import stax
while line := sys.stdin.readline():
    query = json.loads(line)
    activation = {"relu": stax.Relu, "erf": stax.Erf}[query["sigma"]]
    layers = [stax.Dense(1, 1.0, 0.1), activation()] * 3 + [stax.Dense(1, 1.0, 0.1)]
    kernel = jax.jit(lambda a, b: stax.serial(*layers)[2](a, b, "ntk"))
    a = jnp.asarray(query["x"], query["dtype"])
    b = None if query["x2"] is None else jnp.asarray(query["x2"], query["dtype"])
    while sys.stdin.readline().strip() == "time":
        start = time.perf_counter()
        kernel(a, b).block_until_ready()
        print(time.perf_counter() - start, flush=True)
"""


class Peer:
    """A process in which neural-tangents evaluates its kernel on demand; it answers nothing where it is not at hand."""

    def __init__(self) -> None:
        python = os.environ.get("NTK_PEER", sys.executable)
        known = subprocess.run([python, "-c", "import neural_tangents"], capture_output=True, check=False)
        pipe, self.process = subprocess.PIPE, None
        if known.returncode == 0:
            self.process = subprocess.Popen([python, "-c", PEER], stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def say(self, line: str) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def seconds(self) -> float:
        """Of one evaluation; NaN where there is none."""
        self.say("time")
        if self.process is None or self.process.stdout is None:
            return math.nan
        return float(self.process.stdout.readline())

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()


def limit_kernel(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """The limit kernel of N inputs, L = 4, n_0 = 20, in ms: best of the repeats, which take turns"""
    stream = generator("limit", n_inputs)
    x, other = gaussian(n_inputs, 20, stream), gaussian(512, 20, stream)
    peer = Peer()
    for sigma, dtype, x2 in product(("relu", "erf"), (torch.float64, torch.float32), (None, other)):
        precision = str(dtype).split(".")[1]
        query = {"sigma": sigma, "dtype": precision, "x": x.tolist(), "x2": None if x2 is None else x2.tolist()}
        peer.say(json.dumps(query))
        ours, theirs = [], []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            theta_inf(x, x2, depth=4, nonlinearity=sigma, beta=0.1, dtype=dtype)
            ours.append(time.perf_counter() - start)
            theirs.append(peer.seconds())
        peer.say("done")
        best, other_best = min(ours[1:]), min(theirs[1:])
        yield {
            "σ": sigma,
            "dtype": precision,
            "N'": "N" if x2 is None else 512,
            "ms": 1e3 * best,
            "neural-tangents ms": NOTHING if math.isnan(other_best) else 1e3 * other_best,
            "ratio": NOTHING if math.isnan(other_best) else other_best / best,
        }
    peer.close()


def train(solver: Solver, network: Network, x: Tensor, cost: LeastSquares) -> tuple[int, Tensor]:
    """(steps, f at the end)."""
    outputs = [state.f for state in solver.states(network, x, cost)]
    return len(outputs) - 1, outputs[-1]


def flow(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Training to t = 200; errors: root mean square of f on the data (f* ~ 1), relative of Θ(x_0, x(γ))"""
    network, x, cost = figure_1(n, n_inputs)
    drawn = [tensor.clone() for tensor in tensors(network)]
    circle_kernel = partial(tangent_kernel, x=circle(torch.zeros(1)), x2=circle(angle_grid(100)))

    def reset() -> None:
        for tensor, value in zip(tensors(network), drawn, strict=True):
            tensor.copy_(value)

    double = [tensor.double() for tensor in drawn]
    wide = [DenseWeight(values) for values in double[: network.depth]]
    fine = Network(wide, double[network.depth :], network.nonlinearity, network.beta)
    _, f_fine = train(GradientFlow(T, TOLERANCE / 100), fine, x, cost)
    theta_fine = circle_kernel(fine)

    solvers: dict[str, Solver] = {"gradient descent, 1": GradientDescent(1.0, round(T))}
    for tolerance in (TOLERANCE, TOLERANCE / 10):
        solvers[f"gradient flow, {tolerance:g}"] = GradientFlow(T, tolerance)
    rows: dict[str, Row] = {}
    for name, solver in solvers.items():
        reset()
        steps, f = train(solver, network, x, cost)
        f_error = (f - f_fine).square().mean().sqrt()
        theta_error = (circle_kernel(network) - theta_fine).norm() / theta_fine.norm()
        rows[name] = {"steps": steps, "error of f": float(f_error), "error of Θ": float(theta_error)}
    works = {name: partial(train, solver, network, x, cost) for name, solver in solvers.items()}
    times = race(works, repeats, reset)
    for name, row in rows.items():
        yield {"solver": name, **row, "s": times[name], "ratio": times["gradient descent, 1"] / times[name]}


def ensemble(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Forward pass, backward pass and update of networks [2, n, n, n, 1]"""
    x = gaussian(n_inputs, 2, generator("fig1", "sample", 0))
    streams = [generator("fig1", "network", n, seed) for seed in range(50)]
    together = Network.init([2, n, n, n, 1], generator=streams)
    apart = [Network.init([2, n, n, n, 1], generator=stream) for stream in streams]

    def move(networks: list[Network]) -> None:
        for network in networks:
            forward = network.forward(x)
            network.update(forward, network.backward(forward, torch.ones_like(forward.output)), NO_CHANGE)

    times = race({"apart": partial(move, apart), "together": partial(move, [together])}, repeats)
    milliseconds = {"one by one ms": 1e3 * times["apart"], "together ms": 1e3 * times["together"]}
    yield {"networks": len(apart), **milliseconds, "ratio": times["apart"] / times["together"]}


def fig3(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Figure 3, [784, n, n, n, n, 1]: 4000 steps of rate 1, from measured ones, against flows; worst error of f to t"""
    x = mnist(n_inputs, 0).images

    def draw(weight: WeightDraw = DenseWeight.draw) -> Network:
        return Network.init([784, n, n, n, n, 1], generator=generator("fig3", "network", n, 0), weight=weight)

    components = principal_components(theta_inf(x, depth=5, nonlinearity="relu", beta=0.1), count=2)
    cost = LeastSquares(draw()(x).double() + 0.5 * components.functions[1])
    few, t = 5, 1000 if n <= 2000 else 20
    times_to_t = [t * i / 20 for i in range(21)]
    flows = {"order 1": GradientFlow(4000, 2e-3), "order 2": GradientFlow(4000, 2e-2, order=2)}
    weights = dict.fromkeys(flows, DenseWeight.draw) | {"order 2, updates deferred": DeferredWeight.draw}
    flows["order 2, updates deferred"] = flows["order 2"]

    def states_of(name: str) -> Iterator[State]:
        return flows[name].states(draw(weights[name]), x, cost)

    def run(name: str) -> int:
        return sum(1 for _ in states_of(name)) - 1

    fine = follow(GradientFlow(t, 2e-5, order=2).states(draw(), x, cost), times_to_t)
    outputs = {"descent": follow(GradientDescent(1.0, t).states(draw(), x, cost), times_to_t)}
    outputs |= {name: follow(states_of(name), times_to_t) for name in flows}
    steps = {"descent": 4000} | {name: run(name) for name in flows}
    matrix, columns = torch.randn(n, n), torch.randn(n, n_inputs)
    states = GradientDescent(1.0, few * (repeats + 1)).states(draw(), x, cost)
    next(states)
    works: dict[str, Work] = {
        "descent": lambda: [next(states) for _ in range(few)],
        "product": partial(torch.mm, matrix, columns),
        **{name: partial(run, name) for name in flows},
    }
    times = race(works, repeats)
    flops = 3 * 6 * n**2 * n_inputs + 4 * 784 * n * n_inputs  # three products with each matrix, but two with the first
    of_product_rate = flops * few / times["descent"] / (2 * n**2 * n_inputs / times["product"])
    times["descent"] *= 4000 / few
    for name in ("descent", *flows):
        yield {
            "solver": name,
            "steps": steps[name],
            "s": times[name],
            "of product rate": of_product_rate if name == "descent" else NOTHING,
            "t": t,
            "error": float((outputs[name] - fine).square().mean(dim=(1, 2)).sqrt().max()),
            "ratio": times["descent"] / times[name],
        }


def revealed(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Drawing [2, n, n, n, 1] and its NTK, revealed and dense (where it fits); exponents over the two decades to n"""
    fits = 16 * n**2 < free_memory("cpu")  # two hidden matrices, with room to work
    ways = {"revealed": revealing(), **({"dense": DenseWeight.draw} if fits else {})}
    times = race({name: partial(initial_kernel, n, n_inputs, weight) for name, weight in ways.items()}, repeats)
    row: Row = {}
    for name in ("revealed", "dense"):
        row[f"{name} s"] = times.get(name, NOTHING)
        row[f"{name} MiB"] = NOTHING
        if name in ways:
            row[f"{name} MiB"] = max(0.01, (peak_of(name, n, n_inputs) - peak_of(name, 8, 1)) / 2**20)
    _revealed[n] = row
    widths = sorted(width for width in _revealed if n / 100 <= width <= n)
    known = len(widths) > 2 and widths[0] == n / 100 >= SETTLED
    for column in ("revealed s", "revealed MiB"):
        values = [_revealed[width][column] for width in widths]
        row[f"exponent({column.split()[-1]})"] = exponent(widths, values, [1] * len(widths)) if known else NOTHING
    yield row


NOTHING = "–"
SETTLED = 10_000  # narrower networks take the time of so many calls
_revealed: dict[int, Row] = {}
"""The rows of ``revealed`` so far, by width."""


def initial_kernel(n: int, n_inputs: int, weight: WeightDraw) -> Tensor:
    """The NTK of Figure 1's network, drawn anew, on N inputs."""
    network = Network.init([2, n, n, n, 1], generator=generator("revealed", n), weight=weight)
    return tangent_kernel(network, gaussian(n_inputs, 2, generator("fig1", "sample", 0)))


def help_time(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """python scripts/run.py --help"""
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    times = race({"help": partial(run, [sys.executable, str(RUN), "--help"])}, repeats)
    imports = run([sys.executable, "-X", "importtime", str(RUN), "--help"]).stderr
    torch_imported = any(line.rpartition("|")[2].strip() == "torch" for line in imports.splitlines())
    yield {"s": times["help"], "imports torch": "yes" if torch_imported else "no"}


@cache
def peak_of(task: str, n: int, n_inputs: int) -> float:
    """Bytes: the peak memory of a child process that does the task."""
    options = ["--threads", str(torch.get_num_threads()), "--peak", task, str(n), str(n_inputs)]
    return float(subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True).stdout)


def peak_of_task(task: str, n: int, n_inputs: int) -> float:
    """Bytes: the peak memory of this process, having done the task."""
    if task in ("revealed", "dense"):
        initial_kernel(n, n_inputs, revealing() if task == "revealed" else DenseWeight.draw)
    else:
        network, x, cost = figure_1(n, n_inputs)
        tasks: dict[str, Work] = {
            "step": partial(train, GradientDescent(1e-3, 2), network, x, cost),
            "kernel": partial(tangent_kernel, network, x),
            "jacobians": partial(contracted_jacobians, network, x),
        }
        tasks[task]()
    try:  # Linux's ru_maxrss outlives exec: a child's is at least its parent's
        return 1024 * float(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


# name → rows for a width n and a number N of inputs; its widths; its numbers; requirements (column, relation, limit)
BENCHMARKS: dict[str, Benchmark] = {
    "products": (products, [10000], [64, 128, 256, 512], []),
    "step": (step, [10000], [64, 128, 512], [("ratio", "≥", 0.7), ("a", "≤", 1.15)]),
    "kernel": (kernel, [500], [128], [("ratio", "≥", 20)]),
    "limit": (limit_kernel, [0], [512, 2048], [("ratio", "≥", 1.0)]),
    "flow": (flow, [500, 2000], [128], []),
    "ensemble": (ensemble, [16, 64, 250], [4, 64], []),
    "fig3": (fig3, [1000], [512], []),
    "revealed": (
        revealed,
        [100, 320, 1000, 3200, 10_000, 32_000, 100_000, 320_000, 1_000_000],
        [64],
        [
            ("exponent(s)", "≥", 0.9),
            ("exponent(s)", "≤", 1.1),
            ("exponent(MiB)", "≥", 0.9),
            ("exponent(MiB)", "≤", 1.1),
        ],
    ),
    "help": (help_time, [], [], [("s", "≤", 1.5)]),
}


def table(name: str, widths: Sequence[int] | None, inputs: Sequence[int] | None, repeats: int) -> dict[str, Any]:
    """Title, rows and requirements of a benchmark, each at its worst row."""
    benchmark, own_widths, own_inputs, requirements = BENCHMARKS[name]
    sizes = product(widths or own_widths, inputs or own_inputs) if own_widths else [(0, 0)]
    rows: list[Row] = [
        ({"n": n} if n else {}) | ({"N": size} if size else {}) | row
        for n, size in sizes
        for row in benchmark(n, size, repeats)
    ]
    decided = []
    for column, relation, limit in requirements:
        values = [row[column] for row in rows if row[column] != NOTHING]
        if not values:  # nothing to compare with on this machine
            continue
        measured = (min if relation == "≥" else max)(values)
        met = measured >= limit if relation == "≥" else measured <= limit
        decided.append({"requirement": f"{column} {relation} {limit:.2f}", "met": met, "measured": measured})
    return {"title": benchmark.__doc__, "rows": rows, "requirements": decided}


def text(table: dict[str, Any]) -> str:
    """The table, aligned."""
    rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in table["rows"]]
    widths = [max(map(len, column)) for column in zip(table["rows"][0], *rows, strict=True)]
    lines = ["  ".join(map(str.rjust, cells, widths)) for cells in (table["rows"][0], *rows)]
    for wanted in table["requirements"]:
        verdict = "met" if wanted["met"] else "not met"
        lines.append(f"requirement {wanted['requirement']}: {verdict} (measured {wanted['measured']:.3g})")
    return "\n".join([table["title"], *lines])


def machine() -> Row:
    """What the numbers depend on."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    threads = torch.get_num_threads()
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "threads": threads, "torch": torch.__version__, "GiB": memory}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, "all"], default="all", metavar="NAME")
    parser.add_argument("--n", type=int, nargs="+", help="widths n, in place of each benchmark's own")
    parser.add_argument("--inputs", type=int, nargs="+", help="numbers N of inputs, in place of each benchmark's own")
    parser.add_argument("--repeats", type=int, default=5, help="whose median is taken (default: 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch (default: all cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables and the machine there")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_of_task(options.peak[0], *map(int, options.peak[1:])))
        return
    described = machine()
    print(", ".join(f"{key} {value:.1f}" if key == "GiB" else f"{key} {value}" for key, value in described.items()))
    tables = {}
    for name in BENCHMARKS if "all" in options.names else options.names:
        tables[name] = table(name, options.n, options.inputs, options.repeats)
        print(f"\n{name}: {text(tables[name])}", flush=True)
    if options.json:
        content = json.dumps({"machine": described, "tables": tables}, indent=1, ensure_ascii=False)
        options.json.write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    import process  # beside this script, which others import from elsewhere

    sys.exit(process.run(main))
