"""The compressors in numcodecs' own extension modules, and google-crc32c's library, called directly.

numcodecs' wheels carry Blosc, Zstandard and LZ4 in extension modules that export the plain C API on Linux and
macOS. Calling it through ctypes leaves out what numcodecs does around each call, which at 16 KiB is two thirds of
the time, and reuses Zstandard's working memory from call to call, one set a thread. `find` returns None where a
library or a symbol is not there (Windows, static builds); `portable` has the same classes on numcodecs' Python
functions.

Nothing is trusted: the destination's size goes with every call, and what Blosc's decoder takes on faith is
checked before it is called.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gpuzarr.codecs.engines.blosc_header import BLOSCLZ_LIMIT, check_header, check_streams
from gpuzarr.codecs.engines.joined import blosc_container, zstd_frames
from gpuzarr.codecs.engines.memory import address, bytes_at, memory_at, size_of
from gpuzarr.errors import CorruptChunkError, EncodeError

# A checksum of so little is done before another thread would have got the interpreter; decoders let go of it always:
# held through a wave of 16-KiB Blosc chunks it made two threads slower than one.
KEEP_INTERPRETER = 32 << 10
_BYTE = np.dtype(np.uint8)
KEEP_SCRATCH = 16 << 20  # bytes of compressor output room that a thread keeps


def _load(module: str, signatures: dict[str, tuple[Any, list[Any]]], kind: type[Any] = ctypes.CDLL) -> Any | None:
    """The extension module `numcodecs.<module>` as a C library with these functions, without importing it."""
    for folder in _folders("numcodecs"):
        for suffix in EXTENSION_SUFFIXES:
            path = folder / (module + suffix)
            if path.exists():
                return _bind(path, signatures, kind)
    return None


def _folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]


def _bind(path: Path, signatures: dict[str, tuple[Any, list[Any]]], kind: type[Any]) -> Any | None:
    try:
        library = kind(str(path))
        for name, (result, arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library


class Room(threading.local):
    """Room for a compressor's output, one a thread."""

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint8)
        self.address = 0

    def take(self, nbytes: int) -> int:
        """The address of at least `nbytes` bytes, valid until this thread asks again."""
        if self.array.size < nbytes:
            self.array = np.empty(nbytes, np.uint8)
            self.address = self.array.ctypes.data
        return self.address

    def give(self, nbytes: int) -> bytes:
        """A copy of the first `nbytes` bytes; gives back a room too large to keep."""
        result = bytes_at(self.address, nbytes)
        if self.array.size > KEEP_SCRATCH:
            self.array = np.empty(0, np.uint8)
        return result


class _Context:
    """A Zstandard context that frees itself with the thread that made it."""

    def __init__(self, handle: int | None, free: Any) -> None:
        if not handle:
            raise MemoryError("zstd: no memory for a context")
        self.handle, self._free = handle, free

    def __del__(self) -> None:
        self._free(self.handle)


