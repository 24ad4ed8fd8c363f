"""Every store keeps the contract."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED

import fsspec
import pytest

from gpuzarr.errors import ShortReadError
from gpuzarr.storage import (
    CountingStore,
    FsspecStore,
    LocalStore,
    LoggingStore,
    ManagedMemoryStore,
    MappingStore,
    MemoryStore,
    Store,
    WrapperStore,
    ZarrPythonStore,
    ZipStore,
)
from tests.contracts.store_contract import StoreContract


class TestLocal(StoreContract):
    @pytest.fixture(params=["rename", "fsync"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "new" / "root", durability=request.param)


class TestMemory(StoreContract):
    shares_after_pickle = False

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestManagedMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return ManagedMemoryStore(uuid4().hex)


class TestMapping(StoreContract):
    shares_after_pickle = False

    @pytest.fixture
    def store(self) -> Store:
        return MappingStore({})


class TestZip(StoreContract):
    shares_after_pickle = None

    @pytest.fixture(params=["stored", "deflated", "file", "append"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        methods = {"deflated": ZIP_DEFLATED}
        path = tmp_path / "new" / "data.zip"
        if request.param == "append":
            ZipStore(path, mode="w").close()
        where: Any = io.BytesIO() if request.param == "file" else path
        mode: Any = "a" if request.param == "append" else "w"
        with ZipStore(where, mode=mode, compression=methods.get(request.param, 0)) as store:
            yield store
            before = {key: bytes(store.get(key)) for key in store.list()}
        with ZipStore(where) as finished:
            assert {key: bytes(finished.get(key) or b"") for key in finished.list()} == before


class TestFsspecMemory(StoreContract):
    versions = False

    @pytest.fixture
    def store(self) -> Store:
        return FsspecStore.from_url(f"memory://{uuid4().hex}")


class TestFsspecLocal(StoreContract):
    versions = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FsspecStore(fsspec.filesystem("file"), path=str(tmp_path / "root"))


class TestWrapper(StoreContract):
    @pytest.fixture(params=[WrapperStore, LoggingStore, CountingStore])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
        return request.param(LocalStore(tmp_path / "root"))  # type: ignore[no-any-return]


class TestZarrPythonMemory(StoreContract):
    versions = False
    shares_after_pickle = False

    @pytest.fixture
    def store(self) -> Store:
        return ZarrPythonStore(pytest.importorskip("zarr").storage.MemoryStore())


class TestZarrPythonLocal(StoreContract):
    versions = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return ZarrPythonStore(pytest.importorskip("zarr").storage.LocalStore(tmp_path / "root"))


def test_a_part_that_was_not_read_does_not_count_though_the_object_has_it_a_moment_later() -> None:
    """As while a writer that does not replace objects whole is at it: the out holds what it held before."""

    class Growing(MemoryStore):
        def size(self, key: str) -> int | None:
            self.set(key, b"abcdefgh")
            return super().size(key)

    with pytest.raises(ShortReadError):
        Growing({"k": b"abc"}).read_parts(["k"], [4], [bytearray(4)])
