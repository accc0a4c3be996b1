"""The negative controls of Figure 3's claims: datasets in which a claim must fail."""

import numpy as np
import xarray as xr

from ...study.experiment import select
from .statistics import drawn, predicted, trained, trend_widths


def narrow_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks in place of the networks of every width."""
    narrow = trained(dataset, min(dataset.attrs["widths"]))
    size = narrow.sizes["network"]
    widths = sorted({*dataset.attrs["widths"], *dataset.attrs["trend"]})
    parts = [narrow.assign(width=("network", [width] * size)) for width in widths]
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def narrow_as_trend(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks of the trend in place of the networks of each of its widths."""
    widths = trend_widths(dataset)
    narrow = trained(dataset, widths[0]) if widths else trained(dataset, dataset.attrs["widths"][0])
    size = narrow.sizes["network"]
    parts = [narrow.assign(width=("network", [width] * size)) for width in widths or dataset.attrs["widths"]]
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def twice(dataset: xr.Dataset) -> xr.Dataset:
    """The limit curve falls twice as fast."""
    return dataset.assign(eigenvalues_inf=2 * dataset.eigenvalues_inf)


def frozen(dataset: xr.Dataset) -> xr.Dataset:
    """λ₂(t) stays at λ₂(0)."""
    return dataset.assign(rate=dataset.rate[:, 0].broadcast_like(dataset.rate))


def lazy(dataset: xr.Dataset) -> xr.Dataset:
    """‖g‖ falls at the rate λ₂(0) of each network."""
    decay = np.exp(-dataset.rate_0.values[:, None] * dataset.t.values)
    return dataset.assign(g=(dataset.g.dims, dataset.g.values[:, :1] * decay))


def undone(dataset: xr.Dataset) -> xr.Dataset:
    """The cross term of a path on which h undoes inflation at every time."""
    return dataset.assign(cross=-(dataset.rate - dataset.rate[:, 0]) * dataset.g)


def exchanged(dataset: xr.Dataset) -> xr.Dataset:
    """The eigenvalues of the centred kernels in place of those of the plain kernels, and the reverse."""
    plain, centred = dataset.limit_eigenvalues, dataset.limit_eigenvalues_centred
    return dataset.assign(limit_eigenvalues=centred, limit_eigenvalues_centred=plain)


def same_beta(dataset: xr.Dataset) -> xr.Dataset:
    """The eigenvalues with the paper's β in place of the eigenvalues with the β of footnote 3."""
    return dataset.assign(limit_eigenvalues_beta=dataset.limit_eigenvalues)


def differences(dataset: xr.Dataset) -> xr.Dataset:
    """λ_1 − λ_2 in place of λ_1, and 1 in place of λ_2: the ratio is then the difference."""
    own, other = dataset.limit_eigenvalues, dataset.limit_eigenvalues_beta
    changed = {
        name: values.where(values.component > 2, 1.0).where(values.component > 1, values[..., 0] - values[..., 1])
        for name, values in (("limit_eigenvalues", own), ("limit_eigenvalues_beta", other))
    }
    return dataset.assign(changed)


def initial_bound(dataset: xr.Dataset) -> xr.Dataset:
    """The rates as multiples of the bound at t = 0, which ignores inflation."""
    if "rates_bound" not in dataset:
        return dataset
    names = ("rates_monotone", "rates_broken")
    scaled = {name: dataset[name] * dataset.rates_bound / dataset.rates_bound_0 for name in names}
    return dataset.assign(scaled | {"rates_bound": dataset.rates_bound_0})


def narrow_rates(dataset: xr.Dataset) -> xr.Dataset:
    """The largest rates of the narrowest networks at every width."""
    if "rates_bound" not in dataset:
        return dataset
    widths = dataset.attrs["rates"]
    narrow = select(dataset, kind="rates", rates_width=widths[0])
    parts = [narrow.assign(rates_width=("rates", [width] * narrow.sizes["rates"])) for width in widths]
    return xr.concat(parts, dim="rates", data_vars="minimal", coords="minimal", compat="override", join="override")


def narrow_as_widest(dataset: xr.Dataset) -> xr.Dataset:
    """The drawn networks of the narrowest width in place of the drawn networks that are wider than the trend."""
    narrowest, beyond = dataset.attrs["widths"][0], predicted(dataset)
    if not beyond:
        return dataset
    kept = dataset.isel(network=np.flatnonzero(~dataset.width.isin(beyond)))
    narrow = drawn(dataset, narrowest)
    parts = [kept, *(narrow.assign(width=("network", [width] * narrow.sizes["network"])) for width in beyond)]
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def fast_descent(dataset: xr.Dataset) -> xr.Dataset:
    """Gradient descent takes half the time."""
    return dataset.assign_coords(descent_t=2 * dataset.descent_t) if "descent_t" in dataset.coords else dataset
