"""Every error that gpuzarr raises on its own, in one tree.

GpuzarrError                                  whatever gpuzarr itself finds wrong
├── BaseZarrError (ValueError)                zarr-python's root, so that its `except` clauses keep working
│   ├── MetadataError                         a metadata document, or arguments that would make one, break the spec
│   │   ├── NodeTypeValidationError           an array where a group was wanted, or the reverse
│   │   ├── DataTypeValidationError           an unknown or impossible data type
│   │   ├── DimensionNamesError (KeyError)    an array does not say how its axes are called, and xarray must know
│   │   └── UnknownCodecError                 a codec that is not registered; names the package to install
│   ├── NodeNotFoundError (FileNotFoundError)
│   │   ├── ArrayNotFoundError
│   │   └── GroupNotFoundError
│   ├── ContainsNodeError (FileExistsError)   a node is in the way of the one to be made
│   │   ├── ContainsArrayError
│   │   ├── ContainsGroupError
│   │   └── ContainsArrayAndGroupError
│   ├── CorruptChunkError                     stored chunk bytes are not what the metadata say
│   │   ├── ChecksumError                     a stored checksum does not match
│   │   └── CorruptShardError                 a shard or its index is damaged
│   ├── ChunkNotFoundError                    a chunk is absent and the caller asked for that to be an error
│   ├── EncodeError                           the data cannot be written with this array's codecs
│   ├── PickleCodecDisabledError              pickle is never decoded
│   ├── ChunkAlignmentError                   blocks that would be written at once share a chunk or shard
│   ├── ConversionError                       something to be converted cannot be read, or has no form in Zarr
│   ├── LimitError                            a size in the store is beyond a limit that can be raised by an option
│   └── KeyValidationError                    a key that no store may hold ('..', absolute, NUL, ...)
├── SelectionError (IndexError)               an index that does not fit the array
│   ├── BoundsCheckError
│   ├── NegativeStepError
│   ├── ArrayIndexError
│   └── VindexInvalidSelectionError
├── StoreError (OSError)                      the store failed; the cause is chained
│   ├── StoreReadError
│   │   └── ShortReadError                    fewer bytes than asked for
│   ├── StoreWriteError
│   ├── ReadOnlyError (PermissionError, ValueError)  a write to something opened for reading
│   ├── ObjectChangedError                    an object was replaced between two reads that must agree
│   ├── ConflictError                         another writer was there first
│   └── LockTimeoutError (TimeoutError)
├── MissingPackageError (ImportError)         a package that is not installed; names the extra that brings it
├── DeviceError (TypeError, ValueError)       memory that an array's device cannot use: it is elsewhere, or read-only
└── GpuError (RuntimeError)                   the GPU, or what drives it, is absent or failed
    ├── GpuMemoryError (MemoryError)          the GPU has no room, even for one chunk
    ├── GpuContextLostError                   a fault on the GPU; this process cannot use it any more
    │   └── GpuTimeoutError (TimeoutError)    it did not do in time what was queued on it
    └── ForkError                             a GPU that the parent process used, in a forked child
"""

from __future__ import annotations


class GpuzarrError(Exception):
    """Root of the tree."""


class BaseZarrError(GpuzarrError, ValueError):
    """Root of the errors that zarr-python names too."""


class MetadataError(BaseZarrError):
    """A metadata document, or arguments that would make one, break the spec."""


class NodeTypeValidationError(MetadataError):
    """The document describes the other kind of node."""


class DataTypeValidationError(MetadataError):
    """An unknown or impossible data type."""


class DimensionNamesError(MetadataError, KeyError):
    """An array does not say how its axes are called; a KeyError too, as it is in xarray."""

    __str__ = Exception.__str__  # KeyError's is the repr of the message


class UnknownCodecError(MetadataError):
    """A codec that is not registered here."""


class NodeNotFoundError(BaseZarrError, FileNotFoundError):
    """Nothing that could be opened is at this path."""


class ArrayNotFoundError(NodeNotFoundError):
    """No array is at this path."""


class GroupNotFoundError(NodeNotFoundError):
    """No group is at this path."""


class ContainsNodeError(BaseZarrError, FileExistsError):
    """A node is in the way of the one to be made."""


class ContainsArrayError(ContainsNodeError):
    """An array is in the way."""


class ContainsGroupError(ContainsNodeError):
    """A group is in the way."""


class ContainsArrayAndGroupError(ContainsNodeError):
    """Both an array document and a group document are at one path."""


