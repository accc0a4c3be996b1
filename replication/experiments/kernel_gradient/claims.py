"""The claims on kernel gradient descent (paper §3), their criteria and their negative controls."""

import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, exactly, geometric, rate
from .settings import COSTS

DIFFERENCE = 1e-6
"""Largest relative error of a central difference in time: ε² = 10⁻¹⁰ times the third derivative, and rounding/ε."""


def _rates(dataset: xr.Dataset, quantity: str) -> list[Statistic]:
    widths, chosen = dataset.attrs["widths"], dataset.sel(reference="limit")
    statistics = []
    for name in COSTS:
        groups = [select(chosen, cost=name, width=width)[quantity].values for width in widths]
        statistics.append(rate(f"distance ({name.replace('_', ' ')})", geometric, widths, groups, (-0.7, -0.3)))
    return statistics


def _check_dissipation(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for name in COSTS:
        errors = select(dataset, cost=name).dissipation.sel(kernel="own").values
        words = f"relative error ({name.replace('_', ' ')})"
        statistics.append(exactly(words, float(errors.max()), (0.0, DIFFERENCE), worst_of=len(errors)))
    return statistics


def _check_infimum(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for name, allowed in zip(COSTS, (1e-12, 1e-2), strict=True):
        value = float(dataset.remaining.sel(objective=name, kernel_rank="definite"))
        statistics.append(exactly(f"C(late)/C(0) ({name.replace('_', ' ')})", value, (0.0, allowed)))
    return statistics


def _check_stall(dataset: xr.Dataset) -> list[Statistic]:
    return [exactly("C(late) ÷ predicted", float(dataset.stall / dataset.stall_predicted), (1 - 1e-9, 1 + 1e-9))]


def _swapped(dataset: xr.Dataset, dimension: str, order: list[str]) -> xr.Dataset:
    """The numbers of other references or kernels in place of the true ones."""
    return dataset.sel({dimension: order}).assign_coords({dimension: dataset[dimension].values})


def _definite(dataset: xr.Dataset) -> xr.Dataset:
    """The late cost with Θ_∞ in place of the late cost with the linear kernel."""
    left = dataset.remaining.sel(objective="least_squares", drop=True)
    return dataset.assign(stall=dataset.stall * left.sel(kernel_rank="definite") / left.sel(kernel_rank="deficient"))


_OTHER = Control("the limit of depth L + 1", lambda data: _swapped(data, "reference", ["other", "other", "other"]))

CLAIMS = (
    Claim(
        id="kernel_gradient.dissipation",
        kind="identity",
        place="§3; §4",
        statement="The cost of a network falls at the rate ‖d‖²_Θ, where Θ is its own NTK at that time.",
        paper="∂_tC = −‖d‖²_K",
        measure="the chain rule, by a central difference of C: the largest |∂_tC + ‖d‖²_Θ| over ‖d‖²_Θ for all "
        "networks, at t = 0 and at the end of training",
        figure="kernel_gradient",
        check=_check_dissipation,
        controls=(Control("Θ_∞ in the place of Θ", lambda data: _swapped(data, "kernel", ["limit", "limit"])),),
    ),
    Claim(
        id="kernel_gradient.on_data",
        place="§3; §4",
        statement="On the data a wide network follows kernel gradient descent with the limiting NTK.",
        paper="in the limit (no rate)",
        measure="the exponent in n of the largest distance over time (geometric mean over networks), for both costs; "
        "n^{−1/2} is expected from the kernel at initialization",
        figure="kernel_gradient_widths",
        check=lambda data: _rates(data, "on_data"),
        controls=(_OTHER,),
    ),
    Claim(
        id="kernel_gradient.off_data",
        place="§3; §4",
        statement="Between the data a wide network follows the same kernel gradient, extended by the kernel.",
        paper="in the limit (no rate)",
        measure="as in kernel_gradient.on_data, but at points of the circle that are not data",
        figure="kernel_gradient_widths",
        check=lambda data: _rates(data, "off_data"),
        controls=(_OTHER,),
    ),
    Claim(
        id="kernel_gradient.infimum",
        kind="identity",
        place="§3",
        statement="With a positive definite kernel the cost tends to its infimum.",
        paper="as t → ∞",
        measure="for the flow in function space with Θ_∞, without networks: the cost after 30 times the slowest "
        "relaxation time, over the cost at the start. For least squares e^{−60} is expected; for cross-entropy, which "
        "has no minimizer, the cost falls like 1/t",
        figure="kernel_gradient",
        check=_check_infimum,
        controls=(
            Control("the linear kernel, of rank 3", lambda data: _swapped(data, "kernel_rank", ["deficient"] * 2)),
        ),
    ),
    Claim(
        id="kernel_gradient.stall",
        kind="identity",
        place="§3; §5",
        statement="With a kernel that is not positive definite the cost stalls at the part that lies in its null "
        "space.",
        paper="implied",
        measure="for the flow in function space with the linear kernel, without networks: the final cost of least "
        "squares, over half the squared residual of a linear regression",
        figure="kernel_gradient",
        check=_check_stall,
        controls=(Control("Θ_∞ in the place of the linear kernel", _definite),),
    ),
)
