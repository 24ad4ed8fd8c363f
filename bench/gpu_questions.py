"""Questions about nvCOMP that only a GPU answers: `python bench/gpu_questions.py OUT.json [--device cuda] [--danger]`.

Each asks nvCOMP to decode streams that the documentation says little about, where the answer decides what gpuzarr may
send to the GPU (`kernels/README.md`). An answer is the statuses, the sizes, and how many streams decoded to the right
bytes. Streams are placed at odd addresses, as Zarr's lie. What no documentation promises is asked in a process of its
own, which may hang or die of it. `--danger` asks about damaged streams instead, which may take the GPU down.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpuzarr.codecs.engines.gpu import engine_for
from gpuzarr.codecs.engines.nvcomp import list_bytes, results, unpack_results
from gpuzarr.devices import columns, get_device, launches
from gpuzarr.devices.launches import Area

SIZES = (1, 2, 15, 64, 4095, 65536, 131072, 131073, 1 << 20, 3_000_001)
BLOCK = 128 << 10


@dataclass
class Question:
    """Streams of one format, and what they should decode to."""

    name: str
    format: str
    streams: list[bytes]
    plains: list[bytes]
    shift: int = 0  # of every stream from a multiple of 16
    slack: int = 0  # bytes of room beyond the decoded size
    answer: dict[str, Any] = field(default_factory=dict)


def walk(nbytes: int) -> bytes:
    """A random walk of int32: compressible, not trivial, the same every time."""
    steps = np.random.default_rng(nbytes).integers(-2, 3, nbytes // 4 + 1)
    return np.cumsum(steps).astype("<i4").tobytes()[:nbytes]


def zstd(data: bytes, level: int = 3, checksum: bool = False) -> bytes:
    """One frame with its size, as numcodecs writes it."""
    import numcodecs

    return bytes(numcodecs.Zstd(level, checksum).encode(data))


def raw_frame(data: bytes, block: int, sized: bool) -> bytes:
    """A Zstd frame of raw blocks of this length, with or without the size of its content."""
    head = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data)) if sized else struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3)
    parts = [data[i : i + block] for i in range(0, len(data), block)]
    blocks = [int((i == len(parts) - 1) | len(p) << 3).to_bytes(3, "little") + p for i, p in enumerate(parts)]
    return head + b"".join(blocks)


def lz4(data: bytes) -> bytes:
    """A block without the size that numcodecs puts before it."""
    import numcodecs

    return bytes(numcodecs.LZ4().encode(data))[4:]


def gzip(data: bytes) -> bytes:
    """One member, as numcodecs writes it."""
    import numcodecs

    return bytes(numcodecs.GZip(5).encode(data))


def deflate(data: bytes) -> bytes:
    """A zlib stream without its header and its checksum."""
    return zlib.compress(data, 6)[2:-4]


def snappy(data: bytes) -> bytes:
    """Literals only."""
    length, rest = b"", len(data)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    parts = [data[i : i + 60] for i in range(0, len(data), 60)]
    return length + bytes([rest]) + b"".join(bytes([(len(p) - 1) << 2]) + p for p in parts)


def sound() -> list[Question]:
    """What every decoder should be able to do."""
    many, two = [walk(n) for n in SIZES], [walk(n) for n in (1000, 300_000)]
    asked = [Question(f"zstd level {n}", "zstd", [zstd(d, n) for d in many], many, 1) for n in (-5, 1, 3, 9)]
    asked += [Question(f"zstd level {n}", "zstd", [zstd(d, n) for d in many[:9]], many[:9]) for n in (19, 22)]
    asked.append(Question("zstd of blocks of 512 bytes", "zstd", [raw_frame(d, 512, sized=True) for d in two], two))
    for shift in (0, 1, 3, 5):
        asked.append(Question(f"lz4 shifted by {shift}", "lz4", [lz4(d) for d in many], many, shift))
    asked.append(Question("lz4 with room to spare", "lz4", [lz4(d) for d in many], many, slack=100))
    asked.append(Question("snappy shifted by 1", "snappy", [snappy(d) for d in many], many, 1))
    for shift in (0, 4):
        asked.append(Question(f"deflate shifted by {shift}", "deflate", [deflate(d) for d in many], many, shift))
    asked.append(Question("gzip shifted by 3", "gzip", [gzip(d) for d in many], many, 3))
    return asked


def odd() -> list[Question]:
    """Legal streams that a decoder may refuse, or not be made for."""
    data = walk(300_000)
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"abcd"
    member = gzip(data)
    streams = {
        "zstd with a checksum": zstd(data, 3, True),
        "zstd without its size": raw_frame(data, BLOCK, sized=False),
        "zstd of two frames": zstd(data[:500]) + zstd(data[500:]),
        "zstd behind a skippable frame": skippable + zstd(data),
        "zstd before a skippable frame": zstd(data) + skippable,
        "deflate with its Adler-32": zlib.compress(data, 6)[2:],
        "gzip with a file name": member[:3] + b"\x08" + member[4:10] + b"name.bin\0" + member[10:],
    }
    return [Question(name, name.partition(" ")[0], [stream], [data]) for name, stream in streams.items()]


def dangerous() -> list[Question]:
    """Damaged streams, which gpuzarr's checks are there to stop; behaviour is not defined."""
    data, asked = walk(300_000), []
    for name, encode in (("zstd", zstd), ("deflate", deflate), ("gzip", gzip), ("lz4", lz4), ("snappy", snappy)):
        good = encode(data)
        for at in (len(good) // 3, len(good) // 2):
            bad = good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :]
            asked.append(Question(f"{name}, byte {at} flipped", name, [bad], [data]))
        asked.append(Question(f"{name}, cut short", name, [good[:-100]], [data]))
    wrong = [gzip(data)[:-8] + bytes(4) + gzip(data)[-4:]]
    asked.append(Question("gzip with a wrong CRC-32", "gzip", wrong, [data]))
    asked.append(Question("deflate shifted by 1", "deflate", [deflate(data)], [data], 1))
    return asked


