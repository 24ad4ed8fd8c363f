"""Every codec that is registered, and every configuration among numcodecs' fixtures: read on a GPU as on the CPU,
whichever way the chunks go there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import (
    BitRound,
    BloscCodec,
    BytesCodec,
    CastValue,
    Crc32cCodec,
    GzipCodec,
    PackBitsCodec,
    ReshapeCodec,
    ScaleOffset,
    TransposeCodec,
    ZstdCodec,
)
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.codecs.registry import codec_class, codec_names
from gpuzarr.devices import EmulatedDevice
from gpuzarr.devices.gpu import GpuDevice
from gpuzarr.errors import DeviceError, GpuzarrError
from tests.test_codec_v2 import fixtures, v2_chain
from tests.test_gpu_steps import check, gpu

__all__ = ["gpu"]  # the fixture

# What the chunk goes through, and on which data type.
CHAINS: dict[str, dict[str, Any]] = {
    "bitround": {"filters": BitRound(keepbits=9)},
    "blosc": {"compressors": BloscCodec(cname="zstd", shuffle="bitshuffle")},
    "bytes": {"serializer": BytesCodec(endian="big")},
    "cast_value": {"dtype": "f8", "filters": CastValue(data_type="float32")},
    "crc32c": {"compressors": Crc32cCodec()},
    "gzip": {"compressors": GzipCodec(level=1)},
    "packbits": {"dtype": "u2", "serializer": PackBitsCodec(first_bit=0, last_bit=11, padding_encoding="last_byte")},
    "reshape": {"filters": ReshapeCodec(shape=(-1,))},
    "scale_offset": {"filters": ScaleOffset(offset=3, scale=0.5)},
    "sharding_indexed": {"shards": (24, 32), "compressors": ZstdCodec()},
    "transpose": {"filters": TransposeCodec(order=(1, 0))},
    "zstd": {"compressors": ZstdCodec(level=5, checksum=True)},
    "numcodecs.adler32": {"compressors": nc.Adler32()},
    "numcodecs.astype": {"filters": nc.AsType(encode_dtype="f8", decode_dtype="f4")},
    "numcodecs.bitround": {"filters": nc.BitRound(keepbits=9)},
    "numcodecs.blosc": {"compressors": nc.Blosc(cname="lz4", shuffle=1)},
    "numcodecs.bz2": {"compressors": nc.BZ2()},
    "numcodecs.crc32": {"compressors": nc.CRC32(location="end")},
    "numcodecs.crc32c": {"compressors": nc.CRC32C(location="start")},
    "numcodecs.delta": {"dtype": "i2", "filters": nc.Delta(dtype="i2")},
    "numcodecs.fixedscaleoffset": {"filters": nc.FixedScaleOffset(offset=1, scale=10, dtype="f4", astype="i2")},
    "numcodecs.fletcher32": {"compressors": nc.Fletcher32()},
    "numcodecs.gzip": {"compressors": nc.GZip(level=1)},
    "numcodecs.jenkins_lookup3": {"compressors": nc.JenkinsLookup3()},
    "numcodecs.lz4": {"compressors": nc.LZ4()},
    "numcodecs.lzma": {"compressors": nc.LZMA(preset=1)},
    "numcodecs.packbits": {"dtype": "?", "filters": nc.PackBits()},
    "numcodecs.pcodec": {"serializer": nc.PCodec(level=8)},
    "numcodecs.quantize": {"filters": nc.Quantize(digits=1, dtype="f4")},
    "numcodecs.shuffle": {"compressors": [nc.Shuffle(), nc.Zstd()]},
    "numcodecs.zfpy": {"serializer": nc.ZFPY(mode=4, tolerance=0.01)},
    "numcodecs.zlib": {"compressors": nc.Zlib(level=1)},
    "numcodecs.zstd": {"compressors": nc.Zstd(level=1)},
}
STRINGS = {"vlen-bytes", "vlen-utf8"}  # of which no device but the CPU has elements


def test_no_codec_is_forgotten() -> None:
    assert {*CHAINS, *STRINGS} >= {
        name for name in codec_names() if codec_class(name).__module__.startswith("gpuzarr.")
    }


@pytest.mark.parametrize("compressed", [False, True], ids=["alone", "compressed"])
@pytest.mark.parametrize("codec", CHAINS)
def test_every_codec(gpu: GpuDevice, codec: str, compressed: bool) -> None:
    options: dict[str, Any] = {"dtype": "f4", "compressors": None} | CHAINS[codec]
    if compressed and options["compressors"] is None:
        options["compressors"] = [ZstdCodec(), Crc32cCodec()]
    a = gpuzarr.create_array({}, shape=(50, 70), chunks=(12, 16), fill_value=0, **options)
    walk = np.cumsum(np.random.default_rng(3).normal(size=(50, 70)), axis=1) * 9
    values = walk > 0 if a.dtype.kind == "b" else np.abs(walk).round(1).astype(a.dtype)
    a[:, :60] = values[:, :60]
    there = a.to_device(gpu)
    for key in (Ellipsis, (slice(5, 40, 3), slice(60, 11, -2)), (7, 9)):
        assert gpu.download(there[key]).tobytes() == np.asarray(a[key]).tobytes()


def test_strings_stay_on_the_host() -> None:
    a = gpuzarr.create_array({}, shape=3, dtype="str")
    with pytest.raises(DeviceError, match="cpu"):
        a.to_device("emulated")[...]


@pytest.mark.skipif(not fixtures(), reason="set GPUZARR_NUMCODECS_FIXTURES to the fixture folder of numcodecs' sdist")
@pytest.mark.parametrize("path", fixtures(), ids=lambda p: f"{p.parts[-3]}-{p.parts[-2]}")
def test_numcodecs_fixtures(path: Path) -> None:
    config = json.loads(path.read_text())
    device = EmulatedDevice()
    for encoded in sorted(path.parent.glob("encoded.*.dat")):
        chunk = np.load(path.parents[1] / f"array.{encoded.name.split('.')[1]}.npy", allow_pickle=True)
        order = "F" if chunk.flags.f_contiguous and not chunk.flags.c_contiguous else "C"
        if chunk.dtype.kind not in "biufc" or not chunk.dtype.isnative:
            continue  # no GPU array has such elements
        try:
            chain = v2_chain(chunk.shape, chunk.dtype.str, [config], None, order)
            chain.decode(encoded.read_bytes())
        except GpuzarrError:
            continue  # not decoded here at all (`test_codec_v2` says which and why)
        check(chain, device, [encoded.read_bytes()] * 2)