class Zstd:
    """Zstandard frames: one or several, with or without content size, skippable ones between them."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._local = threading.local()
        self._room = Room()

    @classmethod
    @cache
    def find(cls) -> Zstd | None:
        """The library, or None where it cannot be called directly."""
        library = _load(
            "zstd",
            {
                "ZSTD_createDCtx": (c_void_p, []),
                "ZSTD_freeDCtx": (c_size_t, [c_void_p]),
                "ZSTD_decompressDCtx": (c_size_t, [c_void_p, c_void_p, c_size_t, c_void_p, c_size_t]),
                "ZSTD_createCCtx": (c_void_p, []),
                "ZSTD_freeCCtx": (c_size_t, [c_void_p]),
                "ZSTD_CCtx_setParameter": (c_size_t, [c_void_p, c_int, c_int]),
                "ZSTD_compress2": (c_size_t, [c_void_p, c_void_p, c_size_t, c_void_p, c_size_t]),
                "ZSTD_compressBound": (c_size_t, [c_size_t]),
                "ZSTD_findDecompressedSize": (c_uint64, [c_void_p, c_size_t]),
                "ZSTD_isError": (c_int, [c_size_t]),
                "ZSTD_getErrorName": (c_char_p, [c_size_t]),
                "ZSTD_maxCLevel": (c_int, []),
                "ZSTD_minCLevel": (c_int, []),
            },
        )
        return cls(library) if library is not None else None

    def _decompressor(self) -> int:
        context = _Context(self._library.ZSTD_createDCtx(), self._library.ZSTD_freeDCtx)
        self._local.owner_d, self._local.d = context, context.handle
        return context.handle

    def _compressor(self) -> int:
        context = _Context(self._library.ZSTD_createCCtx(), self._library.ZSTD_freeCCtx)
        self._local.owner_c, self._local.c = context, context.handle
        return context.handle

    def _fail(self, result: int, size: int, expected: int) -> CorruptChunkError:
        if self._library.ZSTD_isError(result):
            reason = self._library.ZSTD_getErrorName(result).decode()
            return CorruptChunkError(f"{reason} in {size} bytes", codec="zstd", expected=f"{expected} bytes")
        return CorruptChunkError("wrong decoded size", codec="zstd", expected=expected, got=result)

    def decoder(self, nbytes: int) -> Any:
        """decode(source, size, destination) for frames of `nbytes` decoded bytes in all."""
        decompress, local, new, fail = (
            self._library.ZSTD_decompressDCtx,
            self._local,
            self._decompressor,
            self._fail,
        )

        def decode(source: int | bytes, size: int, destination: int) -> None:
            try:
                context = local.d
            except AttributeError:
                context = new()
            got = decompress(context, destination, nbytes, source, size)
            if got != nbytes:
                raise fail(got, size, nbytes)

        return decode

    def joined_decoder(self, nbytes: int) -> Any:
        """As `BytesBytesCodec.joined_decoder`: frames that follow one another."""
        local, new, decompress = self._local, self._decompressor, self._library.ZSTD_decompressDCtx

        def join(room: Any, base: int, offsets: Any, sizes: Any) -> Any:
            if not zstd_frames(room, offsets, sizes, nbytes):
                return None
            context = getattr(local, "d", None) or new()

            def decode(first: int, count: int, destination: int) -> bool:
                start, last = int(offsets[first]), first + count - 1
                size = int(offsets[last] + sizes[last]) - start
                return bool(decompress(context, destination, nbytes * count, base + start, size) == nbytes * count)

            return decode

        return join

    def decode(self, data: Any, limit: int) -> Any:
        """Decode frames whose decoded size only they know, to at most `limit` bytes."""
        source, size = address(data), size_of(data)
        claimed = self._library.ZSTD_findDecompressedSize(source, size)
        if claimed == 2**64 - 2:
            raise CorruptChunkError(f"not a zstd frame in {size} bytes", codec="zstd")
        told = claimed != 2**64 - 1
        room = claimed if told else min(limit, max(1 << 16, 8 * size))
        while True:
            if room > limit:
                raise CorruptChunkError("decoded size beyond the limit", codec="zstd", expected=limit, got=room)
            out = np.empty(room, np.uint8)
            context = getattr(self._local, "d", None) or self._decompressor()
            got = self._library.ZSTD_decompressDCtx(context, out.ctypes.data, room, source, size)
            if not self._library.ZSTD_isError(got):
                return out[:got]
            too_small = self._library.ZSTD_getErrorName(got) == b"Destination buffer is too small"
            if told or not too_small or room == limit:
                raise self._fail(got, size, room)
            room = min(limit, 4 * room)

    def encode(self, data: Any, level: int, checksum: bool) -> bytes:
        """One frame with content size."""
        library, size = self._library, size_of(data)
        context = getattr(self._local, "c", None) or self._compressor()
        # ZSTD_c_compressionLevel is 100, ZSTD_c_checksumFlag 201.
        library.ZSTD_CCtx_setParameter(
            context, 100, min(max(level, library.ZSTD_minCLevel()), library.ZSTD_maxCLevel())
        )
        library.ZSTD_CCtx_setParameter(context, 201, int(checksum))
        bound = library.ZSTD_compressBound(size)
        got = library.ZSTD_compress2(context, self._room.take(bound), bound, address(data), size)
        if library.ZSTD_isError(got):
            raise EncodeError(f"zstd: {library.ZSTD_getErrorName(got).decode()} on {size} bytes")
        return self._room.give(got)


class Blosc:
    """Blosc 1 containers, decoded in the calling thread."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._room = Room()

    @classmethod
    @cache
    def find(cls) -> Blosc | None:
        """The library, or None where it cannot be called directly."""
        signatures: dict[str, tuple[Any, list[Any]]] = {
            "blosc_decompress_ctx": (c_int, [c_void_p, c_void_p, c_size_t, c_int]),
            "blosc_compress_ctx": (
                c_int,
                [c_int, c_int, c_size_t, c_size_t, c_void_p, c_void_p, c_size_t, c_char_p, c_size_t, c_int],
            ),
            "blosc_compname_to_compcode": (c_int, [c_char_p]),
        }
        library = _load("blosc", signatures)
        return cls(library) if library is not None else None

    def decoder(self, nbytes: int) -> Any:
        """decode(source, size, destination) for containers of `nbytes` decoded bytes."""
        decompress = self._library.blosc_decompress_ctx

        def decode(source: int | bytes, size: int, destination: int) -> None:
            flags = check_header(bytes_at(source, 16) if size >= 16 else b"", size, nbytes)
            if flags < 0x20 and size > BLOSCLZ_LIMIT:
                check_streams(memory_at(source, size))
            got = decompress(source, destination, nbytes, 1)
            if got != nbytes:
                raise CorruptChunkError("damaged Blosc container", codec="blosc", expected=nbytes, got=got)

        return decode

    def joined_decoder(self, nbytes: int) -> Any:
        """As `BytesBytesCodec.joined_decoder`: containers stitched to one."""
        stitched = self._stitched

        def join(room: Any, base: int, offsets: Any, sizes: Any) -> Any:
            container = blosc_container(room, offsets, sizes, nbytes)
            if container is None:
                return None
            return lambda first, count, destination: stitched(
                container.front(first, count), base, destination, nbytes * count
            )

        return join

    def _stitched(self, front: bytes, base: int, destination: int, total: int) -> bool:
        """Decode what `front` makes a container of, with the room behind it."""
        start = base - len(front)
        ctypes.memmove(start, front, len(front))
        return bool(self._library.blosc_decompress_ctx(start, destination, total, 1) == total)

    def part_decoder(self, nbytes: int) -> Any:
        """As `BytesBytesCodec.part_decoder`: only the blocks that have something of the parts."""
        stitched = self._stitched

        def decode(room: Any, base: int, offsets: Any, sizes: Any, spans: Any, scratch: Any) -> Any:
            container = blosc_container(room, offsets, sizes, nbytes, spans)
            if container is None:
                return None
            low, high = spans[0] // container.blocksize, (spans[1] - 1) // container.blocksize + 1
            ends = np.cumsum(high - low) * container.blocksize
            total = int(ends[-1])
            decoded, destination = scratch((total,), _BYTE)
            if not stitched(container.front(0, len(container.table)), base, destination, total):
                return None
            return decoded, destination, ends - high * container.blocksize + spans[0]

        return decode

    def encode(self, data: Any, cname: str, clevel: int, shuffle: int, typesize: int, blocksize: int) -> bytes:
        """One container, made by one thread so that the same data give the same bytes."""
        name, size = cname.encode(), size_of(data)
        if self._library.blosc_compname_to_compcode(name) < 0:
            raise EncodeError(f"blosc: this build of numcodecs cannot write cname={cname!r}")
        bound = size + 16
        got = self._library.blosc_compress_ctx(
            clevel, shuffle, typesize, size, address(data), self._room.take(bound), bound, name, blocksize, 1
        )
        if got <= 0:
            raise EncodeError(f"blosc: error {got} on {size} bytes")
        return self._room.give(got)


