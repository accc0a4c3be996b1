"""Theorem 2 and Remark 4 over widths: what is measured, against its definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scripts_fixtures import cell_of

from replication.experiments.theorem2 import EXPERIMENT, measure
from replication.experiments.theorem2.settings import DIRECTIONS, TrainingConfig
from replication.limit import theta_inf
from replication.study.settings import WideNetworkConfig
from replication.study.statistics import geometric
from replication.tangent import Tangent
from replication.training import GradientFlow

NETWORK = WideNetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64", weights="revealed", tolerance=1e-6)
TRAINING = TrainingConfig(n_samples=3, t=4.0, tolerance=1e-3, adversarial_t=2.0, learning_rate=0.25, discriminator=20)


def cell(
    direction="least_squares",
    width=40,
    seeds=(0,),
    mean_field=False,
    weights="dense",
    nonlinearity="erf",
    training=TRAINING,
):
    network = replace(NETWORK, weights=weights, nonlinearity=nonlinearity)
    trained = measure.Trained(
        direction=direction, mean_field=mean_field, width=width, network=network, training=training
    )
    return cell_of(EXPERIMENT, trained, seeds)


def test_layers_of_the_limit_add_up_to_it():
    x = measure.points(cell())
    layers = measure.limit_layers(cell().setting, x)
    torch.testing.assert_close(layers.sum(dim=0), theta_inf(x, depth=3, nonlinearity="erf", beta=0.1))
    two = measure.limit_layers(cell("cross_entropy").setting, x)
    torch.testing.assert_close(two, torch.kron(layers, torch.eye(2, dtype=torch.float64)))


def test_layers_of_a_wide_network_are_those_of_the_limit():
    x = measure.points(cell())
    network = NETWORK.draw_wide(2, 20_000, inputs=6, directions=12, generator=torch.Generator().manual_seed(0))
    tangent = Tangent(network, x)
    for layer, limit in zip(tangent.layers_with(tangent), measure.limit_layers(cell().setting, x), strict=True):
        torch.testing.assert_close(layer, limit, rtol=0.1, atol=0.02)


def test_input_gradient_is_that_of_autograd():
    network = NETWORK.draw(2, 12, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradient = measure.input_gradient(network, Tangent(network, x))
    y = x.clone().requires_grad_()
    hidden = y
    for l, weight in enumerate(network.weights):
        hidden = hidden @ weight.values.T / weight.shape[1] ** 0.5 + 0.1 * network.biases[l]
        hidden = torch.erf(hidden) if l < 2 else hidden
    (expected,) = torch.autograd.grad(hidden.sum(), y)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_revealed_networks_train_like_dense_ones(direction):
    """The change of Θ has the same law; its mean over networks falls by about the ratio of the widths."""
    seeds = tuple(range(8))
    dense = EXPERIMENT.compute(cell(direction, 200, seeds))
    revealed = EXPERIMENT.compute(cell(direction, 800, seeds, weights="revealed"))
    ratio = geometric(revealed.change.values[:, -1]) / geometric(dense.change.values[:, -1])
    assert 0.12 < ratio < 0.5
    assert int(revealed["rank"].max()) > 0 == int(dense["rank"].max())
    assert float(revealed.truncation.max()) <= 1e-6
    assert (revealed.learned > 0.02).all()
    np.testing.assert_allclose(dense.share.sum("parameters"), 1)


def test_change_of_the_kernel_is_that_of_its_definition():
    measured = EXPERIMENT.compute(cell())
    assert measured.change.values[0, 0] == 0
    assert (np.diff(measured.change.values[0]) > 0).all()
    assert float(measured.learned[0]) > 0.05


def test_what_moves_is_measured_between_the_start_and_the_end():
    """Against a network trained apart, with Θ, activations and matrices of its own."""
    measured = EXPERIMENT.compute(cell(width=30, seeds=(3,)))
    at, n = measure.points(cell()), TRAINING.n_samples
    network = NETWORK.draw(2, 30, generator=cell().stream("least_squares", "erf", 30, 3))
    before = [layer.clone() for layer in network.forward(at).activations[1:]]
    matrix, kernel = network.weights[1].values.clone(), Tangent(network, at).kernel
    cost = measure.cost_of("least_squares", at[:n])
    for _ in GradientFlow(TRAINING.t, TRAINING.tolerance).states(network, at[:n], cost):
        pass
    after = network.forward(at).activations[1:]
    moved = [float((a - b).square().mean().sqrt()) for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(measured.moved[0], moved, rtol=0.05)
    change = float((network.weights[1].values - matrix).norm()) / math.sqrt(30)
    np.testing.assert_allclose(measured.weights[0], [change], rtol=0.05)
    change = float((Tangent(network, at).kernel - kernel).norm() / kernel.norm())
    np.testing.assert_allclose(measured.change[0, -1], change, rtol=0.1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("width", "weights"), [(30, "dense"), (300, "revealed")])
def test_what_the_layers_have_changed_adds_up_to_the_change_of_f(direction, width, weights):
    """Of a network trained in short steps, in the place of the integral."""
    training = replace(TRAINING, tolerance=1e-6, adversarial_t=2.0, learning_rate=1 / 64)
    asked = cell(direction, width, weights=weights, training=training)
    x = measure.points(asked)[:3]
    network = asked.setting.network.draw_wide(
        2, width, DIRECTIONS[direction], inputs=6, directions=100, generator=torch.Generator().manual_seed(0)
    )
    before, learning = network(x), measure.Learning()
    if direction == "adversarial":
        moves = measure.adversarial(asked.setting, network, x, asked.stream("discriminator"), learning)
    else:
        moves = measure.flow(asked.setting, network, x, learning)
    for _ in moves:
        pass
    change = (network(x) - before).flatten()
    assert float(change.norm()) > 0.05
    torch.testing.assert_close(learning.by_layer.sum(dim=0), change, rtol=0.03, atol=0.01 * float(change.norm()))


def test_the_last_layer_learns_its_share_when_it_alone_is_counted():
    """What the last layer has changed is a sum over steps of its kernel: to be seen in its own weights and biases."""
    training = replace(TRAINING, tolerance=1e-5)
    asked = cell(width=800, training=training)
    x, learning = measure.points(asked)[:3], measure.Learning()
    network = NETWORK.draw(2, 800, generator=torch.Generator().manual_seed(0))
    features = network.forward(x).activations[-1]
    before = network.weights[-1].values.clone(), network.biases[-1].clone()
    for _ in measure.flow(asked.setting, network, x, learning):
        pass
    moved = features @ (network.weights[-1].values - before[0]).T / 800**0.5 + 0.1 * (network.biases[-1] - before[1])
    torch.testing.assert_close(learning.by_layer[-1], moved.flatten(), rtol=0.05, atol=0.005)
    assert float(learning.by_layer[:-1].sum(dim=0).norm()) > 0.3 * float(moved.norm())


def test_distances_are_those_to_the_limit_and_to_that_of_a_layer_more():
    measured = EXPERIMENT.compute(cell(width=30, seeds=(3,)))
    at = measure.points(cell())
    network = NETWORK.draw(2, 30, generator=cell().stream("least_squares", "erf", 30, 3))
    kernel = Tangent(network, at).kernel
    for name, depth in (("distance", 3), ("elsewhere", 4)):
        there = theta_inf(at, depth=depth, nonlinearity="erf", beta=0.1)
        assert float(measured[name][0, 0]) == pytest.approx(float((kernel - there).norm() / there.norm()), rel=1e-9)


def test_every_generator_has_a_discriminator_of_its_own(monkeypatch):
    streams = []
    own = measure.adversarial

    def spied(trained, network, z, stream, learning):
        streams.append(stream.initial_seed())
        return own(trained, network, z, stream, learning)

    monkeypatch.setattr(measure, "adversarial", spied)
    EXPERIMENT.compute(cell("adversarial", width=12, seeds=(0, 1)))
    assert len(set(streams)) == 2


def test_change_of_a_revealed_matrix_is_that_of_its_completion():
    network = NETWORK.draw_wide(2, 60, inputs=6, directions=40, generator=torch.Generator().manual_seed(0))
    x = measure.points(cell())
    tangent = Tangent(network, x)
    tangent.move(tangent.output)
    after, before = (network.weights[1].completed(torch.Generator().manual_seed(1), trained=t) for t in (True, False))
    assert network.weights[1].change_norm == pytest.approx(float((after - before).norm()), rel=1e-9)


def test_generator_and_discriminator_take_steps_along_their_gradients():
    """One step of both, by automatic differentiation."""
    training = replace(TRAINING, adversarial_t=1.0, learning_rate=0.25)
    asked = cell("adversarial", width=12, training=training)
    z = measure.points(cell())[:3]
    network = NETWORK.draw(2, 12, 2, generator=torch.Generator().manual_seed(0))
    judge = replace(NETWORK, depth=3, weights="dense").draw(
        2, training.discriminator, generator=asked.stream("discriminator")
    )
    steps = measure.adversarial(asked.setting, network, z, asked.stream("discriminator"), measure.Learning())
    parameters = {
        id(net): [[w.values.clone() for w in net.weights], [b.clone() for b in net.biases]] for net in (network, judge)
    }

    def run(net, x):
        weights, biases = parameters[id(net)]
        for l, (w, b) in enumerate(zip(weights, biases, strict=True)):
            x = x @ w.T / w.shape[1] ** 0.5 + 0.1 * b
            x = torch.erf(x) if l < len(weights) - 1 else x
        return x

    leaves = [p.requires_grad_() for net in (network, judge) for group in parameters[id(net)] for p in group]
    angles = torch.arange(8, dtype=torch.float64) * math.pi / 4
    real = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    generated = run(network, z)
    frozen = generated.detach().requires_grad_()
    (expected,) = torch.autograd.grad(run(judge, frozen).sum(), frozen)
    torch.testing.assert_close(next(steps), expected)

    labels = torch.tensor([1.0] * 8 + [-1.0] * 3, dtype=torch.float64)[:, None]
    loss = 0.5 * (run(judge, torch.cat([real, generated.detach()])) - labels).square().mean()
    pleased = (generated * expected).sum() / 3  # rises as D does
    gradients = torch.autograd.grad(loss - pleased, leaves)
    with torch.no_grad():
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf -= 0.25 * gradient
    moved = run(network, z).detach().requires_grad_()
    (expected,) = torch.autograd.grad(run(judge, moved).sum(), moved)
    torch.testing.assert_close(next(steps), expected)


def test_switches_are_counted_on_the_training_points():
    relu = cell(width=30, seeds=(3,), nonlinearity="relu")
    measured = EXPERIMENT.compute(relu)
    smooth = EXPERIMENT.compute(cell(width=30, seeds=(3,)))
    assert (smooth.switched_on == 0).all()
    x, n = measure.points(cell()), TRAINING.n_samples
    trained = relu.setting.network.draw(2, 30, generator=relu.stream("least_squares", "relu", 30, 3))
    slopes = [trained.forward(x[:n]).slopes]
    for _ in measure.flow(relu.setting, trained, x[:n], measure.Learning()):
        pass
    slopes.append(trained.forward(x[:n]).slopes)
    for l, (before, after) in enumerate(zip(*slopes, strict=True)):
        assert float(measured.switched_on[0, l]) == pytest.approx(float(((before == 0) & (after == 1)).double().mean()))
        assert float(measured.switched_off[0, l]) == pytest.approx(
            float(((before == 1) & (after == 0)).double().mean())
        )
    assert float(measured.switched_on.sum() + measured.switched_off.sum()) > 0


def test_mean_field_networks_move_at_every_width():
    narrow, wide = (EXPERIMENT.compute(cell(width=n, seeds=(0, 1, 2, 3), mean_field=True)) for n in (50, 200))
    ratio = geometric(wide.change.values[:, -1]) / geometric(narrow.change.values[:, -1])
    assert 0.4 < ratio < 2.5
    assert math.isfinite(ratio)


def test_another_draw_has_other_points_networks_and_discriminators(monkeypatch):
    first = cell("adversarial", width=12)
    second = replace(first, draw=1)
    assert (measure.points(first) != measure.points(second)).all()
    network = NETWORK.draw(2, 12, 2, generator=torch.Generator().manual_seed(0))
    z = measure.points(first)[:3]
    streams = [cell.stream("discriminator") for cell in (first, second)]
    gradients = [next(measure.adversarial(first.setting, network, z, stream, measure.Learning())) for stream in streams]
    assert (gradients[0] != gradients[1]).all()
    at = measure.points(first)
    monkeypatch.setattr(measure, "points", lambda cell: at)
    least_squares = cell(width=12)
    measured = [EXPERIMENT.compute(replace(least_squares, draw=draw)) for draw in (0, 1)]
    for name in ("share", "share_limit", "moved", "weights", "learned"):
        assert (measured[0][name] != measured[1][name]).all(), name
