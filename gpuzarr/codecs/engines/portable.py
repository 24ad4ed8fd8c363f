"""The same classes as `native`, on numcodecs' Python functions, for platforms where its extension modules do not
export their C API.

numcodecs itself neither bounds what Zstandard frames without content size decode to nor checks Blosc headers, so
both are looked at here before it is called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.codecs.engines.blosc_header import check_header, check_streams
from gpuzarr.codecs.engines.memory import memory_at, octets, size_of
from gpuzarr.codecs.engines.zstd_frames import decoded_bounds
from gpuzarr.errors import CorruptChunkError, EncodeError


def _corrupt(codec: str, error: Exception, nbytes: int) -> CorruptChunkError:
    return CorruptChunkError(str(error), codec=codec, expected=f"{nbytes} bytes")


class Zstd:
    """Zstandard frames through numcodecs.zstd."""

    def decoder(self, nbytes: int) -> Any:
        """decode(source, size, destination) for frames of `nbytes` decoded bytes in all."""

        def decode(source: int | bytes, size: int, destination: int) -> None:
            decoded = self.decode(memory_at(source, size), nbytes)
            if size_of(decoded) != nbytes:
                raise CorruptChunkError("wrong decoded size", codec="zstd", expected=nbytes, got=size_of(decoded))
            octets(memory_at(destination, nbytes, writable=True))[:] = octets(decoded)

        return decode

    def joined_decoder(self, nbytes: int) -> None:
        """Chunks go one by one."""

    def decode(self, data: Any, limit: int) -> Any:
        """Decode frames whose decoded size only they know, to at most `limit` bytes."""
        from numcodecs.zstd import decompress

        least, most = decoded_bounds(octets(data).tobytes())
        # `most` counts 128 KiB for every compressed block of frames that do not tell their size; writers that
        # flush often make many small blocks, hence the slack, which bounds the memory all the same.
        if least > limit or most > 64 * limit + (64 << 20):
            raise CorruptChunkError("decoded size beyond the limit", codec="zstd", expected=limit, got=least)
        if not most:
            return b""
        try:
            decoded = decompress(octets(data))
        except Exception as error:
            raise _corrupt("zstd", error, limit) from error
        if size_of(decoded) > limit:
            raise CorruptChunkError("decoded size beyond the limit", codec="zstd", expected=limit, got=len(decoded))
        return decoded

    def encode(self, data: Any, level: int, checksum: bool) -> bytes:
        """One frame with content size."""
        from numcodecs.zstd import compress

        return bytes(compress(octets(data), level, checksum))


class Blosc:
    """Blosc 1 containers through numcodecs.blosc."""

    def decoder(self, nbytes: int) -> Any:
        """decode(source, size, destination) for containers of `nbytes` decoded bytes."""

        def decode(source: int | bytes, size: int, destination: int) -> None:
            from numcodecs.blosc import decompress

            data = bytes(memory_at(source, size))
            check_header(data[:16], size, nbytes)
            check_streams(memoryview(data))
            if not nbytes:
                return
            try:
                decompress(data, memory_at(destination, nbytes, writable=True))
            except Exception as error:
                raise _corrupt("blosc", error, nbytes) from error

        return decode

    def joined_decoder(self, nbytes: int) -> None:
        """Chunks go one by one."""

    def part_decoder(self, nbytes: int) -> None:
        """Chunks are decoded whole."""

    def encode(self, data: Any, cname: str, clevel: int, shuffle: int, typesize: int, blocksize: int) -> bytes:
        """One container."""
        from numcodecs import blosc

        try:
            return bytes(blosc.compress(octets(data), cname.encode(), clevel, shuffle, blocksize, typesize))
        except Exception as error:
            raise EncodeError(f"blosc: {error}") from error


class Lz4:
    """One raw LZ4 block, through numcodecs.lz4, which puts the size before it."""

    def decode_block(self, source: int, size: int, destination: int, nbytes: int) -> None:
        """Decode a block of exactly `nbytes` decoded bytes."""
        from numcodecs.lz4 import decompress

        framed = nbytes.to_bytes(4, "little") + bytes(memory_at(source, size))
        try:
            decoded = decompress(framed) if nbytes else b""
        except Exception as error:
            raise _corrupt("lz4", error, nbytes) from error
        if len(decoded) != nbytes or (not nbytes and size != 1):
            raise CorruptChunkError("damaged LZ4 block", codec="lz4", expected=nbytes, got=len(decoded))
        octets(memory_at(destination, nbytes, writable=True))[:] = np.frombuffer(decoded, np.uint8)

    def encode_block(self, data: Any, acceleration: int) -> bytes:
        """Encode as one block."""
        from numcodecs.lz4 import compress

        return bytes(compress(octets(data), acceleration))[4:]


class Crc32c:
    """CRC-32C through google-crc32c."""

    def value(self, source: int | bytes, size: int) -> int:
        """Of the `size` bytes at an address."""
        import google_crc32c

        return int(google_crc32c.value(octets(memory_at(source, size))))
