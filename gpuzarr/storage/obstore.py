"""ObjectStore: a store of obstore (https://developmentseed.org/obstore). What it does stands in `remote`."""

from __future__ import annotations

import builtins
from collections.abc import Hashable, Iterator
from typing import Any

from gpuzarr.errors import StoreError, StoreReadError
from gpuzarr.storage.clients.contract import Client
from gpuzarr.storage.keys import is_key, validate_key, validate_prefix
from gpuzarr.storage.remote import RemoteStore

_METHODS = ("get_async", "put_async", "delete_async", "head_async", "list", "list_with_delimiter_async")


def is_obstore(value: Any) -> bool:
    """Whether `value` has the methods of an obstore store."""
    return all(callable(getattr(value, name, None)) for name in _METHODS)


class ObjectStore(RemoteStore):
    """Objects of the obstore store `store`, below its prefix; the other arguments are RemoteStore's."""

    def __init__(
        self,
        store: Any,
        *,
        read_only: bool = False,
        timeout: float | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
    ) -> None:
        super().__init__(read_only=read_only, timeout=timeout, retries=retries, concurrency=concurrency)
        self.store = store

    def connect(self) -> Client:
        from gpuzarr.storage.clients.obstore import ObstoreClient

        return ObstoreClient(self.store)

    def __str__(self) -> str:
        # Its own text may tell how it signs.
        name = type(self.store).__name__
        config, prefix = getattr(self.store, "config", {}), getattr(self.store, "prefix", None)
        place = config.get("bucket") or config.get("container_name") or ""
        return f"obstore://{name}/{place}{'/' if place and prefix else ''}{prefix or ''}"

    def __repr__(self) -> str:
        return f"ObjectStore({str(self)!r})"

    def _identity(self) -> Hashable:
        if hasattr(self.store, "config"):  # else it holds what is in it
            return (ObjectStore, str(self), repr(sorted(map(str, self.store.config.items()))))
        return (ObjectStore, id(self.store))

    @property
    def shares_after_pickle(self) -> bool:  # type: ignore[override]
        """False for obstore's MemoryStore, which holds what is in it."""
        return type(self.store).__name__ != "MemoryStore"

    def _named_by(self) -> tuple[object, ...]:
        if not self.shares_after_pickle:
            return super()._named_by()
        return (type(self.store).__name__, self.store.__getnewargs_ex__())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStore) and bool(self.store == other.store)

    def __hash__(self) -> int:
        return hash(self._identity())

    def with_read_only(self, read_only: bool = True) -> ObjectStore:
        return type(self)(
            self.store,
            read_only=read_only,
            timeout=self.patience.timeout,
            retries=self.patience.retries,
            concurrency=self.concurrency,
        )

    def _at(self, key: str) -> str:
        return validate_key(key)

    # ---- listing

    def list(self, prefix: str = "") -> Iterator[str]:
        for key, _ in self.list_sizes(prefix):
            yield key

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        prefix = validate_prefix(prefix)

        async def collect() -> builtins.list[dict[str, Any]]:
            return [meta async for batch in self.store.list(prefix or None) for meta in batch]

        for meta in self._list(prefix, collect):
            key = meta["path"]
            if is_key(key) and (not prefix or key.startswith(f"{prefix}/")):
                yield key, int(meta["size"])

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)

        async def collect() -> Any:
            return await self.store.list_with_delimiter_async(prefix or None)

        found = self._list(prefix, collect)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        start = len(prefix) + 1 if prefix else 0
        yield from sorted({path[start:].rstrip("/") for path in paths if is_key(path.rstrip("/"))} - {""})

    def _list(self, prefix: str, collect: Any) -> Any:
        try:
            return self._run(collect)[0]
        except StoreError:
            raise
        except Exception as error:
            raise StoreReadError(f"cannot list {prefix!r} in {self}: {error!r}") from error
