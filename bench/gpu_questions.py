"""Questions about nvCOMP that only a GPU answers: `python bench/gpu_questions.py OUT.json [--device cuda] [--danger]`.

Each asks nvCOMP to decode streams that the documentation says little about, where the answer decides what gpuzarr may
send to the GPU (`kernels/README.md`). An answer is the statuses, the sizes, and how many streams decoded to the right
bytes. Streams are placed at odd addresses, as Zarr's lie. All are asked in other processes, which may hang or die of
it: the sound ones one after another, and whatever comes behind one that got no answer in a new process; what no
documentation promises, each in a process of its own. `--danger` asks about damaged streams instead, which may take the
GPU down. Answers are written as they come.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from gpu_batch import Batch, prepared
from gpu_streams import Question, dangerous, odd, sound

FORMATS = ("zstd", "lz4", "gzip", "deflate", "snappy")
START = 40  # seconds more than the patience for the first answer of a process, which must load everything


def ask(question: Question, device: Any) -> dict[str, Any]:
    """Decode the streams as one batch on one lane; what came of it."""
    found: list[dict[str, Any]] = []

    def task(_: int, lane: Any) -> None:
        sizes = [len(plain) for plain in question.plains]
        batch = Batch(device, lane, question.format, question.streams, sizes, question.shift, question.slack)
        batch.decode()
        actual, statuses, decoded = batch.found()
        equal = [d == plain for d, plain in zip(decoded, question.plains, strict=True)]
        found.append({
            "streams": len(sizes), "equal": sum(equal), "statuses": sorted(set(statuses)),
            "sizes_right": sum(a == n for a, n in zip(actual, sizes, strict=True)), "scratch": batch.scratch,
        })  # fmt: skip

    try:
        device.run(task, 1)
    except Exception as error:  # noqa: BLE001 - a refusal is an answer
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return found[0]


def about(device: Any) -> dict[str, Any]:
    """What nvCOMP says of itself."""
    alignments = {name: list(device.nvcomp.alignment(name)) for name in FORMATS}
    return {"nvcomp": list(device.nvcomp.version), "alignments": alignments}


def answer(kind: str, first: int, alone: bool, device: Any) -> None:
    """In the other process: print an answer a line, as JSON, from question `first` on. First of all, what nvCOMP says
    of itself."""
    print(json.dumps(about(device)), flush=True)
    asked = KINDS[kind]()
    for question in asked[first : first + 1] if alone else asked[first:]:
        print(json.dumps(ask(question, device)), flush=True)


class Child:
    """Another process that answers questions of a kind, from one on."""

    def __init__(self, kind: str, first: int, alone: bool, device: str) -> None:
        command = [sys.executable, __file__, "-", "--device", device, "--child", kind, str(first), str(int(alone))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said = ""  # that is no answer: the reason of its end, perhaps
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next(self, patience: float) -> dict[str, Any]:
        """What it says next; an error where it ends or takes too long."""
        while True:
            try:
                line = self._lines.get(timeout=patience)
            except queue.Empty:
                return {"error": f"no answer in {patience:.0f} s"}
            if line is None:
                return {"error": f"exit status {self._process.wait()}: {self._said[-300:]}"}
            if line.startswith("{"):
                return dict(json.loads(line))
            self._said += line

    def end(self) -> None:
        """Stop it, without waiting for one that a driver holds."""
        self._process.kill()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            print("a process that was killed is still there")


def interview(kind: str, alone: bool, args: Any, found: dict[str, Any]) -> None:
    """All answers to the questions of a kind; none where a process cannot even begin to answer."""
    left = list(enumerate(KINDS[kind]()))
    while left:
        child = Child(kind, left[0][0], alone, args.device)
        said = child.next(START + args.patience)
        reply: dict[str, Any] = {}
        found |= said
        while left and "error" not in said and not ended(reply) and not (alone and reply):
            reply = child.next(args.patience)
            name = left.pop(0)[1].name
            found["answers"][name] = reply
            print(f"{name:<36} {json.dumps(reply)}", flush=True)
            write(args.out, found)
        child.end()
        if "error" in said:
            print(said["error"])
            return


def ended(reply: dict[str, Any]) -> bool:
    """Whether the process that gave this reply is of no more use: it is gone, or CUDA fails in it."""
    error = reply.get("error", "")
    return error.startswith(("no answer", "exit status")) or "lost for this process" in error


KINDS = {"sound": sound, "odd": odd, "danger": dangerous}


def write(path: str, found: dict[str, Any]) -> None:
    """The answers so far."""
    if path != "-":
        Path(path).write_text(json.dumps(found, indent=1))


def main(argv: list[str] | None = None) -> int:
    """Ask, print, write; 0 where there was somebody to ask."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", help="JSON file; - for none")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--danger", action="store_true")
    parser.add_argument("--patience", type=float, default=20, help="seconds for an answer")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "FIRST", "ALONE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        kind, first, alone = args.child
        answer(kind, int(first), alone == "1", prepared(args.device))
        return 0
    found: dict[str, Any] = {"answers": {}}
    for kind, alone in (("danger", True),) if args.danger else (("sound", False), ("odd", True)):
        interview(kind, alone, args, found)
    write(args.out, found)
    return 1 if "error" in found else 0


if __name__ == "__main__":
    sys.exit(main())
