"""The experiment drift: what its cells measure, and how they are assembled."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from predicted_drift_fixtures import CLAIM
from scripts_fixtures import cell_of, script

from replication.experiments.drift import EXPERIMENT, bias, measure
from replication.experiments.drift.claims import PARTIAL
from replication.experiments.drift.settings import TrainingConfig
from replication.plots import drift as plots
from replication.study.claims import decide
from replication.study.settings import NetworkConfig, WideNetworkConfig
from replication.tangent import tangent_kernel
from replication.training import DivergenceError, GradientFlow

compose = script("compose")


NETWORK = WideNetworkConfig(depth=3, nonlinearity="erf", beta=0.1, dtype="float64", weights="dense", tolerance=1e-9)


TRAINING = TrainingConfig(n_samples=3, t=6.0, nodes=8, flow_nodes=12)


def trained(width=40, nonlinearity="erf", weights="dense"):
    network = replace(NETWORK, nonlinearity=nonlinearity, weights=weights)
    return measure.Trained(width=width, network=network, training=TRAINING)


def cell(setting, seeds=(0,), kind="network"):
    return cell_of(EXPERIMENT, setting, seeds, kind)


def test_what_is_left_is_of_the_flow_of_the_adaptive_solver():
    problem = measure.Problem(cell(trained()), trained(), [3], "cpu")
    measured = EXPERIMENT.compute(cell(trained(), (3,))).isel(network=0)
    predicted = problem.predicted(problem.at)
    before = problem.value()
    for _ in GradientFlow(TRAINING.t, 1e-9, order=2).states(problem.network, problem.x, problem.cost):
        pass
    change = tangent_kernel(problem.network, problem.at) - predicted.start
    np.testing.assert_allclose(measured.drift, change.norm() / predicted.start.norm(), rtol=1e-4)
    np.testing.assert_allclose(measured.cost, problem.value() / before, rtol=1e-4)
    expected = {
        "second": predicted.total,
        "without_k3": predicted.quadratic + predicted.bent,
        "without_k4": predicted.linear,
        "first": predicted.linear + predicted.quadratic,
    }
    for name, part in expected.items():
        remainder = float((change - part).norm() / change.norm())
        np.testing.assert_allclose(measured.left.sel(prediction=name), remainder, rtol=1e-2)
    assert (
        float(measured.left.sel(prediction="second"))
        < 0.1
        < min(float(measured.left.sel(prediction=k)) for k in PARTIAL)
    )


@pytest.mark.parametrize("kind", ["network", "pair"])
def test_narrow_networks_of_a_cell_are_those_measured_one_by_one(kind):
    together = EXPERIMENT.compute(cell(trained(), (0, 1, 2), kind))
    alone = [EXPERIMENT.measure(cell(trained(), (0, 1, 2), kind), seed, "cpu", lambda _: None) for seed in range(3)]
    xr.testing.assert_allclose(together, xr.concat(alone, dim=kind), rtol=1e-5, atol=1e-9)


def test_revealed_networks_are_predicted_like_dense_ones():
    seeds = tuple(range(8))
    dense = EXPERIMENT.compute(cell(trained(100), seeds))
    revealed = EXPERIMENT.compute(cell(trained(800, weights="revealed"), seeds))
    ratio = np.log(dense.left / revealed.left).mean("network").sel(prediction="second")
    assert 1.0 < float(ratio) < 3.2  # ln 8 = 2.1
    assert int(dense["rank"].max()) == 0 < int(revealed["rank"].max()) < 400


def test_pairs_have_opposite_outputs_and_the_mean_of_both():
    measured = EXPERIMENT.compute(cell(trained(), (5,), "pair")).isel(pair=0).diagonal
    diagonals = []
    for sign in (1, -1):
        problem = measure.Problem(cell(trained(), (), "pair"), trained(), [5], "cpu")
        problem.network.weights[-1].values *= sign
        problem.network.biases[-1] *= sign
        diagonals.append((problem.network(problem.x), problem.predicted(problem.at).total.diagonal().mean()))
    torch.testing.assert_close(diagonals[0][0], -diagonals[1][0])
    expected = 40 * (diagonals[0][1] + diagonals[1][1]) / 2
    np.testing.assert_allclose(measured.sel(term="second"), expected, rtol=1e-9)
    total = sum(measured.sel(term=name) for name in ("linear", "quadratic", "bent"))
    np.testing.assert_allclose(measured.sel(term="second"), total, rtol=1e-9)


def test_two_references_agree():
    checked = measure.Checked(trained=trained(), tolerance=1e-8)
    measured = EXPERIMENT.compute(cell(checked, kind="check")).isel(check=0)
    assert float(measured.coarse) < 1e-5
    assert float(measured.solver) < 1e-2 * float(measured.second)


def test_the_curve_starts_from_the_point_at_zero_and_is_one_network():
    curve = measure.OnCircle(trained=trained(), intervals=8)
    measured = EXPERIMENT.compute(cell(curve, kind="curve")).isel(curve=0).change
    problem = measure.Problem(cell(curve), trained(), [0], "cpu")
    x_0 = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    predicted = problem.predicted(x_0).total
    np.testing.assert_allclose(measured.sel(term="second", angle=0), predicted[0, 0], rtol=1e-9)
    np.testing.assert_allclose(measured.sel(term="second", angle=np.pi / 2), predicted[0, 1], rtol=1e-9)
    assert float(abs(measured.sel(term="flow") - measured.sel(term="second")).max()) < 0.1 * float(abs(measured).max())


def test_kinks_hide_switching_neurons_from_derivatives():
    kinked = measure.WithKinks(trained=trained(200, "relu"), tolerance=1e-5, scale=1e-4)
    measured = EXPERIMENT.compute(cell(kinked, tuple(range(6)), "kinked"))
    everywhere, second = measured.kinked_left.mean("kinked").values
    assert everywhere > 0.4 > second
    assert (measured.switched > 0).all()
    smooth = replace(kinked, trained=trained(200))
    assert float(EXPERIMENT.compute(cell(smooth, kind="kinked")).kinked_left.max()) < 0.1


def test_inflation_is_that_of_the_trained_network():
    network = NetworkConfig(depth=4, nonlinearity="relu", beta=0.1, dtype="float32")
    inflated = measure.Inflated(width=100, network=network, n_samples=16, t=30.0, nodes=8, tolerance=1e-3)
    measured = EXPERIMENT.compute(cell(inflated, (0, 1, 2, 3), "figure1"))
    grown, predicted, first = (measured.inflation - 1).mean("figure1").values
    assert grown > 0.05
    assert abs(predicted - grown) < 0.5 * abs(first - grown)


TINY = (
    "widths=[8,16]",
    "seeds=[6,5]",
    "nonlinearities=[erf,softplus]",
    "setting.t=3",
    "setting.n_samples=3",
    "pairs.widths=[8]",
    "pairs.seeds=5",
    "check={widths: [8], seeds: 2, tolerance: 1e-3}",
    "curve={width: 8, intervals: 4}",
    "kinked={widths: [8,16], seeds: 5, tolerance: 1e-2}",
    "figure1={widths: [8], seeds: [5], n_samples: 4, t: 3, tolerance: 0.1}",
    "bias={widths: [4,8], blocks: 5, networks: 100, nonlinearities: [erf,relu]}",
)


def test_assembled_data_have_every_network_once_and_are_drawn():
    _, config = compose.typed(compose.preset("ci/drift", *TINY))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in EXPERIMENT.cells(config)])
    names = set(zip(dataset.nonlinearity.values, dataset.width.values, dataset.seed.values, strict=True))
    assert names == {(s, n, k) for s in ("erf", "softplus") for n, count in ((8, 6), (16, 5)) for k in range(count)}
    sizes = {"network": 22, "pair": 10, "check": 2, "curve": 1, "kinked": 10, "figure1": 5, "block": 20, "derived": 2}
    assert {kind: dataset.sizes[kind] for kind in sizes} == sizes
    assert len(list(EXPERIMENT.metrics(dataset))) == 2
    assert list(plots.figures(dataset)) == ["drift", "drift_circle", "drift_mean", "drift_relu", "initial_bias"]
    assert len(decide(EXPERIMENT.claims, dataset)) == len(CLAIM)


def test_only_asked_kinds_are_computed_and_drawn():
    _, config = compose.typed(compose.preset("wide/drift", "widths=[8,16]", "seeds=[5,5]", "setting.t=3"))
    cells = EXPERIMENT.cells(config)
    assert {cell.kind for cell in cells} == {"network"}
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(cell) for cell in cells]).assign_attrs(claims=config.claims)
    assert list(plots.figures(dataset)) == ["drift"]
    assert all(outcome.verdict != "holds" for outcome in decide(EXPERIMENT.claims, dataset))


def test_another_draw_has_other_points_networks_and_blocks():
    sample = bias.Sample(width=4, networks=100, nonlinearity="erf", beta=0.1)
    for setting, kind, name in ((trained(8), "network", "drift"), (sample, "block", "bias")):
        first, second = (EXPERIMENT.compute(replace(cell(setting, kind=kind), draw=draw))[name] for draw in (0, 1))
        assert (first.values != second.values).all()
    angles = [measure.points(replace(cell(trained()), draw=draw), 3) for draw in (0, 1)]
    assert not torch.equal(*angles)


def test_a_network_that_picard_cannot_train_is_named():
    far = replace(trained(4), training=replace(TRAINING, t=1e5))
    with pytest.raises(DivergenceError, match="seed0"):
        EXPERIMENT.compute(cell(far))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("setting.n_samples=1", "setting.n_samples=1"),
        ("setting.t=0", "setting.t=0"),
        ("setting.nodes=3", "setting.nodes=3"),
        ("nonlinearities=[tanh]", "nonlinearities"),
        ("network.depth=4", "network.depth=4"),
        ("network.dtype=float32", "network.dtype=float32"),
        ("seeds=[3]", "seeds"),
        ("pairs.widths=[2000]", "pairs.widths"),
        ("kinked.scale=0", "kinked.scale"),
        ("check.tolerance=0", "check.tolerance"),
        ("curve.intervals=5", "curve.intervals=5"),
        ("figure1.seeds=[1,2,3]", "figure1.seeds"),
        ("bias.widths=[16]", "bias.widths"),
        ("bias.networks=10", "bias.networks=10"),
    ],
)
def test_bad_settings_are_refused(override, message):
    with pytest.raises(compose.UserError, match=message):
        compose.typed(compose.preset("ci/drift", override))
