"""The negative controls of least squares: data on which a claim must fail."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from ...study.experiment import select


def with_reference(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Replace the closed form of Θ_∞ by that of another kernel."""

    def replaced(dataset: xr.Dataset) -> xr.Dataset:
        order = [name, *dataset.reference.values[1:]]
        return dataset.sel(reference=order).assign_coords(reference=dataset.reference.values)

    return replaced


def with_case(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Replace the limit f_∞ by another case."""
    return lambda dataset: dataset.sel(case=[name]).assign_coords(case=["limit"])


def as_variant(source: str, variant: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Use the networks of ``source`` as those of ``variant``, at every width of the latter."""

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
    """Replace each rate by the mean of the rates."""
    rates = dataset.rates.copy()
    rates[:] = rates.mean(dim="mode")
    return dataset.assign(rates=rates)


def shifted(dataset: xr.Dataset) -> xr.Dataset:
    """Use at each time the law of the previous time."""
    laws = dataset[["law_mean", "law_covariance"]].isel(time=[0, *range(dataset.sizes["time"] - 1)])
    return dataset.assign({name: (laws[name].dims, laws[name].values) for name in laws})


def narrow(dataset: xr.Dataset) -> xr.Dataset:
    """Use the narrow networks on the few points instead of the others."""
    variants = np.where(dataset.member_variant == "narrow", "gaussian", "wide")
    return dataset.assign(member_variant=("member", variants))


def white_target(dataset: xr.Dataset) -> xr.Dataset:
    """Replace the signal by white noise."""
    return dataset.assign(signal=dataset.white)


def smooth_noise(dataset: xr.Dataset) -> xr.Dataset:
    """Label noise of the same total energy, whose energy in a component is ∝ λ."""
    return dataset.assign(noise=dataset.noise * dataset.rate / dataset.rate.mean(dim=dataset.rate.dims[1]))


def slower(dataset: xr.Dataset) -> xr.Dataset:
    """Networks of width n train at a speed ∝ 1/n: at time t they are where they were at t·n_0/n, n_0 the narrowest."""
    times, narrowest = dataset.t.values, dataset.attrs["widths"][0]
    clocks = times * (narrowest / dataset.width.values[:, None])
    norms = [np.interp(clock, times, norm) for clock, norm in zip(clocks, dataset.norm.values, strict=True)]
    return dataset.assign(norm=(dataset.norm.dims, np.array(norms)))


def theta_spectrum(dataset: xr.Dataset) -> xr.Dataset:
    """Exchange the eigenvalues of Θ_∞ with those of Σ."""
    return dataset.isel(base=[1, 0]).assign_coords(base=dataset.base.values)


def modulated(dataset: xr.Dataset) -> xr.Dataset:
    """Replace the RBF kernel by its product with a wave."""
    order = ["modulated", "modulated", *dataset.family.values[2:]]
    return dataset.sel(family=order).assign_coords(family=dataset.family.values)