def ask(question: Question, device: Any) -> None:
    """Decode the streams as one batch on one lane, and write down what came of it."""
    device.run(lambda _, lane: _ask(question, device, lane), 1)


def _ask(question: Question, device: Any, lane: Any) -> None:
    count, align = len(question.streams), 16
    room = [-(-len(s) // align) * align + align for s in question.streams]
    starts = np.cumsum([0, *room[:-1]]) + question.shift
    host = np.zeros(sum(room) + align, np.uint8)
    for start, stream in zip(starts.tolist(), question.streams, strict=True):
        host[start : start + len(stream)] = np.frombuffer(stream, np.uint8)
    capacity = np.array([len(p) + question.slack for p in question.plains], np.int64)
    places = np.cumsum([0, *capacity[:-1] + 1]) + 1  # odd addresses of the output too
    source, dest = lane.area("source", host.size), lane.area("dest", int(capacity.sum()) + 2 * count)
    device.copy_in(device.address(source), host, lane)
    largest, total = int(capacity.max()), int(capacity.sum())
    scratch = device.nvcomp.temp_size(question.format, count, largest, total)
    temp = lane.area("temp", max(1, scratch))
    sizes = np.array([len(s) for s in question.streams])
    listed, part = lane.area("streams", list_bytes(count)), results(count)
    areas = [Area(device.address(area), area.nbytes) for area in (source, dest)]
    launches.list_streams(device, lane, columns.send(lane, starts, sizes, places, capacity), *areas, listed)
    pointer, at = int(getattr(lane.stream, "ptr", lane.stream)), device.address(listed)
    device.nvcomp.decompress(question.format, count, at, largest, total, device.address(temp), scratch, pointer)
    found, decoded = device.pinned(part.stop - part.start), device.pinned(dest.nbytes)
    device.copy_out(at + part.start, found, lane)
    device.copy_out(device.address(dest), decoded, lane)
    device.wait(lane)
    actual, statuses = unpack_results(found, count)
    equal = [
        decoded[p : p + len(plain)].tobytes() == plain
        for p, plain in zip(places.tolist(), question.plains, strict=True)
    ]
    question.answer = {
        "streams": count,
        "equal": sum(equal),
        "statuses": sorted({int(s) for s in statuses}),
        "sizes_right": sum(int(a) == len(p) for a, p in zip(actual, question.plains, strict=True)),
        "scratch": scratch,
    }


def answers(asked: list[Question], device: Any) -> dict[str, Any]:
    """Every question's answer, printed as it comes."""
    found = {}
    for question in asked:
        try:
            ask(question, device)
        except Exception as error:  # noqa: BLE001 - a refusal is an answer
            question.answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        found[question.name] = question.answer
        print(f"{question.name:<36} {json.dumps(question.answer)}", flush=True)
    return found


def alone(number: int, args: Any) -> Any:
    """The answer to one question, from a process that may die of it."""
    command = [sys.executable, __file__, "-", "--device", args.device, "--one", str(number)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.patience, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {args.patience} s"}
    lines = [x for x in done.stdout.splitlines() if x.startswith("{")]
    return json.loads(lines[-1]) if lines else {"error": f"exit status {done.returncode}: {done.stderr[-300:]}"}


def main(argv: list[str] | None = None) -> int:
    """Ask, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", help="JSON file; - for none")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--danger", action="store_true")
    parser.add_argument("--patience", type=float, default=20, help="seconds for one that is asked alone")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    device = prepared(args.device)
    if args.one is not None:
        question = [*odd(), *dangerous()][args.one]
        answers([question], device)
        print(json.dumps(question.answer))
        return 0
    found: dict[str, Any] = {"nvcomp": list(device.nvcomp.version), "alignments": {}}
    for name in ("zstd", "lz4", "gzip", "deflate", "snappy"):
        found["alignments"][name] = list(device.nvcomp.alignment(name))
    found["answers"] = {} if args.danger else answers(sound(), device)
    first = len(odd()) if args.danger else 0
    for number, question in enumerate(dangerous() if args.danger else odd(), first):
        write(args.out, found)  # whatever becomes of the next one
        found["answers"][question.name] = alone(number, args)
        print(f"{question.name:<36} {json.dumps(found['answers'][question.name])}", flush=True)
    write(args.out, found)
    return 0


def write(path: str, found: dict[str, Any]) -> None:
    """The answers so far."""
    if path != "-":
        Path(path).write_text(json.dumps(found, indent=1))


def prepared(name: str) -> Any:
    """The device, with its codec library loaded."""
    import gpuzarr

    device: Any = get_device(name)
    array = gpuzarr.create_array({}, shape=4, dtype="f4")
    engine_for(array._stored.chain, device)
    return device


if __name__ == "__main__":
    sys.exit(main())
