"""What is below a group: found, opened and walked over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from gpuzarr.array import Array
from gpuzarr.devices import Device, chosen_device, get_device
from gpuzarr.errors import ArrayNotFoundError, ContainsArrayError, ContainsGroupError, GroupNotFoundError
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.node import StoredNode
from gpuzarr.nodes import below, descendants, describe, join, normalize_path, not_found, read_node
from gpuzarr.storage.contract import Store
from gpuzarr.tree import Tree, tree_text


class GroupMembers(StoredNode):
    """A group as a mapping to read: the arrays and groups below it, by name or by a path such as "a/b"."""

    metadata: GroupMetadata

    def __init__(self, store: Store, path: str, metadata: GroupMetadata, **handle: Any) -> None:
        self.store = store
        self.path = path
        self.metadata = metadata
        self._handle = {name: value for name, value in handle.items() if value is not None}
        device = self._handle.get("device") or chosen_device()
        if device is not None:
            self._handle["device"] = get_device(device)

    # ---- how members are opened

    @property
    def device(self) -> Device:
        """Where arrays below would be opened now."""
        return get_device(self._handle.get("device"))

    def to_device(self, device: str | Device) -> Self:
        """A handle on the same group whose arrays are on another device."""
        return type(self)(self.store, self.path, self.metadata, **{**self._handle, "device": device})

    @property
    def synchronizer(self) -> Any:
        """What keeps writers of one chunk apart, beside the store's own locks."""
        return self._handle.get("synchronizer")

    # ---- members

    def __getitem__(self, path: str) -> Array | Self:
        node = self._find(path)
        if node is None:
            raise KeyError(path)
        return self._open(path, node)

    def _find(self, path: str) -> Node | None:
        path = normalize_path(path)
        if not path:
            return self.metadata
        if self.metadata.consolidated is None:
            return read_node(self.store, join(self.path, path), self.metadata.zarr_format)
        return below(self.metadata, path) if path in self.metadata.consolidated else None

    def _open(self, path: str, node: Node) -> Array | Self:
        place = join(self.path, normalize_path(path))
        if isinstance(node, ArrayMetadata):
            return Array(self.store, place, node, **self._handle)
        return type(self)(self.store, place, node, **self._handle)

    def get(self, path: str, default: Any = None) -> Any:
        """A member, or `default` where there is none."""
        node = self._find(path)
        return default if node is None else self._open(path, node)

    def get_array(self, path: str) -> Array:
        """A member that is an array. ArrayNotFoundError, ContainsGroupError."""
        found = self.get(path)
        if isinstance(found, GroupMembers):
            raise ContainsGroupError(f"{describe(self.store, found.path)} is a group, not an array")
        if found is None:
            raise self._missing(path, ArrayNotFoundError)
        return found  # type: ignore[no-any-return]

    def get_group(self, path: str) -> Self:
        """A member that is a group. GroupNotFoundError, ContainsArrayError."""
        found = self.get(path)
        if isinstance(found, Array):
            raise ContainsArrayError(f"{describe(self.store, found.path)} is an array, not a group")
        if found is None:
            raise self._missing(path, GroupNotFoundError)
        return found  # type: ignore[no-any-return]

    def _missing(self, path: str, kind: type[ArrayNotFoundError | GroupNotFoundError]) -> Exception:
        if self.metadata.consolidated is not None:
            return kind(f"{path!r} is not in the consolidated metadata of {describe(self.store, self.path)}")
        name = "array" if kind is ArrayNotFoundError else "group"
        return not_found(self.store, join(self.path, normalize_path(path)), name, self.metadata.zarr_format)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._find(path) is not None

    def _descendants(self, max_depth: int | None, *, use_consolidated: bool = True) -> Iterator[tuple[str, Node]]:
        if max_depth is not None and max_depth < 0:
            raise ValueError(f"max_depth must be None or >= 0, got {max_depth}")
        return descendants(self.store, self.path, self.metadata, max_depth, use_consolidated=use_consolidated)

    def members(
        self, max_depth: int | None = 0, *, use_consolidated_for_children: bool = True
    ) -> tuple[tuple[str, Array | Self], ...]:
        """Relative path and node of every member, and `max_depth` levels below (None: all), by name."""
        found = self._descendants(max_depth, use_consolidated=use_consolidated_for_children)
        return tuple((path, self._open(path, node)) for path, node in found)

    def nmembers(self, max_depth: int | None = 0) -> int:
        """How many `members` there are."""
        return sum(1 for _ in self._descendants(max_depth))

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __len__(self) -> int:
        return self.nmembers()

    def keys(self) -> Iterator[str]:
        """Names of direct members."""
        return (name for name, _ in self._descendants(0))

    def values(self) -> Iterator[Array | Self]:
        """Direct members."""
        return (self._open(name, node) for name, node in self._descendants(0))

    def items(self) -> Iterator[tuple[str, Array | Self]]:
        """Names and direct members."""
        return ((name, self._open(name, node)) for name, node in self._descendants(0))

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Names and direct members that are arrays."""
        for name, member in self.items():
            if isinstance(member, Array):
                yield name, member

    def array_keys(self) -> Iterator[str]:
        """Names of arrays."""
        return (name for name, node in self._descendants(0) if isinstance(node, ArrayMetadata))

    def array_values(self) -> Iterator[Array]:
        """Direct members that are arrays."""
        return (array for _, array in self.arrays())

    def groups(self) -> Iterator[tuple[str, Self]]:
        """Names and direct members that are groups."""
        for name, member in self.items():
            if isinstance(member, GroupMembers):
                yield name, member

    def group_keys(self) -> Iterator[str]:
        """Names of groups."""
        return (name for name, node in self._descendants(0) if isinstance(node, GroupMetadata))

    def group_values(self) -> Iterator[Self]:
        """Direct members that are groups."""
        return (group for _, group in self.groups())

    def visititems(self, function: Callable[[str, Array | Self], Any]) -> Any:
        """Call `function(path, node)` for everything below, until one call returns something; that is returned."""
        for path, node in self._descendants(None):
            result = function(path, self._open(path, node))
            if result is not None:
                return result
        return None

    def visit(self, function: Callable[[str], Any]) -> Any:
        """`visititems` with the path only."""
        return self.visititems(lambda path, _: function(path))

    def visitvalues(self, function: Callable[[Array | Self], Any]) -> Any:
        """`visititems` with the node only."""
        return self.visititems(lambda _, node: function(node))

    def tree(
        self, expand: bool | None = None, level: int | None = None, *, max_nodes: int = 500, plain: bool = False
    ) -> Tree:
        """A drawing of what is below, `level` levels deep (None: all); prints as text."""
        nodes = (
            (path, "array", node.shape, node.dtype) if isinstance(node, ArrayMetadata) else (path, "group", None, None)
            for path, node in self._descendants(level)
        )
        return tree_text(nodes, name=self.name, level=level, expand=expand, max_nodes=max_nodes, plain=plain)  # type: ignore[arg-type]
