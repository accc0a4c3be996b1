"""The store reads nothing that was damaged: it says so, sets it aside and asks for it again."""

import errno
import logging
import os
from pathlib import Path

import pytest
from store_fixtures import Cell, assert_same, dataset

from replication.study.store import CorruptFileError, Store, read_dataset, write_dataset


class TestCorruption:
    @pytest.mark.parametrize("position", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
    def test_one_flipped_bit(self, store: Store, caplog: pytest.LogCaptureFixture, position: float) -> None:
        path = store.save(Cell(), dataset(points=300), {})
        content = bytearray(path.read_bytes())
        content[round(position * (len(content) - 1))] ^= 4
        path.write_bytes(content)
        self.check_set_aside(store, path, caplog)

    @pytest.mark.parametrize("length", [0, 1, 72, 73, 1000, -1, -73])
    def test_truncation(self, store: Store, caplog: pytest.LogCaptureFixture, length: int) -> None:
        path = store.save(Cell(), dataset(points=300), {})
        path.write_bytes(path.read_bytes()[:length])
        self.check_set_aside(store, path, caplog)

    def check_set_aside(self, store: Store, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        corrupt = path.read_bytes()
        with pytest.raises(CorruptFileError, match="digest"):
            read_dataset(path)
        with caplog.at_level(logging.WARNING, logger="replication"):
            assert store.load(Cell()) is None
        (message,) = caplog.messages
        assert str(path) in message
        assert "\n" not in message
        assert path.with_name(path.name + ".corrupt-1").read_bytes() == corrupt
        assert store.missing([Cell()]) == [Cell()]
        store.save(Cell(), dataset(), {})
        assert_same(store.load(Cell()), dataset())

    def test_missing_reports_it_and_evidence_is_kept(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        for n in (1, 2):
            path = store.save(Cell(), dataset(), {})
            path.write_bytes(b"not netCDF")
            assert store.missing([Cell()]) == [Cell()]
            assert path.with_name(f"{path.name}.corrupt-{n}").exists()
        assert len(caplog.messages) == 2

    def test_a_sound_file_that_came_meanwhile_is_kept(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        path = store.save(Cell(), dataset(), {})
        sound = path.read_bytes()
        path.write_bytes(b"corrupt")
        rename = Path.rename

        def replaced_before_the_rename(self: Path, target: Path) -> Path:
            path.write_bytes(sound)
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", replaced_before_the_rename)
        assert_same(store.load(Cell()), dataset())
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("kind", ["folder", "pipe", "loop of links", "link to nothing"])
    def test_what_is_no_file_is_set_aside(self, store: Store, caplog: pytest.LogCaptureFixture, kind: str) -> None:
        path = store.path(Cell())
        path.parent.mkdir(parents=True)
        make = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop of links": lambda: path.symlink_to(path)}
        make.get(kind, lambda: path.symlink_to(path.with_name("nothing")))()
        assert store.missing([Cell()]) == [Cell()]
        assert len(caplog.messages) == (kind in ("folder", "pipe"))
        store.save(Cell(), dataset(), {})
        assert_same(store.load(Cell()), dataset())

    def test_an_unreadable_disk_is_not_corruption(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        path = store.save(Cell(), dataset(), {})

        def unreadable(self: Path) -> bytes:
            raise OSError(errno.EIO, "Input/output error", str(self))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", unreadable)
            with pytest.raises(OSError, match="Input/output"):
                store.missing([Cell()])
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    def test_a_cell_under_the_name_of_another_is_set_aside(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        source, target = store.save(Cell(), dataset(), {}), store.path(Cell(beta=0.2))
        target.write_bytes(source.read_bytes())
        assert store.load(Cell(beta=0.2)) is None
        assert caplog.messages == [f"{target} holds another cell; set aside as {target.name}.corrupt-1"]
        assert store.missing([Cell(), Cell(beta=0.2)]) == [Cell(beta=0.2)]
        assert_same(store.load(Cell()), dataset())

    @pytest.mark.parametrize("lost", ["variables", "provenance", "cell"])
    def test_a_cell_without_a_part_is_set_aside(
        self, store: Store, caplog: pytest.LogCaptureFixture, lost: str
    ) -> None:
        path = store.save(Cell(), dataset(), {})
        data = read_dataset(path)
        if lost == "variables":
            data = data.drop_vars(list(data.data_vars))
        else:
            del data.attrs[lost]
        write_dataset(path, data)
        assert store.missing([Cell()]) == [Cell()]
        assert len(caplog.messages) == 1
