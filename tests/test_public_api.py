"""The public names, written out: what is added or taken away shows in the diff of this file."""

from __future__ import annotations

import importlib

import pytest

import gpuzarr

TOP = """
    Array Group ArrayMetadata GroupMetadata ProcessSynchronizer ThreadSynchronizer __version__
    array consolidate_metadata convert copy copy_all copy_store create create_array create_group create_hierarchy device
    empty empty_like from_array full full_like group load ones ones_like open open_array open_consolidated
    open_group open_like print_debug_info save save_array save_group set_format set_log_level tree zeros zeros_like
    codecs config errors storage
"""
CODECS = """
    BitRound BloscCodec BytesCodec CastValue Codec CodecChain Crc32cCodec GzipCodec PackBitsCodec ReshapeCodec
    ScaleOffset ShardingCodec TransposeCodec VLenBytesCodec VLenUTF8Codec ZstdCodec
    BloscCname BloscShuffle Endian ShardingCodecIndexLocation SubchunkWriteOrder
    Adler32 AsType BZ2 Blosc CRC32 CRC32C Delta FixedScaleOffset Fletcher32 GZip JenkinsLookup3 LZ4 LZMA PCodec PackBits
    Quantize Shuffle ZFPY Zlib Zstd
    codec_from codec_names register_codec
"""
STORAGE = """
    Store Span Pieces StorePath open_store
    LocalStore MemoryStore ManagedMemoryStore ZipStore MappingStore FsspecStore ObjectStore ZarrPythonStore
    WrapperStore ReadOnlyStore LoggingStore CountingStore
"""
DTYPE = """
    Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64 Complex64 Complex128
    DateTime64 TimeDelta64 FixedLengthUTF32 NullTerminatedBytes RawBytes VariableLengthUTF8 VariableLengthBytes Struct
    ZDType DataTypeValidationError parse_dtype parse_data_type
"""
ERRORS = """
    GpuzarrError BaseZarrError MetadataError NodeTypeValidationError DataTypeValidationError UnknownCodecError
    DimensionNamesError
    NodeNotFoundError ArrayNotFoundError GroupNotFoundError
    ContainsNodeError ContainsArrayError ContainsGroupError ContainsArrayAndGroupError
    CorruptChunkError ChecksumError CorruptShardError ChunkNotFoundError EncodeError PickleCodecDisabledError
    ChunkAlignmentError ConversionError LimitError KeyValidationError
    SelectionError BoundsCheckError NegativeStepError ArrayIndexError VindexInvalidSelectionError
    StoreError StoreReadError ShortReadError StoreWriteError ReadOnlyError ObjectChangedError ConflictError
    LockTimeoutError MissingPackageError
    DeviceError GpuError GpuMemoryError GpuContextLostError GpuTimeoutError ForkError
    ZarrUserWarning ZarrDeprecationWarning ZarrFutureWarning ZarrRuntimeWarning UnstableSpecificationWarning
    MetadataValidationError
"""
XARRAY = """GpuzarrBackendEntrypoint GpuzarrStore open_zarr to_zarr"""
EVERY = {
    "gpuzarr": TOP,
    "gpuzarr.xarray": XARRAY,
    "gpuzarr.codecs": CODECS,
    "gpuzarr.storage": STORAGE,
    "gpuzarr.dtype": DTYPE,
}


@pytest.mark.parametrize("module", EVERY)
def test_names(module: str) -> None:
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(EVERY[module].split())
    assert [name for name in found.__all__ if getattr(found, name, None) is None] == []


def test_errors() -> None:
    errors = importlib.import_module("gpuzarr.errors")
    found = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert sorted(found) == sorted(ERRORS.split())


def test_every_error_is_drawn_in_the_tree() -> None:
    errors = importlib.import_module("gpuzarr.errors")
    drawn = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.GpuzarrError) and name == value.__name__:
            assert name in drawn


def test_the_front_door_lists_its_names() -> None:
    assert dir(gpuzarr) == sorted(gpuzarr.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        gpuzarr.no_such_name  # noqa: B018


def test_what_zarr_python_exports_is_here() -> None:
    zarr = pytest.importorskip("zarr")
    asynchronous = {"AsyncArray", "AsyncGroup"}  # gpuzarr has threads, and no asyncio
    assert set(zarr.__all__) - asynchronous - set(gpuzarr.__all__) == set()
