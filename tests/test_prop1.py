"""Proposition 1 over widths: what is measured against its definition, and the checks on made-up networks."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from criteria_fixtures import assert_as_written, own_verdict
from scripts_fixtures import cell_of, script

from replication.experiments import prop1 as experiment
from replication.experiments.prop1 import claims
from replication.limit import sigma_inf
from replication.plots import prop1 as plots
from replication.randomness import generator
from replication.study.claims import decide
from replication.study.settings import WideNetworkConfig

compose = script("compose")
EXPERIMENT = experiment.EXPERIMENT
CLAIM = {claim.id.removeprefix("prop1."): claim for claim in EXPERIMENT.claims}
NETWORK = WideNetworkConfig(depth=3, nonlinearity="relu", beta=0.1, dtype="float64", weights="revealed", tolerance=0.0)


def cell(width=20, variant="main", seeds=(0, 1), network=NETWORK):
    setting = experiment.OutputsAtWidth(variant=variant, width=width, network=network, n_samples=3)
    return cell_of(EXPERIMENT, setting, seeds)


SIGMA = np.array([[1.0, 0.8], [0.8, 1.0]])


def made_up(
    exponent=-1.0, spread=1.0, coupled=0.0, dependent=1.0, size=1.0, tails=0.0, common=0.0, together=0.0, narrow=2000
) -> xr.Dataset:
    """Networks whose q is Σ times a number of mean 1 and variance spread · n^exponent; outputs are normal given q.

    Of so many narrow networks, coupled: how much the second output is the first; dependent: how much of q is in its
    size. Of wide ones, size: of f; tails, common: spread of a factor of each output, of one for both; together: their
    correlation.
    """
    rng = np.random.default_rng(0)
    parts, root = [], np.linalg.cholesky(SIGMA)

    def factor(shape, sd):
        return np.exp(sd * rng.standard_normal(shape) - sd**2)  # its square has mean 1

    def add(variant, width, seeds, variance):
        q = factor((seeds, 1), np.sqrt(np.log1p(variance)) / 2) ** 2
        z = rng.standard_normal((seeds, 2, 2)) @ root.T
        if variant == "main":
            z[:, 1] = together * z[:, 0] + np.sqrt(1 - together**2) * z[:, 1]
            z *= size * factor((seeds, 2, 1), tails) * factor((seeds, 1, 1), common)
        else:
            z[:, 1] += coupled * z[:, 0]
        f = z * np.sqrt(1 + dependent * (q[:, None] - 1))
        names = {"variant": variant, "L": 4, "width": width}
        parts.append(
            xr.Dataset(
                {"q": (("network", "entry"), q * SIGMA[np.triu_indices(2)]), "f": (("network", "output", "point"), f)}
                | {name: ("network", [value] * seeds) for name, value in names.items()}
            )
        )

    for width in (100, 3000, 100_000):
        add("main", width, 3000, spread * width**exponent)
    add("outputs", 8, narrow, 0.3)
    for width in (32, 250):
        add("shared", width, 2000, 1.0)
    networks = xr.concat(parts, dim="network")
    networks = networks.assign(sigma=(("depth", "entry"), [SIGMA[np.triu_indices(2)]]), diagonal=("entry", [1, 0, 1]))
    attrs = {"widths": [100, 3000, 100_000], "joint": [3000, 100_000], "outputs": [8], "shared": [32, 250]}
    return networks.assign_coords(depth=[4]).assign_attrs(attrs)


@pytest.fixture(scope="module")
def true() -> xr.Dataset:
    return made_up(narrow=80_000)


@pytest.mark.parametrize("name", CLAIM)
def test_claims_hold_where_they_should_and_reject_their_controls(name, true):
    (outcome,) = decide([CLAIM[name]], true)
    assert outcome.verdict == "holds", (outcome.statistics, outcome.objections)
    assert set(outcome.controls.values()) == {"fails"}
    assert_as_written(outcome)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("covariance", {"spread": 75}, {"spread": 110}),
        ("covariance", {"exponent": -0.93}, {"exponent": -0.87}),
        ("covariance", {"exponent": -1.07}, {"exponent": -1.13}),
        ("gaussian", {"exponent": -0.93}, {"exponent": -0.87}),
        ("gaussian", {"exponent": -1.07}, {"exponent": -1.13}),
        ("joint", {"size": 1.02}, {"size": 1.09}),
        ("joint", {"size": 0.98}, {"size": 0.91}),
        ("joint", {"tails": 0.08}, {"tails": 0.22}),
        ("outputs", {"coupled": 0.02, "narrow": 40_000}, {"coupled": 0.1, "narrow": 20_000}),
        ("outputs", {"coupled": -0.02, "narrow": 40_000}, {"coupled": -0.1, "narrow": 20_000}),
        ("outputs", {"dependent": 0.95, "narrow": 40_000}, {"dependent": 0.3, "narrow": 20_000}),
        ("independence", {"together": 0.05}, {"together": 0.15}),
        ("independence", {"together": -0.05}, {"together": -0.15}),
        ("independence", {"common": 0.16}, {"common": 0.4}),
    ],
)
def test_claims_hold_inside_their_ranges_and_fail_outside(name, inside, outside):
    for data, verdict in ((inside, "holds"), (outside, "fails")):
        assert own_verdict(CLAIM[name], made_up(**data)) == verdict, data


def test_claims_on_wide_networks_are_undecided_without_them():
    for name in ("joint", "independence"):
        (outcome,) = decide([CLAIM[name]], made_up().assign_attrs(joint=[]))
        assert outcome.verdict == "undecided"
        assert outcome.objections


def test_products_are_those_of_the_outputs_with_the_inverse_of_sigma():
    dataset = made_up()
    f = dataset.f.values[3000:9000]
    expected = [
        np.einsum("si,ij,sj->s", f[:, k], np.linalg.inv(SIGMA), f[:, l]) / 2 for k, l in ((0, 0), (1, 1), (0, 1))
    ]
    np.testing.assert_allclose(claims.products(dataset, 4), np.stack(expected, axis=1))


def test_q_is_the_covariance_of_the_outputs_given_the_hidden_layers():
    one = cell(seeds=(0,))
    network = NETWORK.draw(2, 20, experiment.OUTPUTS, generator=one.stream("main", 3, 20, 0))
    x = experiment.points(one)
    q = EXPERIMENT.compute(one).q.values[0]
    rng, outputs = generator("redrawn"), []
    for _ in range(6000):
        network.weights[-1].values.normal_(generator=rng)
        network.biases[-1].normal_(generator=rng)
        outputs.append(network(x).numpy())
    f = np.array(outputs)  # (draws, points, outputs)
    expected = np.zeros((3, 3))
    expected[np.triu_indices(3)] = q
    expected = expected + np.triu(expected, 1).T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    for k in range(2):
        assert np.abs((f[:, :, k].T @ f[:, :, k] / 6000 - expected) / scale).max() < 5 * np.sqrt(2 / 6000)
    assert np.abs(f[:, :, 0].T @ f[:, :, 1] / 6000 / scale).max() < 5 / np.sqrt(6000)


def test_wide_networks_have_the_covariance_of_the_limit():
    wide = cell(20_000, seeds=(0, 1, 2))
    limit = cell_of(EXPERIMENT, experiment.Outputs(network=NETWORK, n_samples=3), kind="limit")
    sigma = EXPERIMENT.compute(limit).sigma[0]
    expected = sigma_inf(experiment.points(wide), depth=3, nonlinearity="relu", beta=0.1)
    np.testing.assert_array_equal(sigma, expected.numpy()[np.triu_indices(3)])
    assert np.abs(EXPERIMENT.compute(wide).q - sigma).max() < 0.1 * sigma.max()


def test_another_draw_has_other_points():
    limit = cell_of(EXPERIMENT, experiment.Outputs(network=NETWORK, n_samples=3), kind="limit")
    first, second = (EXPERIMENT.compute(dataclasses.replace(limit, draw=draw)).sigma for draw in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(("width", "variant"), [(20, "main"), (20, "shared"), (400, "main")])
def test_another_draw_has_other_networks(width, variant, monkeypatch):
    x = experiment.points(cell())
    monkeypatch.setattr(experiment, "points", lambda cell: x)
    first, second = (EXPERIMENT.compute(dataclasses.replace(cell(width, variant), draw=draw)).q for draw in (0, 1))
    assert (first != second).all()


def test_networks_are_the_same_alone_and_in_a_block():
    block = EXPERIMENT.compute(cell(seeds=(0, 1, 2)))
    alone = EXPERIMENT.compute(cell(seeds=(1,)))
    np.testing.assert_allclose(block.f[1], alone.f[0], rtol=1e-6)


def test_networks_with_a_shared_weight_keep_their_dependence():
    seeds = tuple(range(200))
    narrow, wide = (EXPERIMENT.compute(cell(n, "shared", seeds)).q.values for n in (30, 240))
    plain = EXPERIMENT.compute(cell(240, "main", seeds)).q.values
    assert claims.kurtosis(wide) > 0.5 * claims.kurtosis(narrow)
    assert claims.kurtosis(wide) > 5 * claims.kurtosis(plain)


def test_a_width_that_does_not_fit_is_refused():
    dense = dataclasses.replace(NETWORK, weights="dense")
    with pytest.raises(MemoryError, match="the largest width that fits is"):
        EXPERIMENT.compute(cell(10**8, network=dense))


def test_assembled_data_are_drawn():
    overrides = (
        "widths=[16,1200]",
        "seeds=[6,5]",
        "outputs={widths: [4], seeds: 7}",
        "shared={widths: [8,16], seeds: 5}",
    )
    _, config = compose.typed(compose.preset("ci/prop1", *overrides))
    dataset = EXPERIMENT.join(config, [EXPERIMENT.compute(c) for c in EXPERIMENT.cells(config)])
    assert dataset.sizes["network"] == 2 * (6 + 5 + 7 + 10)
    statistics = [statistic for outcome in decide(EXPERIMENT.claims, dataset) for statistic in outcome.statistics]
    assert np.isfinite([statistic.estimate for statistic in statistics]).all()
    (figure,) = plots.figures(dataset).values()
    assert len(figure.axes) == 4
    assert {n for n, _ in EXPERIMENT.metrics(dataset)} == {16.0, 1200.0}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.beta", "0"),
        ("outputs.widths", "[8,16]"),
        ("n_samples", "1"),
        ("depths", "[1]"),
        ("seeds", "[1]"),
        ("outputs.widths", "[500]"),
        ("shared.seeds", "0"),
        ("network.tolerance", "2"),
    ],
)
def test_bad_values_are_refused(key, value):
    with pytest.raises(compose.UserError, match=f"{key}="):
        compose.typed(compose.preset("ci/prop1", f"{key}={value}"))