class Lz4:
    """One raw LZ4 block."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._room = Room()

    @classmethod
    @cache
    def find(cls) -> Lz4 | None:
        """The library, or None where it cannot be called directly."""
        signatures: dict[str, tuple[Any, list[Any]]] = {
            "LZ4_decompress_safe": (c_int, [c_void_p, c_void_p, c_int, c_int]),
            "LZ4_compress_fast": (c_int, [c_void_p, c_void_p, c_int, c_int, c_int]),
            "LZ4_compressBound": (c_int, [c_int]),
        }
        library = _load("lz4", signatures)
        return cls(library) if library is not None else None

    def decode_block(self, source: int, size: int, destination: int, nbytes: int) -> None:
        """Decode a block of exactly `nbytes` decoded bytes."""
        got = self._library.LZ4_decompress_safe(source, destination, size, nbytes)
        if got != nbytes:
            raise CorruptChunkError("damaged LZ4 block", codec="lz4", expected=nbytes, got=got)

    def encode_block(self, data: Any, acceleration: int) -> bytes:
        """Encode as one block."""
        size = size_of(data)
        bound = self._library.LZ4_compressBound(size)
        got = self._library.LZ4_compress_fast(address(data), self._room.take(bound), size, bound, acceleration)
        if got <= 0:
            raise EncodeError(f"lz4: cannot encode {size} bytes")
        return self._room.give(got)


class Crc32c:
    """CRC-32C with the processor's instruction, from the C library in google-crc32c's wheels."""

    def __init__(self, library: Any, holding: Any) -> None:
        self._library, self._holding = library, holding

    @classmethod
    @cache
    def find(cls) -> Crc32c | None:
        """The library, or None where it cannot be called directly."""
        signatures: dict[str, tuple[Any, list[Any]]] = {"crc32c_value": (c_uint32, [c_void_p, c_size_t])}
        for folder in _folders("google_crc32c"):
            for path in folder.with_name("google_crc32c.libs").glob("libcrc32c*.so*"):
                library, holding = (_bind(path, signatures, kind) for kind in (ctypes.CDLL, ctypes.PyDLL))
                if library is not None and holding is not None:
                    return cls(library, holding)
        return None

    def value(self, source: int | bytes, size: int) -> int:
        """Of the `size` bytes at an address."""
        library = self._holding if size <= KEEP_INTERPRETER else self._library
        return int(library.crc32c_value(source, size))
