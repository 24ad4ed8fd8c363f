"""What must hold of a Blosc 1 container before the C decoder may see it.

The decoder believes the sizes in the header: a 16-byte file can make it copy 60,000 bytes from behind the buffer.
With the length of the container and of its contents settled here, c-blosc 1.21.6 checks the block table and every
stream against them itself. Format: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
"""

from __future__ import annotations

from struct import Struct

from gpuzarr.errors import CorruptChunkError, UnknownCodecError

HEADER_SIZE = 16
MAX_SIZE = 2**31 - 1 - HEADER_SIZE  # decoded bytes that a container can hold
BLOSCLZ_LIMIT = 8 << 20  # a longer blosclz stream can make the decoder write out of bounds (c-blosc issue 405)
_MEMCPYED, _RESERVED = 0x02, 0x08

_unpack = Struct("<BBBBiii").unpack


def check_header(header: bytes, size: int, nbytes: int) -> int:
    """Refuse a container of `size` bytes whose 16-byte `header` does not describe `nbytes` decoded bytes.

    Raises CorruptChunkError, and UnknownCodecError for Snappy inside Blosc, which numcodecs is built without.
    Bytes behind the container are refused too: no writer leaves any, and they would be a sign of damage.
    Gives the flags. For blosclz, `check_streams` looks at the rest.
    """
    if size < HEADER_SIZE:
        raise CorruptChunkError("shorter than a Blosc header", codec="blosc", expected=">= 16 bytes", got=size)
    version, _, flags, typesize, decoded, blocksize, encoded = _unpack(header)
    if encoded != size:
        raise CorruptChunkError("the header gives another length", codec="blosc", expected=encoded, got=size)
    if decoded != nbytes:
        raise CorruptChunkError("wrong decoded size", codec="blosc", expected=nbytes, got=decoded)
    if version != 2 or flags & _RESERVED or not typesize:
        raise CorruptChunkError(f"bad Blosc header {header.hex()}", codec="blosc")
    if flags & _MEMCPYED:
        if encoded != nbytes + HEADER_SIZE:
            raise CorruptChunkError(
                "a stored container of another length", codec="blosc", expected=nbytes + HEADER_SIZE, got=encoded
            )
        return int(flags)
    kind = flags >> 5
    if kind == 2:
        raise UnknownCodecError("a Blosc container with Snappy streams: numcodecs is built without Snappy")
    if kind > 4:
        raise CorruptChunkError(f"unknown Blosc format {kind}", codec="blosc")
    if not 0 < blocksize <= nbytes and nbytes:
        raise CorruptChunkError("bad Blosc block size", codec="blosc", expected=f"1 to {nbytes}", got=blocksize)
    return int(flags)


def is_stored(flags: int) -> bool:
    """Whether a container holds its bytes as they are."""
    return bool(flags & _MEMCPYED)


def splits(flags: int, typesize: int, blocksize: int) -> int:
    """Streams of a whole block: one for each byte of an element, or one in all."""
    return typesize if not flags & 0x10 and typesize <= 16 and blocksize // typesize >= 128 else 1


def check_streams(data: memoryview) -> None:
    """Refuse a container (whose header has passed) with a blosclz stream longer than BLOSCLZ_LIMIT."""
    _, _, flags, typesize, nbytes, blocksize, size = _unpack(data[:HEADER_SIZE])
    if flags >> 5 or flags & _MEMCPYED or size <= BLOSCLZ_LIMIT:
        return
    streams = splits(flags, typesize, blocksize)
    for block in range(-(-nbytes // blocksize)):
        whole = (block + 1) * blocksize <= nbytes
        at = _int32(data, HEADER_SIZE + 4 * block, size)
        for _ in range(streams if whole else 1):
            length = _int32(data, at, size)
            if not 0 <= length <= BLOSCLZ_LIMIT:
                raise CorruptChunkError(f"a blosclz stream of {length} bytes is not safe to decode", codec="blosc")
            at += 4 + length


def _int32(data: memoryview, at: int, size: int) -> int:
    if not 0 <= at <= size - 4:
        raise CorruptChunkError("a Blosc block lies outside the container", codec="blosc", expected=size, got=at)
    return int.from_bytes(data[at : at + 4], "little", signed=True)
