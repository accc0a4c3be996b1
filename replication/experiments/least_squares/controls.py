"""The negative controls of the claims of least squares: datasets in which a claim must fail."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from ...study.experiment import select


def with_reference(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """The closed form of another kernel in place of that of Θ_∞."""

    def replaced(dataset: xr.Dataset) -> xr.Dataset:
        order = [name, *dataset.reference.values[1:]]
        return dataset.sel(reference=order).assign_coords(reference=dataset.reference.values)

    return replaced


def with_case(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Another case of f_∞ in place of the limit."""
    return lambda dataset: dataset.sel(case=[name]).assign_coords(case=["limit"])


def as_variant(source: str, variant: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """The networks of the variant ``source`` in place of those of ``variant``, at each width of the latter."""

    def replaced(dataset: xr.Dataset) -> xr.Dataset:
        networks, copies = select(dataset, variant=source), []
        for width in dataset.attrs["widths"]:
            own = select(dataset, variant=source, width=width)
            own = own if own.sizes["network"] else networks
            size = own.sizes["network"]
            copies.append(own.assign(variant=("network", [variant] * size), width=("network", [width] * size)))
        return xr.concat(
            copies, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override"
        )

    return replaced


def one_rate(dataset: xr.Dataset) -> xr.Dataset:
    """The mean of all rates in place of each rate."""
    rates = dataset.rates.copy()
    rates[:] = rates.mean(dim="mode")
    return dataset.assign(rates=rates)


def shifted(dataset: xr.Dataset) -> xr.Dataset:
    """At each time, the law of the previous time."""
    laws = dataset[["law_mean", "law_covariance"]].isel(time=[0, *range(dataset.sizes["time"] - 1)])
    return dataset.assign({name: (laws[name].dims, laws[name].values) for name in laws})


def narrow(dataset: xr.Dataset) -> xr.Dataset:
    """The narrow networks on the few points in place of the wide ones."""
    variants = np.where(dataset.member_variant == "narrow", "gaussian", "wide")
    return dataset.assign(member_variant=("member", variants))


def white_target(dataset: xr.Dataset) -> xr.Dataset:
    """White noise in place of the signal."""
    return dataset.assign(signal=dataset.white)


def smooth_noise(dataset: xr.Dataset) -> xr.Dataset:
    """Label noise with the same total energy, but ∝ λ in each component."""
    return dataset.assign(noise=dataset.noise * dataset.rate / dataset.rate.mean(dim=dataset.rate.dims[1]))


def slower(dataset: xr.Dataset) -> xr.Dataset:
    """Networks of width n train at a speed ∝ 1/n: f_t becomes f at the time t·n_0/n, with n_0 the smallest width."""
    times, narrowest = dataset.t.values, dataset.attrs["widths"][0]
    clocks = times * (narrowest / dataset.width.values[:, None])
    norms = [np.interp(clock, times, norm) for clock, norm in zip(clocks, dataset.norm.values, strict=True)]
    return dataset.assign(norm=(dataset.norm.dims, np.array(norms)))


def theta_spectrum(dataset: xr.Dataset) -> xr.Dataset:
    """The eigenvalues of Θ_∞ in place of those of Σ, and the reverse."""
    return dataset.isel(base=[1, 0]).assign_coords(base=dataset.base.values)


def modulated(dataset: xr.Dataset) -> xr.Dataset:
    """The RBF kernel times a wave in place of the RBF kernel."""
    order = ["modulated", "modulated", *dataset.family.values[2:]]
    return dataset.sel(family=order).assign_coords(family=dataset.family.values)
