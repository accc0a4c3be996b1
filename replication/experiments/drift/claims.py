"""The claims on the drift of the NTK, their criteria and their negative controls."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, geometric, interval, mean, rate, ratio, undecided
from .bias_claim import INITIAL_BIAS

ORDER, UNCHANGED = (-1.25, -0.75), (-0.35, 0.35)
"""Exponents in n of the part not predicted, relative to the drift: for an error of the next order, and of the same."""
ACCURACY = {1000: 1e-2, 10_000: 1e-3}
"""Width → the largest allowed part of the drift that is not predicted."""
FALLEN = math.exp(-3)
"""Training counts as late if C(t)/C(0) is below this."""
SOLVERS = {"coarse": 1e-4, "solver": 5e-4}
"""Allowed distance of the reference, relative to the drift, from itself with two fewer nodes, and from the solver."""
WIDE = 2e-4
"""The largest allowed part of the drift that is not predicted, at the largest width of drift.wide."""
PARTIAL = {"without_k3": "without K₃", "without_k4": "without K₄", "first": "along θ₁ alone"}


def remains(dataset: xr.Dataset, sigma: str, prediction: str = "second") -> list[np.ndarray]:
    """The part of the drift that is not predicted, relative to the drift, for each width: (seeds,) each."""
    groups = [select(dataset, nonlinearity=sigma, width=width) for width in dataset.attrs["widths"]]
    return [networks.left.sel(prediction=prediction).values for networks in groups]


def _check_order(dataset: xr.Dataset) -> list[Statistic]:
    widths, sigmas = dataset.attrs["widths"], dataset.attrs["nonlinearities"]
    statistics = [
        rate(f"left ÷ drift ({sigma})", geometric, widths, remains(dataset, sigma), ORDER) for sigma in sigmas
    ]
    for name, words in PARTIAL.items():
        each = [remains(dataset, sigma, name) for sigma in sigmas]
        groups = [np.concatenate(group) for group in zip(*each, strict=True)]
        statistics.append(rate(f"left ÷ drift {words}", geometric, widths, groups, UNCHANGED))
    return statistics


def _instead(dataset: xr.Dataset, name: str, of: Sequence[str] = ("second",)) -> xr.Dataset:
    """Replace the errors of other predictions by those of one prediction."""
    values = dataset.left.copy(deep=True)
    for other in of:
        values.loc[{"prediction": other}] = dataset.left.sel(prediction=name)
    return dataset.assign(left=values)


_WITHOUT = tuple(
    Control(f"the prediction {words}", lambda data, name=name: _instead(data, name))  # type: ignore[misc]
    for name, words in PARTIAL.items()
)
_ALL_TERMS = Control("all terms where one should be missing", lambda data: _instead(data, "second", tuple(PARTIAL)))


def _size(name: str, values: np.ndarray, allowed: tuple[float, float]) -> Statistic:
    """The geometric mean of values over networks, with its interval."""
    return ratio(name, [values], lambda groups: math.log(geometric(groups[0])), allowed)


def _check_accuracy(dataset: xr.Dataset) -> list[Statistic]:
    widths, statistics = dataset.attrs["widths"], []
    for sigma in dataset.attrs["nonlinearities"]:
        for width, values in zip(widths, remains(dataset, sigma), strict=True):
            if width in ACCURACY:
                name = f"left ÷ drift ({sigma}, n={width})"
                statistics.append(_size(name, values, (-math.inf, ACCURACY[width])))
                costs = select(dataset, nonlinearity=sigma, width=width).cost.values
                statistics.append(_size(f"C(t)/C(0) ({sigma}, n={width})", costs, (-math.inf, FALLEN)))
    for width in dataset.attrs["check"]:
        networks = select(dataset, "check", check_width=width)
        for name, words in (("coarse", "that with two nodes less"), ("solver", "the adaptive solver")):
            statistics.append(
                _size(f"flow less {words} (n={width})", networks[name].values, (-math.inf, SOLVERS[name]))
            )
    return statistics or [undecided("left ÷ drift", (0.0, 1.0))]


def _predicted_for_reference(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(coarse=dataset.second, solver=dataset.second) if dataset.attrs["check"] else dataset


def diagonals(dataset: xr.Dataset, sigma: str, width: int) -> xr.DataArray:
    """n × the mean of the diagonal, for each pair of networks and each term of the drift: (pairs, term)."""
    terms: xr.DataArray = select(dataset, "pair", pair_nonlinearity=sigma, pair_width=width).diagonal
    return terms


MEAN = {"erf": (-0.9, 0.9), "tanh": (-0.9, 0.9), "softplus": (1.5, math.inf)}
"""Allowed n × mean drift of the diagonal."""
SHARES = {"linear": (-math.inf, -0.4), "quartic": (0.6, math.inf)}
"""n × the contributions of K₃ and K₄ to the mean drift."""
MISSED = 0.1
"""n × the allowed error of the predicted mean drift."""


def _check_mean(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for sigma in dataset.attrs["nonlinearities"] if dataset.attrs["pairs"] else ():
        width = dataset.attrs["pairs"][-1]
        terms = diagonals(dataset, sigma, width)
        flow, second, linear, quadratic, bent = (terms.sel(term=name).values for name in terms.term.values)
        of = f"({sigma}, n={width})"
        if sigma in MEAN:
            statistics.append(mean(f"n × mean drift {of}", flow, MEAN[sigma]))
        statistics += [
            mean(f"n × mean drift less predicted {of}", flow - second, (-MISSED, MISSED)),
            mean(f"n × what K₃ contributes {of}", linear, SHARES["linear"]),
            mean(f"n × what K₄ contributes {of}", quadratic + bent, SHARES["quartic"]),
        ]
    return statistics or [undecided("n × mean drift", (0.0, 0.0))]


def _without_term(dataset: xr.Dataset, changed: Sequence[str], *names: str) -> xr.Dataset:
    """Set terms to 0. ``changed``: the quantities that also lose them, the measured drift or the predicted one."""
    if not dataset.attrs["pairs"]:
        return dataset
    terms = dataset.diagonal.copy(deep=True)
    for name in names:
        lost = dataset.diagonal.sel(term=name)
        terms.loc[{"term": name}] = 0 * lost
        for total in changed:
            terms.loc[{"term": total}] = terms.sel(term=total) - lost
    return dataset.assign(diagonal=terms)


def _inflating(dataset: xr.Dataset) -> xr.Dataset:
    """A drift that inflates every kernel by the contribution of K₄, as if K₃ and f_0 were uncorrelated."""
    if not dataset.attrs["pairs"]:
        return dataset
    terms = dataset.diagonal.copy(deep=True)
    terms.loc[{"term": "flow"}] = terms.sel(term="flow") - terms.sel(term="linear") + 1.0
    return dataset.assign(diagonal=terms)


INFLATION, NOT_PREDICTED = 0.25, (0.1, 0.5)
"""Allowed relative error of the predicted mean inflation of Figure 1; allowed range of the error of the matrix."""


def inflations(dataset: xr.Dataset, width: int, origin: str) -> np.ndarray:
    """Growth of the diagonal in training, minus 1, of the networks of Figure 1: (seeds,)."""
    networks = select(dataset, "figure1", figure1_width=width)
    values: np.ndarray = networks.inflation.sel(origin=origin).values - 1
    return values


def _check_figure1(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for width in dataset.attrs["figure1"]:
        both = np.stack([inflations(dataset, width, origin) for origin in ("second", "trained")], axis=1)
        error = interval([both], lambda groups: float(groups[0][:, 0].mean() / groups[0][:, 1].mean()) - 1)
        name = f"predicted ÷ measured inflation − 1 (n={width})"
        statistics.append(Statistic(name, *error, (-INFLATION, INFLATION)))
    for width in dataset.attrs["figure1"][:1]:
        values = select(dataset, "figure1", figure1_width=width).matrix_left.values
        statistics.append(_size(f"left of the matrix ÷ drift (n={width})", values, NOT_PREDICTED))
    return statistics or [undecided("predicted ÷ measured inflation − 1", (-INFLATION, INFLATION))]


def _along_theta_1(dataset: xr.Dataset) -> xr.Dataset:
    if not dataset.attrs["figure1"]:
        return dataset
    values = dataset.inflation.copy(deep=True)
    values.loc[{"origin": "second"}] = dataset.inflation.sel(origin="first")
    return dataset.assign(inflation=values, matrix_left=1 + 0 * dataset.matrix_left)


def kinked(dataset: xr.Dataset, formula: str) -> list[np.ndarray]:
    """The part of the drift that a formula does not predict, relative to it, for ReLU at each width: (seeds,) each."""
    groups = [select(dataset, "kinked", kinked_width=width) for width in dataset.attrs["kinked"]]
    return [networks.kinked_left.sel(formula=formula).values for networks in groups]


def _check_relu(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["kinked"]
    if not widths:
        return [undecided("left ÷ drift almost everywhere", (0.0, 0.0))]
    return [
        rate("left ÷ drift almost everywhere", geometric, widths, kinked(dataset, "almost_everywhere"), (-0.2, 0.5)),
        _size(f"left ÷ drift almost everywhere (n={widths[-1]})", kinked(dataset, "almost_everywhere")[-1], (0.4, 2.0)),
        _size(f"left ÷ drift by P (n={widths[-1]})", kinked(dataset, "second")[-1], (0.05, 0.7)),
    ]


def _smooth(dataset: xr.Dataset) -> xr.Dataset:
    """Replace the ReLU networks of each width by as many networks of the first smooth σ."""
    if not dataset.attrs["kinked"]:
        return dataset
    values = dataset.kinked_left.copy(deep=True)
    for width in dataset.attrs["kinked"]:
        (where,) = np.nonzero(dataset.kinked_width.values == width)
        networks = select(dataset, nonlinearity=dataset.attrs["nonlinearities"][0], width=width)
        smooth = networks.left.sel(prediction="second").values
        values[where] = np.resize(smooth, len(where))[:, None] if len(smooth) else math.nan
    return dataset.assign(kinked_left=values)


def _check_wide(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["widths"][-1]
    return [
        _size(f"left ÷ drift ({sigma}, n={width})", remains(dataset, sigma)[-1], (-math.inf, WIDE))
        for sigma in dataset.attrs["nonlinearities"]
    ]


CLAIMS = (
    Claim(
        id="drift.order",
        place="Theorem 2",
        statement="With a smooth σ the drift Θ_t − Θ_0 of a network is of order 1/n. It is predicted to this order "
        "without training the network and without a fitted constant, and each of the three terms of the prediction is "
        "needed.",
        paper="the drift vanishes; its leading order is not discussed",
        measure="the part of the drift that the second Picard iterate does not predict, over the drift (geometric "
        "mean over networks): its exponent in n for each σ. Over all σ, the same without the contribution of K₃, "
        "without that of K₄, and along θ₁ alone",
        figure="drift",
        check=_check_order,
        controls=(*_WITHOUT, _ALL_TERMS),
        note="beyond the paper",
    ),
    Claim(
        id="drift.accuracy",
        place="Theorem 2",
        statement="The prediction is still accurate late in training: the error is a percent of the drift at n = "
        "1000, and a thousandth at n = 10000.",
        paper="not discussed",
        measure="the part that is not predicted ÷ drift (geometric mean over networks) at two widths, and C(t)/C(0) "
        "there, for each σ. For the first σ, the distance of the reference flow from the same flow with two fewer "
        "nodes in time, and from the adaptive solver, ÷ drift",
        figure="drift",
        check=_check_accuracy,
        controls=(
            _WITHOUT[2],
            Control("training that has not begun", lambda data: data.assign(cost=1 + 0 * data.cost)),
            Control("the prediction in the place of both references", _predicted_for_reference),
        ),
        note="beyond the paper",
    ),
    Claim(
        id="drift.mean",
        place="Theorem 2; §6.1",
        statement="The mean drift of the diagonal is predicted, too. K₃, which is correlated with f_0, makes it "
        "smaller, and K₄ makes it larger. For softplus the mean kernel grows; for erf and tanh the two contributions "
        "largely cancel.",
        paper="the kernel inflates (ReLU, §6.1)",
        measure="over pairs of networks with opposite f_0, n times the mean over the diagonal: of the drift, of the "
        "drift minus its prediction, and of the contributions of K₃ and K₄, for each σ",
        figure="drift_mean",
        check=_check_mean,
        controls=(
            Control(
                "a prediction in which K₃ does not know f_0", lambda data: _without_term(data, ["second"], "linear")
            ),
            Control(
                "networks with K₃ alone", lambda data: _without_term(data, ["flow", "second"], "quadratic", "bent")
            ),
            Control("every kernel inflates", _inflating),
        ),
        note="beyond the paper",
    ),
    Claim(
        id="drift.figure1",
        place="§6.1, Figure 1",
        statement="The mean inflation of the ReLU networks of Figure 1 is predicted without training, but much of the "
        "change of the matrix is not.",
        paper="the kernel inflates (no number)",
        measure="predicted over measured mean inflation of the diagonal, minus 1, at each width; the part of the "
        "matrix that is not predicted ÷ drift at the narrowest width (geometric mean over networks)",
        figure="drift_relu",
        check=_check_figure1,
        controls=(Control("along θ₁ alone", _along_theta_1),),
        note="beyond the paper; the prediction is derived for a smooth σ",
    ),
    Claim(
        id="drift.relu",
        place="Theorem 2; footnote 1",
        statement="For ReLU the prediction by derivatives almost everywhere does not improve with the width: it "
        "ignores neurons that switch, of which there are order √n (theorem2.switches). The Picard iterate captures "
        "most of the drift.",
        paper="the theorem requires a bounded second derivative",
        measure="the exponent in n of the part that the derivatives do not predict ÷ drift (geometric mean over "
        "networks), and the part that each of the two does not predict at the largest width",
        figure="drift_relu",
        check=_check_relu,
        controls=(Control("networks of a smooth σ", _smooth),),
        note="beyond the paper",
    ),
    Claim(
        id="drift.wide",
        place="Theorem 2",
        statement="At n = 100000 hardly any of the drift is left unpredicted.",
        paper="not discussed",
        measure="the part that is not predicted ÷ drift (geometric mean over networks) at the largest width",
        figure="drift",
        check=_check_wide,
        controls=_WITHOUT,
        note="beyond the paper",
    ),
    INITIAL_BIAS,
)
