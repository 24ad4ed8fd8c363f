"""The compressors under the codecs: called directly and through numcodecs, valid and hostile input."""

from __future__ import annotations

import struct
import threading
import zlib
from typing import Any

import numpy as np
import pytest

from gpuzarr.codecs import deflate
from gpuzarr.codecs.engines import blosc_header, cpu, native, portable
from gpuzarr.codecs.engines.memory import address, byte_view, memory_at, octets, size_of, writable_address
from gpuzarr.codecs.engines.zstd_frames import decoded_bounds
from gpuzarr.errors import CorruptChunkError, EncodeError, UnknownCodecError

RNG = np.random.default_rng(7)
WALK = np.cumsum(RNG.normal(size=5000)).astype("f4")


def engines(kind: str) -> list[Any]:
    found = getattr(native, kind).find()
    return [getattr(portable, kind)(), *([found] if found is not None else [])]


def both(kind: str) -> Any:
    return pytest.mark.parametrize("engine", engines(kind), ids=lambda e: type(e).__module__.rpartition(".")[2])


def run(decode: Any, data: bytes, nbytes: int) -> bytes:
    """Decode with guard bytes on both sides of the destination."""
    out = np.full(nbytes + 128, 0xA5, np.uint8)
    inside = out[64 : 64 + nbytes]
    decode(address(data), len(data), writable_address(inside) if nbytes else out.ctypes.data + 64)
    assert (out[:64] == 0xA5).all()
    assert (out[64 + nbytes :] == 0xA5).all()
    return inside.tobytes()


def test_addresses_and_buffers() -> None:
    data = bytearray(b"0123456789")
    view = memoryview(data)[2:6]
    assert bytes(memory_at(address(view), size_of(view))) == b"2345"
    memory_at(address(view), 4, writable=True)[0] = ord("x")
    assert data == b"01x3456789"
    fixed = memoryview(b"abcdef")[1:]
    assert bytes(memory_at(address(fixed), 5)) == b"bcdef"
    times = np.array(["2020-01-01"], "M8[s]")
    assert bytes(memory_at(address(times), 8)) == times.tobytes()
    assert memory_at(b"abc", 2) == b"ab"
    assert size_of(times) == 8
    assert size_of(bytearray(3)) == 3
    assert octets(memoryview(b"")).size == 0
    assert byte_view(np.zeros(2, "f8")).nbytes == 16
    with pytest.raises(TypeError, match="writable"):
        writable_address(b"abc")


def test_native_is_found_where_wheels_export_it() -> None:
    # Linux wheels of numcodecs do; if they stop, reading small chunks becomes several times slower.
    import sys

    if sys.platform == "linux":
        assert type(cpu.zstd()) is native.Zstd
        assert type(cpu.blosc()) is native.Blosc
        assert type(cpu.lz4()) is native.Lz4
        assert type(cpu.crc32c()) is native.Crc32c


def test_a_missing_library_is_none() -> None:
    assert native._load("no_such_module", {}) is None
    assert native._load("zstd", {"no_such_function": (None, [])}) is None


@both("Zstd")
@pytest.mark.parametrize("level", [-5, 0, 1, 9, 22])
@pytest.mark.parametrize("checksum", [False, True])
def test_zstd_round_trip_and_numcodecs_bytes(engine: Any, level: int, checksum: bool) -> None:
    from numcodecs import Zstd

    encoded = engine.encode(WALK, level, checksum)
    assert encoded == Zstd(level, checksum).encode(WALK)
    assert run(engine.decoder(WALK.nbytes), encoded, WALK.nbytes) == WALK.tobytes()
    assert bytes(engine.decode(encoded, WALK.nbytes)) == WALK.tobytes()


def raw_zstd(*payloads: bytes, size: bool) -> bytes:
    """A frame of raw blocks, with or without content size, made by hand."""
    total = sum(map(len, payloads))
    head = struct.pack("<I", 0xFD2FB528) + (b"\xa0" + struct.pack("<I", total) if size else b"\x00\x38")
    blocks = b"".join(
        (len(p) << 3 | (i == len(payloads) - 1)).to_bytes(3, "little") + p for i, p in enumerate(payloads)
    )
    return head + blocks


SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"hello"


