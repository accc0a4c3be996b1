"""The finite NTK and its limit, each beside another implementation."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from replication.datasets import gaussian
from replication.limit import theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.tangent import tangent_kernel

from . import harness
from .figure_1 import figure_1, tensors
from .harness import NOTHING, Row, race


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
    extra = [
        harness.peak_of(task, n, n_inputs) - harness.peak_of(task, 8, 1) - 4 * network.num_parameters for task in works
    ]
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
    """A process in which neural-tangents evaluates its kernel on demand; without it there are no numbers."""

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
        """Seconds of one evaluation, or NaN without neural-tangents."""
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
