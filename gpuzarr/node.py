"""What an array and a group have in common: a place in a store."""

from __future__ import annotations

from typing import Any, Self

from gpuzarr.extras import load
from gpuzarr.storage.contract import Span, Store
from gpuzarr.storage.resolve import StorePath


class StoredNode:
    """A node of a hierarchy: `path` in `store`, described by `metadata`. As a context manager it closes the store."""

    store: Store
    path: str
    metadata: Any

    @property
    def name(self) -> str:
        """Path with a leading slash."""
        return f"/{self.path}"

    @property
    def basename(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def store_path(self) -> StorePath:
        """The store and the path in it."""
        return StorePath(self.store, self.path)

    @property
    def read_only(self) -> bool:
        """Whether writing is refused."""
        return self.store.read_only

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.store.close()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, type(self))
            and self.store == other.store
            and self.path == other.path
            and self.metadata == other.metadata
        )

    __hash__ = None  # type: ignore[assignment]

    def __dask_tokenize__(self) -> object:
        """What tells this node from others, for dask: its place, its metadata, and the state of their document in the
        store, which an overwrite changes, and a write to chunks does not. One small request."""
        documents = self.metadata.documents()
        name = next(iter(documents))
        found = self.store.get_ranges(f"{self.path}/{name}" if self.path else name, [Span(0, 1)])
        version = None if found is None else found.version
        state = tuple(version) if isinstance(version, tuple) else version
        parts = (type(self).__qualname__, self.store, self.path, documents, state, *self._handle_token())
        return load("dask.base", "dask").normalize_token(parts)

    def _handle_token(self) -> tuple[object, ...]:
        """What of this handle changes what is read."""
        raise NotImplementedError
