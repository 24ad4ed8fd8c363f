"""`gpuzarr demo`: write a realistic field in many ways, read it back whole and in slices, check and time it."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, positive
from gpuzarr.cli.printing import Column, Row, print_json, print_styled, print_table
from gpuzarr.cli.progress import progress
from gpuzarr.devices import get_device

REPEATS = 3  # of every read; the quickest counts
GRAIN = 32  # the edge of the field is a multiple of it


@dataclass(frozen=True)
class Case:
    """One way to store the field."""

    zarr_format: int
    codec: str
    sharded: bool

    @property
    def layout(self) -> str:
        """In a word."""
        return "sharded" if self.sharded else "plain"

    @property
    def name(self) -> str:
        """Name of the store."""
        return f"v{self.zarr_format}-{self.codec}-{self.layout}.zarr"


@dataclass(frozen=True)
class Result:
    """What one case took: GB (10^9 bytes of decoded data) a second, and milliseconds for three planes."""

    case: Case
    ratio: float
    write: float
    read: float
    slices: float
    equal: bool


COLUMNS = (
    *(Column(name) for name in ("format", "codec", "layout")),
    *(Column(name, right=True) for name in ("ratio", "write GB/s", "read GB/s", "slices ms", "equal")),
)
CODECS = ("none", "zstd", "blosc-lz4", "gzip")
CASES = [Case(f, codec, sharded) for f, sharded in ((2, False), (3, False), (3, True)) for codec in CODECS]


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "write a field in several formats, read it back, check and time it"
    parser = add_command(commands, "demo", run, summary, example="gpuzarr demo --size 16")
    parser.add_argument("--size", type=positive, default=64, metavar="MIB", help="size of the field (default: 64)")
    parser.add_argument("--path", help="keep the stores in this directory (default: a temporary one, removed)")
    parser.add_argument("--device", default="auto", help="where to decode (default: the best that works)")


def field(mebibytes: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A cube of float32 of about this size: waves of several lengths plus noise, with the resolution of an instrument.

    Always the same values for the same size.
    """
    edge = max(GRAIN, round((mebibytes * 2**18) ** (1 / 3) / GRAIN) * GRAIN)
    z, y, x = np.ogrid[0 : 1 : edge * 1j, 0 : 1 : edge * 1j, 0 : 1 : edge * 1j]
    rng = np.random.default_rng(20260101)
    cube = rng.standard_normal((edge, edge, edge), dtype=np.float32)
    cube *= 0.02
    for length in (1, 3, 7):
        wave = np.sin(2 * np.pi * length * (x + 0.3 * z)) * np.cos(2 * np.pi * length * (y - 0.2 * z))
        cube += (wave / length).astype(np.float32)
    np.round(cube * 4096, out=cube)
    cube /= 4096
    return cube


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr demo`."""
    data = field(arguments.size)
    device = get_device(arguments.device).name
    results = []
    with _directory(arguments.path) as directory, progress(not arguments.json, len(CASES)) as step:
        for case in CASES:
            step(case.name, 0)
            results.append(measure(case, data, directory / case.name, device))
            step(case.name, 1)
    if arguments.json:
        found = {"device": device, "shape": data.shape, "nbytes": data.nbytes}
        print_json(found | {"results": [asdict(result) for result in results]})
    else:
        _print(results, data, device, arguments.path)
    return 0 if all(result.equal for result in results) else 1


def measure(case: Case, data: np.ndarray[Any, Any], path: Path, device: str) -> Result:
    """Write the field as `case` says, read it back, compare and time it."""
    edge = data.shape[0]
    began = time.perf_counter()
    array = gpuzarr.create_array(
        store=path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=(edge // 4,) * 3,
        shards=(edge // 2,) * 3 if case.sharded else None,
        compressors=compressor(case),
        zarr_format=case.zarr_format,
        overwrite=True,
    )
    array[...] = data
    write = time.perf_counter() - began

    array = gpuzarr.open_array(path, mode="r", device=device)
    read, whole = _best(lambda: array[...])
    middle = [edge // 2, slice(None), slice(None)]
    planes = [tuple(np.roll(np.array(middle, dtype=object), axis)) for axis in range(3)]
    slices, cuts = _best(lambda: [array[plane] for plane in planes])
    equal = np.array_equal(_host(whole), data) and all(
        np.array_equal(_host(cut), data[plane]) for cut, plane in zip(cuts, planes, strict=True)
    )
    return Result(
        case,
        ratio=array.nbytes / int(array.nbytes_stored),
        write=data.nbytes / write / 1e9,
        read=data.nbytes / read / 1e9,
        slices=slices * 1e3,
        equal=equal,
    )


def compressor(case: Case) -> Any:
    """The `compressors` argument for `case`."""
    v2: dict[str, Any] = {
        "none": None,
        "zstd": {"id": "zstd", "level": 1},
        "blosc-lz4": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "gzip": {"id": "gzip", "level": 1},
    }
    v3: dict[str, Any] = {
        "none": None,
        "zstd": gpuzarr.codecs.ZstdCodec(level=1),
        "blosc-lz4": gpuzarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        "gzip": gpuzarr.codecs.GzipCodec(level=1),
    }
    return (v2 if case.zarr_format == 2 else v3)[case.codec]


def _best(read: Callable[[], Any]) -> tuple[float, Any]:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = read()
        times.append(time.perf_counter() - began)
    return min(times), result


def _host(array: Any) -> np.ndarray[Any, Any]:
    return array.get() if hasattr(array, "get") else np.asarray(array)  # CuPy refuses implicit conversion


@contextmanager
def _directory(path: str | None) -> Iterator[Path]:
    if path is not None:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="gpuzarr-demo-") as directory:
        yield Path(directory)


def _print(results: list[Result], data: np.ndarray[Any, Any], device: str, path: str | None) -> None:
    print_styled(f"{data.nbytes / 2**20:.0f} MiB of float32, {data.shape}, on {device}", "italic")
    rows = []
    for result in results:
        case = result.case
        numbers = [f"{n:.2f}" for n in (result.ratio, result.write, result.read)] + [f"{result.slices:.1f}"]
        cells = [f"v{case.zarr_format}", case.codec, case.layout, *numbers, "yes" if result.equal else "NO"]
        rows.append(Row(cells, "" if result.equal else "red"))
    print_table(COLUMNS, rows)
    if path is not None:
        print(f"The stores are in {path}.")
