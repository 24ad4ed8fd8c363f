"""Runs a target in children that may die.

The parent forks a child for each batch. The child writes every input to memory that both share before it runs it, so
that whatever kills the child (or keeps it busy for ten seconds) leaves its input behind. What the child itself finds
wrong it tells at the end of its batch. Findings are files that `tests/corpus` can take as they are.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import resource
import select
import signal
import struct
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.target import Target

BATCH_SECONDS = 20.0
HANG = 10.0  # seconds of processor time for one input; of waiting, six times as many
ROOM = 1 << 30  # bytes of address space that a child may take beyond its parent's
GROWTH = 256 << 20  # bytes of memory that a child may come to use
SLOT = 1 << 20  # bytes of the largest input
MOST = 20  # findings of a target, after which it stops
_HEAD = struct.Struct("<QQ")  # inputs begun, size of the last


@dataclass
class Report:
    """What a run came to."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    tally: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, bytes]] = field(default_factory=list)  # what happened, and the input

    def __str__(self) -> str:
        rate = self.executions / max(self.seconds, 1e-9)
        counts = ", ".join(f"{count:,} {what}" for what, count in self.tally.most_common(6))
        figures = f"{self.executions:>12,} executions {rate:>10,.0f}/s {len(self.findings)} findings"
        return f"{self.name:16} {figures} ({counts})"


def fuzz(target: Target, seconds: float, seed: int = 0, most: int | None = None) -> Report:
    """Run `target` for so long, or for `most` executions."""
    target.prepare()
    report, deadline = Report(target.name), time.monotonic() + seconds
    start = time.monotonic()
    while len(report.findings) < MOST and (left := deadline - time.monotonic()) > 0:
        if most is not None and report.executions >= most:
            break
        enough = None if most is None else most - report.executions
        _batch(target, min(left, BATCH_SECONDS), seed, enough, report)
        seed += 1
    report.seconds = time.monotonic() - start
    return report


def replay(target: Target, inputs: list[bytes]) -> Report:
    """Run these inputs, each in a child of its own."""
    target.prepare()
    report, start = Report(target.name), time.monotonic()
    for data in inputs:
        target.generate = lambda _, data=data: data  # type: ignore[method-assign]
        _batch(target, HANG, 0, target.step, report)
    report.seconds = time.monotonic() - start
    return report


def save(report: Report, folder: Path) -> Iterator[Path]:
    """Write the findings; gives the files."""
    for what, data in report.findings:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{report.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(what)
        yield path


def _batch(target: Target, seconds: float, seed: int, most: int | None, report: Report) -> None:
    slot = mmap.mmap(-1, _HEAD.size + SLOT)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            answer = _work(target, seconds, seed, most, slot)
            with os.fdopen(writer, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
    os.close(writer)
    answer_text, hung = _listen(child, reader, slot)
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    begun, size = _HEAD.unpack_from(slot)
    last = slot[_HEAD.size : _HEAD.size + size]
    if hung:
        report.findings.append((f"took more than {HANG} s", last))
    elif os.WIFSIGNALED(status):
        report.findings.append((f"killed by {signal.Signals(os.WTERMSIG(status)).name}", last))
    elif os.WEXITSTATUS(status):
        report.findings.append(("the child failed outside of the target", last))
    if answer_text:
        answer = json.loads(answer_text)
        report.tally.update(answer["tally"])
        report.findings += [(what, bytes.fromhex(data)) for what, data in answer["findings"]]
    report.executions += begun * target.step


def _listen(child: int, reader: int, slot: mmap.mmap) -> tuple[str, bool]:
    """What the child says at its end, and whether it hangs."""
    parts: list[bytes] = []
    seen, since, used = -1, 0.0, 0.0
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while True:
            if select.select([pipe], [], [], 0.25)[0]:
                part = pipe.read(1 << 16)
                if not part:
                    return b"".join(parts).decode(), False
                parts.append(part)
            begun, _ = _HEAD.unpack_from(slot)
            if begun != seen:
                seen, since, used = begun, time.monotonic(), _processor_time(child)
            elif time.monotonic() - since > 6 * HANG or _processor_time(child) - used > HANG:
                return "", True


def _processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(target: Target, seconds: float, seed: int, most: int | None, slot: mmap.mmap) -> dict[str, object]:
    """In the child: run inputs until the time is up."""
    _limit_memory()
    rng, tally = Random(f"{target.name}/{seed}"), Counter[str]()
    findings: list[tuple[str, str]] = []
    generate, execute, pack = target.generate, target.execute, _HEAD.pack_into
    warnings.simplefilter("ignore")  # documents may well be odd enough to be warned about
    deadline, clock, begun = time.monotonic() + seconds, time.monotonic, 0
    limit = 2**62 if most is None else max(1, most // target.step)
    while begun < limit and (begun & 31 or clock() < deadline):
        data = generate(rng)
        begun += 1
        slot[_HEAD.size : _HEAD.size + len(data)] = data
        pack(slot, 0, begun, len(data))
        try:
            execute(data, tally)
        except BaseException:
            findings.append((traceback.format_exc(), data.hex()))
            if len(findings) >= MOST:
                break
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - _resident_at_start
    if grown > GROWTH:
        findings.append((f"memory grew by {grown >> 20} MiB", ""))
    return {"tally": tally, "findings": findings}


def _limit_memory() -> None:
    global _resident_at_start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    _resident_at_start = int(status["VmRSS"].split()[0]) << 10
    size = int(status["VmSize"].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


_resident_at_start = 0
