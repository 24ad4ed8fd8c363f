"""Inputs for every kernel, good and bad, and how to run a kernel on the host.

`python -m tests.kernel_cases LIBRARY` holds a library of kernels, such as one that was built with sanitizers, to their
NumPy equals.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices import kernels
from gpuzarr.devices.columns import pack
from gpuzarr.devices.numpy_checksums import SEGMENT
from gpuzarr.devices.numpy_kernels import NUMPY_KERNELS
from gpuzarr.devices.numpy_numbers import REAL, type_code

Array = np.ndarray[Any, Any]
Rng = np.random.Generator


class Case(NamedTuple):
    """One launch. Arrays among the arguments are buffers, of exactly the size that the kernel may touch."""

    kernel: str
    items: int
    args: tuple[int | Array, ...]


class Outcome(NamedTuple):
    """What a launch did."""

    refused: int
    buffers: list[bytes]


def fresh(case: Case) -> Case:
    """With buffers of its own, each in a block of memory of exactly its size."""
    return case._replace(args=tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case.args))


def outcome(case: Case, refused: int) -> Outcome:
    return Outcome(refused, [a.tobytes() for a in case.args if isinstance(a, np.ndarray)])


def addressed(case: Case) -> list[int]:
    return [a.ctypes.data if isinstance(a, np.ndarray) else a for a in case.args]


def by_numpy(case: Case) -> Outcome:
    case = fresh(case)
    return outcome(case, NUMPY_KERNELS[case.kernel](case.items, *addressed(case)))


def by_library(library: ctypes.CDLL, case: Case, blocks: int = 1, threads: int = 1) -> Outcome:
    """Run on a grid, one thread after the other."""
    case, refused = fresh(case), ctypes.c_uint32(0)
    values = kernels.convert(case.kernel, tuple(addressed(case)), lambda a: a)
    given = [kernels.host_value(v) for v in (np.uint64(case.items), np.uint64(ctypes.addressof(refused)), *values)]
    function = getattr(library, case.kernel)
    function.restype = None
    for block in range(blocks):
        for thread in range(threads):
            library.gpuzarr_place(block, thread, blocks, threads)
            function(*given)
    library.gpuzarr_place(0, 0, 1, 1)
    return outcome(case, refused.value)


def octets(rng: Rng, n: int) -> Array:
    return rng.integers(0, 256, n, dtype=np.uint8)


def blocks_of(rng: Rng, rows: int, largest: int) -> tuple[Array, Array, Array, int, int]:
    """Sizes, and offsets in a source (anywhere) and in a destination (apart); the sizes of both areas."""
    sizes = rng.integers(0, largest, rows)
    gap = rng.choice([0, 0, 16, 5], rows)
    dest = np.cumsum(-(-sizes // 16) * 16 * (gap >= 0) + gap) - sizes
    dest -= dest % rng.choice([16, 16, 1])
    order = np.argsort(dest)
    dest = dest[order]
    sizes = np.minimum(sizes, np.append(np.diff(dest), sizes[-1:]))  # none reaches into the next
    area = int(sizes.max(initial=0)) + int(rng.integers(0, 100))
    source = rng.integers(0, area - sizes + 1)
    return sizes, source, dest, area, int((dest + sizes).max(initial=0))


def spoil(rng: Rng, table: Array, areas: tuple[int, int]) -> None:
    """Make a row or two ask for what lies outside."""
    for row in rng.integers(0, table.shape[1], 2):
        column = int(rng.integers(0, 3))
        table[column, row] = rng.choice(np.array([max(areas) + 1, 1 << 31, 1 << 63, (1 << 64) - 8], np.uint64))


def copy_case(rng: Rng, bad: bool) -> Case:
    rows = int(rng.integers(1, 9))
    sizes, source, dest, area, given = blocks_of(rng, rows, 700)
    table = np.array([source, dest, sizes], np.uint64)
    if bad:
        spoil(rng, table, (area, given))
    span = int(rng.integers(1, 40))
    args = (span, pack(*table), rows, octets(rng, area), area, octets(rng, given), given)
    return Case("copy_rows", rows * span, args)


def streams_case(rng: Rng, bad: bool) -> Case:
    rows, area, given = int(rng.integers(1, 9)), int(rng.integers(1, 500)), int(rng.integers(1, 500))
    sizes, capacities = rng.integers(0, area + 1, rows), rng.integers(0, given + 1, rows)
    table = [rng.integers(0, area - sizes + 1), sizes, rng.integers(0, given - capacities + 1), capacities]
    if bad:
        table[int(rng.integers(0, 4))][-1] = rng.choice([500, -1, 1 << 62])
    # Nothing is read or written in the areas, so they may be anywhere.
    args = (pack(*table), rows, 0, area, 0, given, np.zeros(44 * rows, np.uint8))
    return Case("list_streams", rows, args)


class Geometry(NamedTuple):
    """Parts of chunks of `area` bytes (whose start is 0 for every row), in a destination of `given` bytes."""

    table: Array
    unit: int
    steps: Array
    listed: bool
    lists: Array
    area: int
    given: int

    def case(self, rng: Rng, kernel: str, *told: int | Array, size: int) -> Case:
        """With what else the kernel takes before its source, which has `size` bytes."""
        rows, span, lists = self.table.shape[1], int(rng.integers(1, 40)), pack(*self.lists)
        parts = (span, pack(*self.table), rows, self.steps.shape[1], self.unit, self.steps)
        rest = (octets(rng, size), size, octets(rng, self.given), self.given)
        return Case(kernel, rows * span, (*parts, int(self.listed), lists, self.lists.shape[1], *told, *rest))


def parts_of(rng: Rng, bad: bool) -> Geometry:
    axes, rows, unit = int(rng.integers(0, 4)), int(rng.integers(1, 6)), int(rng.choice([1, 2, 4, 8, 16]))
    shape = rng.integers(1, 6, axes)  # of each row's own place in the destination
    strides = np.array([int(np.prod(shape[a + 1 :], dtype=np.int64)) * unit for a in range(axes)], np.int64)
    place = int(np.prod(shape, dtype=np.int64)) * unit
    counts = rng.integers(0 if rng.random() < 0.1 else 1, shape[:, None] + 1, (axes, rows)).reshape(axes, rows)
    backwards = rng.random(axes) < 0.3
    source_steps = rng.integers(-2, 3, axes) * unit
    reach = int((np.abs(source_steps) * (shape - 1)).sum())
    area = 2 * reach + unit + int(rng.integers(0, 50))
    source = rng.integers(0, 3, rows) * unit + reach
    source = np.minimum(source, (area - unit - reach) // unit * unit + reach % unit)
    dest = np.arange(rows) * place + ((counts - 1) * strides[:, None] * backwards[:, None]).sum(axis=0)
    steps = np.array([source_steps, np.where(backwards, -strides, strides)], np.int64)
    columns = [source[None], np.maximum(dest, 0)[None], counts]
    lists = np.zeros((2, 0), np.int64)
    listed = bool(axes and rng.random() < 0.5)
    if listed:  # the first axis, by a list for each row
        starts = np.full((axes, rows), -1)
        starts[0] = np.arange(rows) * shape[0]
        offsets = np.tile(rng.permutation(int(shape[0])), rows)
        lists = np.array([offsets * abs(source_steps[0]), offsets * strides[0]], np.int64)
        columns = [source[None], (np.arange(rows) * place)[None], counts, starts]
        steps = np.array([source_steps, strides], np.int64)
    table = np.vstack(columns).astype(np.int64)
    given = rows * place
    if bad:
        column = int(rng.integers(0, table.shape[0]))
        table[column, 0] = rng.choice([-1 - unit, area + given + unit, 1 << 62, -(1 << 62), 1 << 40])
        if column >= 2 + axes:
            table[column, 0] = lists.shape[1]
    return Geometry(table, unit, steps, listed, lists, area, given)


def stretches_of(rng: Rng) -> Geometry:
    """Parts that are whole chunks, one after another."""
    unit, rows, count = int(rng.choice([1, 2, 4, 8, 16])), int(rng.integers(1, 5)), int(rng.integers(1, 70))
    table = np.array([np.zeros(rows), np.arange(rows) * count * unit, np.full(rows, count)]).astype(np.int64)
    steps, lists = np.full((2, 1), unit, np.int64), np.zeros((2, 0), np.int64)
    return Geometry(table, unit, steps, False, lists, count * unit, rows * count * unit)


def parts_case(rng: Rng, bad: bool) -> Case:
    return (parts := parts_of(rng, bad)).case(rng, "scatter_parts", size=parts.area)


def filtered_case(rng: Rng, bad: bool) -> Case:
    amiss = bad and rng.random() < 0.5  # it is a part that asks for what lies outside
    parts = parts_of(rng, amiss) if amiss or rng.random() < 0.5 else stretches_of(rng)
    later = int(rng.choice([0, 4, 8, int(rng.integers(0, 32))]))  # than at a multiple of the unit, which need not be
    rows, chunk = parts.table.shape[1], -(-(parts.area + later) // 8) * 8
    start = np.arange(rows) * (chunk + int(rng.choice([0, 16 - chunk % 16, 5])))
    block = rng.choice([chunk, max(1, chunk // 2), 64, 128, 256, 48, 100, 7], rows)
    typesize = rng.choice([1, 2, 4, 8, 16, 3, 12, 255, int(rng.choice([2, 4, 8]))], rows)
    layouts = np.array([start, block, typesize, rng.integers(0, 3, rows), rng.choice([1, 1, 2, 4, 8], rows)], np.uint64)
    size = int(start[-1]) + chunk + int(rng.integers(0, 9))
    parts.table[0] += start + later
    if bad and not amiss:
        column = int(rng.integers(0, 5))
        wrong = [size - chunk + 1, 1 << 63, (1 << 64) - 8], [0], [0], [3, 1 << 40], [0, 3, 16, 1 << 32]
        layouts[column, int(rng.integers(rows))] = rng.choice(np.array(wrong[column], np.uint64))
    return parts.case(rng, "scatter_filtered", pack(*layouts), chunk, size=size)


def points_case(rng: Rng, bad: bool) -> Case:
    points, pieces, unit = int(rng.integers(1, 50)), int(rng.integers(1, 4)), int(rng.choice([1, 2, 4, 8, 16]))
    size = pieces * unit
    dests = rng.permutation(points).astype(np.int64) * size + size
    sources = rng.integers(0, 30, points).astype(np.int64) * unit
    area, given = (30 + pieces) * unit, (points + 1) * size
    if bad:
        sources[0] = rng.choice([-unit, area, area - size + unit, 1 << 62, -(1 << 63), 1])
        dests[-1] = rng.choice([-unit, given, 1 << 62, -(1 << 63)])
    args = (points, pieces, unit, pack(sources, dests), octets(rng, area), area, octets(rng, given), given)
    return Case("scatter_points", points * pieces, args)


def byteswap_case(rng: Rng, bad: bool) -> Case:
    nbytes, width = int(rng.integers(0, 400)), 3 if bad else int(rng.choice([2, 4, 8]))
    return Case("byteswap", -(-nbytes // 16), (nbytes, width, octets(rng, nbytes), octets(rng, nbytes)))


INTEGERS = [np.dtype(f"{order}{kind}{size}") for kind in "ui" for size in (1, 2, 4, 8) for order in "<>"]
REALS = [np.dtype(f"{order}f{size}") for size in (2, 4, 8) for order in "<>"]
NUMBERS = [np.dtype(bool), *INTEGERS, *REALS]


def chunks_of(rng: Rng, rows: int, stride: int, count: int, dtype: Any, spread: int = 100) -> Array:
    """Rows of numbers of a type, edge values among them, a stride apart."""
    dtype = np.dtype(dtype)
    area = octets(rng, rows * stride)
    for row in range(rows):
        place = area[row * stride :][: count * dtype.itemsize].view(dtype)
        if dtype.kind == "f":
            with np.errstate(all="ignore"):
                place[:] = (rng.normal(size=count) * 10.0 ** rng.integers(-9, 30)).round(int(rng.integers(0, 9)))
                edges = np.array([0.0, -0.0, -0.5, 1, 255, 65504, 65519.99, 2**31, 2**63, -(2.0**63), 1e-40, 6e-8])
                place[:: spread + 1] = rng.choice(edges, len(place[:: spread + 1]))
            if rng.random() < 0.5:
                place[::spread] = rng.choice([np.nan, -np.nan, np.inf, -np.inf], len(place[::spread]))
        elif dtype.kind == "b":
            area[row * stride :][:count] = rng.integers(0, 3 if rng.random() < 0.1 else 2, count)
        elif rng.random() < 0.5:
            place[:] = rng.integers(0, 100, count)
    return area


def layout(rng: Rng, count: int, dtype: Any) -> int:
    """A stride for rows of so many numbers."""
    size = np.dtype(dtype).itemsize
    return (count + int(rng.integers(0, 9))) * size


def code(dtype: Any) -> int:
    found = type_code(np.dtype(dtype))
    assert found is not None
    return found


def bits(value: float) -> int:
    return int(np.float64(value).view(np.uint64))


def convert_case(rng: Rng, bad: bool) -> Case:
    source, dest = NUMBERS[rng.integers(len(NUMBERS))], NUMBERS[rng.integers(len(NUMBERS))]
    rows, count, span = int(rng.integers(1, 4)), int(rng.integers(0, 90)), int(rng.integers(1, 40))
    there, here = layout(rng, count, source), layout(rng, count, dest)
    data = chunks_of(rng, rows, there, count, source, 13)
    arithmetic, scale, offset = 0, 0, 0
    if rng.random() < 0.7:
        if source.kind != "f" and rng.random() < 0.5:
            arithmetic = 1
            scale, offset = (int(v) for v in rng.integers(0, 1 << 64, 2, dtype=np.uint64))
            if rng.random() < 0.8:
                scale = (1, 2, 7, (1 << 64) - 1)[rng.integers(4)]
                offset = (0, 3, 1000, (1 << 64) - 5)[rng.integers(4)]
        else:
            arithmetic = source.itemsize if source.kind == "f" else 8
            scale, offset = (
                bits(rng.choice(np.array(values, f"f{arithmetic}")))
                for values in ([0.1, -3.0, 10, 1e-3], [0, -0.0, 273.15, -1e4])
            )
    pairs = int(rng.integers(0, 3))
    native = source.newbyteorder("=")
    keys = [bits(k) for k in rng.choice([np.nan, 0.0, 1.0, 255.0], pairs)]
    if native.kind != "f":
        keys = [int(np.array([k]).astype(np.int64).view(np.uint64)[0]) for k in rng.choice([0, 1, -1], pairs)]
    values = np.zeros(pairs, np.uint64)
    values[:] = rng.integers(0, 2 if dest.kind == "b" else 1 << (8 * min(dest.itemsize, 7)), pairs)
    mapping = np.array([*keys, *values.tolist()], np.uint64)
    rule = int(rng.integers(0, 3))
    source_type = code(source)
    if bad:
        wrong = (source_type ^ 7, arithmetic, rule), (source_type, 5, rule), (source_type, 0, 3)
        source_type, arithmetic, rule = wrong[int(rng.integers(0, 3))]
    there_at, here_at = (data, data.size, there, source_type), (octets(rng, rows * here), rows * here, here, code(dest))
    args = (span, rows, count, *there_at, arithmetic, scale, offset, rule, mapping, pairs, *here_at)
    return Case("convert_rows", rows * span, (*args, np.zeros(rows, np.uint32)))


def unpack_case(rng: Rng, bad: bool) -> Case:
    dest = [np.dtype(bool), *INTEGERS][rng.integers(len(INTEGERS) + 1)]
    most = 1 if dest.kind == "b" else 8 * dest.itemsize
    width = int(rng.integers(1, most + 1))
    first, backwards = int(rng.integers(0, most - width + 1)), int(rng.integers(0, 2))
    rows, count, span = int(rng.integers(1, 4)), int(rng.integers(0, 90)), int(rng.integers(1, 40))
    head, tail = int(rng.integers(0, 2)), int(rng.integers(0, 2))
    nbytes = head + -(-count * width // 8) + tail
    there, here = nbytes + int(rng.integers(0, 5)), layout(rng, count, dest)
    data = octets(rng, rows * there)
    padding_at = 0 if head else nbytes - 1 if tail else 1 << 63
    padding = int(data[padding_at]) if data.size and padding_at < nbytes and rng.random() < 0.7 else 300
    if bad:
        width = int(rng.choice([0, 65])) if nbytes else 0
    out = (octets(rng, rows * here), rows * here, here, code(dest), np.zeros(rows, np.uint32))
    args = (span, rows, count, data, data.size, there, nbytes, head, padding_at, padding, width, first, backwards, *out)
    return Case("unpack_rows", rows * span, args)


def delta_cases(rng: Rng, bad: bool) -> Iterator[Case]:
    rows, count, segment = int(rng.integers(1, 5)), int(rng.integers(0, 300)), int(rng.integers(1, 80))
    segments = max(1, -(-count // segment))
    there, here = INTEGERS[rng.integers(len(INTEGERS))], INTEGERS[rng.integers(len(INTEGERS))]
    step, way = layout(rng, count, there), layout(rng, count, here)
    source, dest = octets(rng, rows * step), octets(rng, rows * way)
    sums = rng.integers(0, 1 << 64, rows * segments, dtype=np.uint64)
    kind, result = code(there), code(here)
    if bad:
        kind, result = (5, result) if rng.random() < 0.5 else (kind, 300)
    items = rows * segments
    taken = (count, segment, segments, source, source.size, step, kind)
    if not bad or kind == 5:
        yield Case("delta_sums", items, (*taken, sums))
    if bad:
        yield Case("delta_running", items, (*taken, sums, dest, dest.size, way, result))
        return
    yield Case("delta_starts", rows, (segments, sums))
    summed = by_numpy(Case("delta_sums", items, (*taken, sums)))
    totals = np.frombuffer(summed.buffers[1], np.uint64)
    started = by_numpy(Case("delta_starts", rows, (segments, totals)))
    starts = np.frombuffer(started.buffers[0], np.uint64)
    yield Case("delta_running", items, (*taken, starts, dest, dest.size, way, result))


def floats_case(rng: Rng, bad: bool) -> Case:
    rows, count, dtype = int(rng.integers(1, 5)), int(rng.integers(0, 300)), REALS[rng.integers(len(REALS))]
    step, way = layout(rng, count, dtype), layout(rng, count, dtype)
    source, dest = chunks_of(rng, rows, step, count, dtype), octets(rng, rows * way)
    args = (count, code(dtype) ^ (REAL if bad else 0), source, source.size, step, dest, dest.size, way)
    return Case("delta_floats", rows, (*args, np.zeros(rows, np.uint32)))


def ranges(rng: Rng, bad: bool) -> tuple[Array, int, int]:
    """A table of ranges, the bytes that they lie in, and segments of the longest."""
    rows, area = int(rng.integers(1, 6)), 5000
    sizes = rng.choice([0, 1, 7, 8, 31, 32, 33, 1023, 1024, 1025, 2048, 4999, int(rng.integers(0, area))], rows)
    table = np.array([rng.integers(0, area - sizes + 1), sizes], np.uint64)
    span = -(-int(sizes.max()) // SEGMENT) + int(rng.integers(1, 3))
    if bad:
        table[rng.integers(0, 2), 0] = rng.choice(np.array([area + 1, 1 << 50, (1 << 64) - 4], np.uint64))
    return table, area, span


def checksum_cases(rng: Rng, bad: bool) -> Iterator[Case]:
    for kernel, dtype, width in (("crc32c_rows", "u4", 1), ("crc32_rows", "u4", 1), ("adler32_rows", "u8", 2)):
        table, area, span = ranges(rng, bad)
        rows = table.shape[1]
        data = octets(rng, area) if rng.random() < 0.8 else np.full(area, 255, np.uint8)
        yield Case(kernel, rows * span, (span, pack(*table), rows, data, area, np.zeros(rows * width, dtype)))
    table, area, _ = ranges(rng, bad)
    rows = table.shape[1]
    yield Case("xxh64_rows", rows, (pack(*table), rows, octets(rng, area), area, np.zeros(rows, np.uint64)))


def cases(seed: int) -> Iterator[Case]:
    """One of each kind, good ones for even seeds."""
    rng, bad = np.random.default_rng(seed), bool(seed % 2)
    moving = (copy_case, streams_case, parts_case, points_case, *[filtered_case] * 4)
    for make in (*moving, byteswap_case, floats_case, unpack_case):
        yield make(rng, bad)
    for _ in range(5):  # there are many pairs of types
        yield convert_case(rng, bad)
    yield from delta_cases(rng, bad)
    yield from checksum_cases(rng, bad)


def differences(library: ctypes.CDLL, seeds: range) -> list[str]:
    """Cases in which the library does not do what the NumPy equal does, on a grid of one thread and on one of many."""
    found = []
    for seed in seeds:
        for case in cases(seed):
            wanted = by_numpy(case)
            for blocks, threads in ((1, 1), (3, 5)):
                if by_library(library, case, blocks, threads) != wanted:
                    found.append(f"{case.kernel}, seed {seed}, grid {blocks} x {threads}")
    return found


if __name__ == "__main__":
    wrong = differences(ctypes.CDLL(sys.argv[1]), range(int(sys.argv[2])))
    sys.exit("\n".join(wrong) or 0)