@both("Zstd")
def test_zstd_frames_of_all_kinds(engine: Any) -> None:
    """Trap 1: no content size, several frames, skippable frames."""
    known, unknown = raw_zstd(b"abc", b"defg", size=True), raw_zstd(b"hij", b"", b"klm", size=False)
    for data, expected in {
        known: b"abcdefg",
        unknown: b"hijklm",
        known + unknown: b"abcdefghijklm",
        SKIPPABLE + unknown + SKIPPABLE + known + SKIPPABLE: b"hijklmabcdefg",
    }.items():
        assert run(engine.decoder(len(expected)), data, len(expected)) == expected
        assert bytes(engine.decode(data, 100)) == expected
        with pytest.raises(CorruptChunkError):
            run(engine.decoder(len(expected) - 1), data, len(expected) - 1)
        with pytest.raises(CorruptChunkError):
            run(engine.decoder(len(expected) + 1), data, len(expected) + 1)
        with pytest.raises(CorruptChunkError):
            engine.decode(data, len(expected) - 1)
        for cut in (1, 4, len(data) // 2):
            with pytest.raises(CorruptChunkError):
                run(engine.decoder(len(expected)), data[:-cut] if cut != 1 else data[1:], len(expected))


@both("Zstd")
def test_zstd_bombs_are_not_inflated(engine: Any) -> None:
    rle = (
        struct.pack("<I", 0xFD2FB528)
        + b"\x00\x38"
        + b"".join(((128 << 10) << 3 | 2 | (i == 9999)).to_bytes(3, "little") + b"\0" for i in range(10000))
    )  # 40 kB that are 1.3 GB
    import tracemalloc

    tracemalloc.start()
    for nbytes in (1000, 1 << 20):
        with pytest.raises(CorruptChunkError):
            run(engine.decoder(nbytes), rle, nbytes)
        with pytest.raises(CorruptChunkError):
            engine.decode(rle, nbytes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_zstd_bounds_of_frames() -> None:
    assert decoded_bounds(raw_zstd(b"abc", size=True)) == (3, 3)
    assert decoded_bounds(SKIPPABLE) == (0, 0)
    assert decoded_bounds(raw_zstd(b"abc", b"d", size=False)) == (4, 4)
    compressed = cpu.zstd().encode(WALK, 3, True)
    assert decoded_bounds(compressed) == (WALK.nbytes, WALK.nbytes)
    for bad in (b"1234", compressed[:-1], compressed + b"\0", raw_zstd(b"abc", size=False)[:-1]):
        with pytest.raises(CorruptChunkError):
            decoded_bounds(bad)


@both("Zstd")
def test_zstd_of_nothing(engine: Any) -> None:
    assert bytes(engine.decode(engine.encode(b"", 3, False), 10)) == b""
    assert run(engine.decoder(0), engine.encode(b"", 3, False), 0) == b""


def test_zstd_threads_have_their_own_contexts() -> None:
    engine, wrong = cpu.zstd(), []
    chunks = [RNG.integers(0, 9, 20000).astype("u1").tobytes() for _ in range(8)]
    encoded = [engine.encode(c, 3, False) for c in chunks]

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, 8, 100):
            right = run(engine.decoder(20000), encoded[i], 20000) == chunks[i]
            wrong.extend([] if right and engine.encode(chunks[i], 3, False) == encoded[i] else [i])

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@both("Blosc")
@pytest.mark.parametrize("cname", ["lz4", "lz4hc", "blosclz", "zlib", "zstd"])
@pytest.mark.parametrize("shuffle", [0, 1, 2])
def test_blosc_round_trip_and_numcodecs_bytes(engine: Any, cname: str, shuffle: int) -> None:
    from numcodecs import Blosc

    for data, typesize in ((WALK, 4), (WALK[:4999], 3), (WALK[:7], 4), (WALK[:1], 1)):
        for blocksize in (0, 4096):
            encoded = engine.encode(data, cname, 5, shuffle, typesize, blocksize)
            assert encoded == Blosc(cname, 5, shuffle, blocksize, typesize=typesize).encode(octets(data))
            assert run(engine.decoder(data.nbytes), encoded, data.nbytes) == data.tobytes()


@both("Blosc")
def test_blosc_refuses_snappy(engine: Any) -> None:
    with pytest.raises(EncodeError):
        engine.encode(WALK, "snappy", 5, 1, 4, 0)
    data = bytearray(engine.encode(WALK, "lz4", 5, 1, 4, 0))
    data[2] = data[2] & 0x1F | 2 << 5
    with pytest.raises(UnknownCodecError, match="Snappy"):
        run(engine.decoder(WALK.nbytes), bytes(data), WALK.nbytes)


@both("Blosc")
def test_blosc_headers_that_lie(engine: Any) -> None:
    """The 16-byte file that makes numcodecs return 60,000 bytes of memory, and its relatives."""
    lie = struct.pack("<BBBBiii", 2, 1, 2, 1, 60000, 60000, 60016)
    good = engine.encode(WALK, "lz4", 5, 1, 4, 0)
    size = WALK.nbytes

    def changed(offset: int, form: str, value: int) -> bytes:
        data = bytearray(good)
        struct.pack_into(form, data, offset, value)
        return bytes(data)

    for data, nbytes in (
        (lie, 60000),
        (b"", 100),
        (good[:15], size),
        (good[:-1], size),
        (good + b"\0", size),
        (good, size - 4),
        (good, size + 4),
        (changed(0, "B", 3), size),
        (changed(2, "B", good[2] | 8), size),
        (changed(2, "B", good[2] | 2), size),
        (changed(2, "B", good[2] & 0x1F | 5 << 5), size),
        (changed(3, "B", 0), size),
        (changed(4, "<i", -1), size),
        (changed(8, "<i", 0), size),
        (changed(8, "<i", -5), size),
        (changed(8, "<i", size + 1), size),
        (changed(12, "<i", len(good) + 100), size),
        (changed(16, "<i", -4), size),
        (changed(16, "<i", len(good)), size),
        (changed(16, "<i", 2**31 - 1), size),
    ):
        with pytest.raises(CorruptChunkError):
            run(engine.decoder(nbytes), data, nbytes)


def test_blosclz_streams_that_are_not_safe() -> None:
    n = 20 << 20
    head = struct.pack("<BBBBiii", 2, 1, 0x10, 1, n, n, n)
    data = head + struct.pack("<ii", 20, n - 24)
    data = data.ljust(n, b"\xff")
    assert blosc_header.check_header(data[:16], n, n) == 0x10
    with pytest.raises(CorruptChunkError, match="not safe"):
        blosc_header.check_streams(memoryview(data))
    for engine in engines("Blosc"):
        with pytest.raises(CorruptChunkError):
            engine.decoder(n)(address(data), n, np.empty(n, np.uint8).ctypes.data)
    outside = head + struct.pack("<i", n - 3)
    with pytest.raises(CorruptChunkError, match="outside"):
        blosc_header.check_streams(memoryview(outside.ljust(n, b"\0")))


def test_a_large_blosclz_container_that_is_fine() -> None:
    data = RNG.integers(0, 200, 12 << 20).astype("u1")
    engine = cpu.blosc()
    encoded = engine.encode(data, "blosclz", 1, 0, 1, 1 << 20)
    if len(encoded) > blosc_header.BLOSCLZ_LIMIT and not encoded[2] & 2:
        assert blosc_header.check_header(encoded[:16], len(encoded), data.nbytes) < 0x20
        blosc_header.check_streams(memoryview(encoded))
    assert run(engine.decoder(data.nbytes), encoded, data.nbytes) == data.tobytes()


@both("Lz4")
def test_lz4_blocks(engine: Any) -> None:
    block = engine.encode_block(WALK, 1)
    out = np.empty(WALK.nbytes, np.uint8)
    source = octets(bytearray(block))
    engine.decode_block(source.ctypes.data, source.size, out.ctypes.data, out.size)
    assert out.tobytes() == WALK.tobytes()
    for nbytes in (WALK.nbytes - 1, WALK.nbytes + 1):
        room = np.empty(nbytes, np.uint8)
        with pytest.raises(CorruptChunkError):
            engine.decode_block(source.ctypes.data, source.size, room.ctypes.data, nbytes)
    with pytest.raises(CorruptChunkError):
        engine.decode_block(source.ctypes.data, source.size - 3, out.ctypes.data, out.size)


def mutations(data: bytes, count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(0, min(len(changed), 64) if rng.random() < 0.5 else len(changed))] = rng.integers(256)
        kind = rng.random()
        if kind < 0.2:
            changed = changed[: rng.integers(0, len(changed))]
        elif kind < 0.3:
            changed += bytes(rng.integers(1, 40))
        yield bytes(changed)


def check_mutations(make: Any, data: bytes, nbytes: int, count: int) -> None:
    decode = make(nbytes)
    seen = {True: 0, False: 0}
    for changed in mutations(data, count, len(data)):
        try:
            run(decode, changed, nbytes)
        except (CorruptChunkError, UnknownCodecError):
            seen[False] += 1
        else:
            seen[True] += 1
    assert seen[False] > count // 20


@pytest.mark.parametrize("cname", ["lz4", "blosclz", "zlib", "zstd"])
@pytest.mark.parametrize("shuffle", [1, 2])
def test_mutated_blosc_never_harms(cname: str, shuffle: int, long_form: bool) -> None:
    data = cpu.blosc().encode(WALK[:2500], cname, 5, shuffle, 4, 2048)
    check_mutations(cpu.blosc().decoder, data, 10000, 50000 if long_form else 600)


def test_mutated_zstd_never_harms(long_form: bool) -> None:
    data = cpu.zstd().encode(np.repeat(WALK[:500], 5), 3, False)
    check_mutations(cpu.zstd().decoder, data, 10000, 50000 if long_form else 1500)


@both("Crc32c")
def test_crc32c(engine: Any) -> None:
    assert engine.value(b"123456789", 9) == 0xE3069283
    data = bytearray(100000)
    assert engine.value(address(data), 100000) == engine.value(bytes(data), 100000)


def gzip_of(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, 6)


def inflate_into(data: Any, out: bytearray, wbits: int, codec: str) -> None:
    deflate.inflater(len(out), wbits, codec)(address(data), len(data), address(out))


@pytest.fixture(params=["zlib", "isal"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal")
    monkeypatch.setattr(deflate, "open_stream", getattr(deflate, f"{request.param}_stream"))
    return str(request.param)


def test_gzip_members(inflater: str) -> None:
    """Trap 21: several members, padding, and gzip, zlib and raw deflate are not the same."""
    data = WALK.tobytes()
    out = bytearray(len(data))
    members = gzip_of(data[:100]) + gzip_of(b"") + gzip_of(data[100:])
    for encoded in (gzip_of(data), members, members + bytes(30), deflate.gzip_member(WALK, 5)):
        inflate_into(encoded, out, deflate.GZIP, "gzip")
        assert out == data
        assert deflate.inflate(encoded, len(data) + 5, deflate.GZIP, "gzip") == data
        for bad in (encoded[:-31], encoded[1:], encoded + b"junk", encoded + gzip_of(b"x")):
            with pytest.raises(CorruptChunkError):
                inflate_into(bad, out, deflate.GZIP, "gzip")
        with pytest.raises(CorruptChunkError):
            deflate.inflate(encoded, len(data) - 1, deflate.GZIP, "gzip")
        with pytest.raises(CorruptChunkError):
            inflate_into(encoded, bytearray(len(data) + 1), deflate.GZIP, "gzip")
    whole = gzip_of(data)
    for at in (-1, -5, 5000):  # the size, the checksum, the data
        broken = bytearray(whole)
        broken[at] ^= 4
        with pytest.raises(CorruptChunkError):
            inflate_into(broken, out, deflate.GZIP, "gzip")
    wrapped, raw = zlib.compress(data), zlib.compress(data)[2:-4]
    inflate_into(wrapped, out, deflate.ZLIB, "zlib")
    assert out == data
    for encoded, wbits in ((wrapped, deflate.GZIP), (raw, deflate.GZIP), (raw, deflate.ZLIB), (whole, deflate.ZLIB)):
        with pytest.raises(CorruptChunkError):
            inflate_into(encoded, out, wbits, "x")


def test_gzip_bombs_are_not_inflated(inflater: str) -> None:
    import tracemalloc

    bomb = gzip_of(bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(CorruptChunkError, match="more bytes"):
        deflate.inflate(bomb, 1000, deflate.GZIP, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_mutated_gzip_never_harms(inflater: str, long_form: bool) -> None:
    data = gzip_of(WALK[:2500].tobytes())
    out = bytearray(10000)
    for changed in mutations(data, 30000 if long_form else 1000, 9):
        try:
            inflate_into(changed, out, deflate.GZIP, "gzip")
        except CorruptChunkError:
            pass


def test_gzip_headers_are_those_of_pythons_gzip_module() -> None:
    import gzip
    import io

    for level in range(10):
        room = io.BytesIO()
        with gzip.GzipFile(fileobj=room, mode="wb", compresslevel=level, mtime=0) as file:
            file.write(WALK)
        assert deflate.gzip_member(WALK, level) == room.getvalue()