class CorruptChunkError(BaseZarrError):
    """Stored chunk bytes are not what the metadata say.

    Fields: `what` (the finding), `key` (the object in the store), `codec` (the
    step that found it), `expected` and `got` (usually byte counts). A codec
    knows no key; the corridor adds it with `at` on the way up.
    """

    def __init__(
        self,
        what: str,
        *,
        key: str | None = None,
        codec: str | None = None,
        expected: object = None,
        got: object = None,
    ) -> None:
        super().__init__(what)
        self.what, self.key, self.codec, self.expected, self.got = what, key, codec, expected, got

    def __str__(self) -> str:
        where = f" at key {self.key!r}" if self.key is not None else ""
        who = f" ({self.codec})" if self.codec is not None else ""
        said = {"expected": self.expected, "got": self.got}
        numbers = ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
        return f"corrupt chunk{where}{who}: {self.what}{': ' if numbers else ''}{numbers}"

    def at(self, key: str) -> CorruptChunkError:
        """The same error with the key filled in, where it was not known yet."""
        if self.key is None:
            self.key = key
        return self

    def __reduce__(self) -> tuple[object, ...]:
        state = {k: getattr(self, k) for k in ("key", "codec", "expected", "got")}
        return (type(self), (self.what,), state)


class ChecksumError(CorruptChunkError):
    """A stored checksum does not match the bytes."""


class CorruptShardError(CorruptChunkError):
    """A shard or its index is damaged."""


class ChunkNotFoundError(BaseZarrError):
    """A chunk is absent and `array.read_missing_chunks` is off."""


class EncodeError(BaseZarrError):
    """The data cannot be written with this array's data type and codecs."""


class PickleCodecDisabledError(BaseZarrError):
    """Pickle in a store is code that somebody else wrote; gpuzarr never runs it."""


class ChunkAlignmentError(BaseZarrError):
    """Blocks that would be written at the same time share a chunk or shard, the unit of writing."""


class LimitError(BaseZarrError):
    """A size in the store is beyond a limit; the message names the option that raises it."""


class ConversionError(BaseZarrError):
    """Something to be converted cannot be read as what it is, or holds what Zarr has no form for."""


class KeyValidationError(BaseZarrError):
    """A key that no store may hold."""


class SelectionError(GpuzarrError, IndexError):
    """An index that does not fit the array."""


class BoundsCheckError(SelectionError):
    """An index is outside the array."""


class NegativeStepError(SelectionError):
    """A slice step of zero, or a negative step where it is not possible."""


class ArrayIndexError(SelectionError):
    """An index array of the wrong type or shape."""


class VindexInvalidSelectionError(SelectionError):
    """`vindex` takes one integer array an axis, or one mask."""


class StoreError(GpuzarrError, OSError):
    """The store failed; the cause is chained."""


class StoreReadError(StoreError):
    """A read failed for another reason than that the key is absent."""


class ShortReadError(StoreReadError):
    """The store gave fewer bytes than were asked for."""


class StoreWriteError(StoreError):
    """A write failed; the old value stands."""


class ReadOnlyError(StoreError, PermissionError, ValueError):
    """A write to something that was opened for reading; a ValueError too, as it is in zarr-python."""


class ObjectChangedError(StoreReadError):
    """An object was replaced between two reads that must agree."""


class ConflictError(StoreError):
    """Another writer changed the object first; nothing was written."""


class LockTimeoutError(StoreError, TimeoutError):
    """A lock was not free before the deadline."""


class MissingPackageError(GpuzarrError, ImportError):
    """A package that is needed here is not installed."""


class DeviceError(GpuzarrError, TypeError, ValueError):
    """Memory that an array's device cannot use: it is on another device, or may not be written to."""


class GpuError(GpuzarrError, RuntimeError):
    """The GPU, or what drives it, is absent or failed; the message says which and what to do."""


class GpuMemoryError(GpuError, MemoryError):
    """The GPU has no room for what was asked."""


class GpuContextLostError(GpuError):
    """The GPU met a fault that ends its use in this process; only a new process can use it again."""


class GpuTimeoutError(GpuContextLostError, TimeoutError):
    """The GPU did not do in time (option `gpu.timeout`) what was queued on it, and perhaps never will."""


class ForkError(GpuError):
    """A GPU cannot be used in a forked child of a process that used it."""


# zarr-python's names for what is named differently here.
MetadataValidationError = MetadataError


class ZarrUserWarning(UserWarning):
    """Something works, but perhaps not as meant."""


class ZarrDeprecationWarning(DeprecationWarning):
    """A spelling that will go."""


class ZarrFutureWarning(FutureWarning):
    """A behaviour that will change."""


class ZarrRuntimeWarning(RuntimeWarning):
    """Something odd was found while running."""


class UnstableSpecificationWarning(ZarrFutureWarning):
    """A data type or codec without a settled specification."""
