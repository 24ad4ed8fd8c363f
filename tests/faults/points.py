"""Faults at file operations: the process is killed, or told of an error, at one operation after another.

    python -m tests.faults.points --points 20000

forks a child for every point, from a process that has everything loaded already. The child does what a scenario says
while the shim (`shim.c`, compiled here) counts its file operations and lets the Nth go wrong; the parent then looks
at what is on the disk. At every point:

- whatever is found is what was there before or what an undisturbed run makes, and can be read;
- where the child was told of no error, its work is there; where it was, the error is one of ours;
- `recover` brings the store to a clean `fsck`, changes nothing that a reader finds, and may itself be cut short;
- growing shows nothing but the fill value, and doing it again does it.

Exit status 1 where a point fails; its scenario, mode and number are printed, and `--only` runs it again.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpuzarr
from gpuzarr.errors import GpuzarrError
from gpuzarr.fsck import fsck
from gpuzarr.recover import recover
from gpuzarr.storage import LocalStore, ZipStore
from tests.faults.scenarios import FILL, SCENARIOS, Scenario, is_mixture, mend, opened, same, state

KILLS = {"kill before": 1, "kill after": 2, "kill in the middle": 3}
ERRORS = {"error": 4, "error from then on": 5}
SHORT = {"short write": 6}
CODES = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EDQUOT)


class Point(NamedTuple):
    """One fault. `again` is the operation of `recover` at which that is killed too, 0 for none."""

    scenario: str
    mode: str
    number: int
    code: int = 0
    again: int = 0


@dataclass
class Place:
    """A directory in which one scenario is played, and what there is to compare with."""

    scenario: Scenario
    directory: Path
    before: dict[str, Any]
    after: dict[str, Any]
    changes: int  # operations of an undisturbed run that change something
    operations: int  # and with those that read

    @property
    def root(self) -> Path:
        return self.directory / "work" / _name(self.scenario)

    def reset(self) -> None:
        shutil.rmtree(self.directory / "work", ignore_errors=True)
        shutil.copytree(self.directory / "template", self.directory / "work", symlinks=True)


def _name(scenario: Scenario) -> str:
    return "s.zip" if "archive" in scenario.name else "root"


class Shim:
    """The preloaded library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.faults_disarm.restype = ctypes.c_long

    def arm(self, directory: Path, number: int, what: int, code: int, *, reads: bool) -> None:
        self._library.faults_arm(os.fsencode(directory), ctypes.c_long(number), what, code, int(reads))

    def disarm(self) -> int:
        return int(self._library.faults_disarm())


def play(place: Place, act: Any, shim: Shim, number: int, what: int, code: int, *, reads: bool) -> tuple[str, int, str]:
    """Run `act` in a child; how it ended ("killed", "done", "error", "foreign"), its operations, and what it said."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        end, said = "done", ""
        try:
            shim.arm(place.directory / "work", number, what, code, reads=reads)
            try:
                act(place.root)
            finally:
                count = shim.disarm()
        except GpuzarrError as error:
            end, said = "error", repr(error)
        except BaseException:
            end, said = "foreign", traceback.format_exc()
        os.write(into, json.dumps([end, count, said]).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if answer:
        end, count, said = json.loads(answer)
        return end, count, said
    assert os.WIFSIGNALED(status), f"the child ended with status {status} and said nothing"
    return "killed", 0, ""


def prepared(scenario: Scenario, directory: Path, shim: Shim) -> Place:
    """A place for a scenario."""
    template = directory / "template"
    template.mkdir(parents=True)
    scenario.prepare(template / _name(scenario))
    place = Place(scenario, directory, {}, {}, 0, 0)
    place.before = state(template / _name(scenario))
    counts = []
    for reads in (False, True):
        place.reset()
        end, count, said = play(place, scenario.act, shim, 0, 0, 0, reads=reads)
        assert end == "done", said
        counts.append(count)
    place.after = state(place.root)
    place.changes, place.operations = counts
    return place


def points_of(place: Place, rng: random.Random) -> Iterator[Point]:
    """Every point of a scenario."""
    name = place.scenario.name
    for number in range(1, place.changes + 1):
        for mode in (*KILLS, *SHORT):
            yield Point(name, mode, number)
        yield Point(name, "kill before", number, again=rng.randrange(1, 12))
    for number in range(1, place.operations + 1):
        for code in CODES:
            for mode in ERRORS:
                yield Point(name, mode, number, code)


def check(place: Place, point: Point, shim: Shim) -> str | None:
    """Play one point; what is wrong, None where nothing is."""
    place.reset()
    what = (KILLS | ERRORS | SHORT)[point.mode]
    end, _, said = play(place, place.scenario.act, shim, point.number, what, point.code, reads=point.mode in ERRORS)
    if end == "foreign":
        return f"an exception that is not ours: {said}"
    if end == "error" and point.mode in SHORT:
        return f"a short write is no error, but: {said}"
    try:
        return _look(place, point, shim, end)
    except Exception:
        return traceback.format_exc()


def _look(place: Place, point: Point, shim: Shim, end: str) -> str | None:
    found = state(place.root)
    was, is_new = same(found, place.before), same(found, place.after)
    mixture = place.scenario.mixed and is_mixture(found, place.before, place.after)
    if not (was or is_new or mixture):
        return f"neither the old state nor the new one:\n{found}"
    if end == "done" and not is_new:
        return f"it returned, and what it did is not there:\n{found}"
    if point.again:
        play(place, mend, shim, point.again, KILLS["kill before"], 0, reads=False)
    if place.root.exists():
        wrong = _mended(place, found)
        if wrong:
            return wrong
    for path in place.scenario.grows:
        wrong = _grown(place.root, path)
        if wrong:
            return wrong
    if not place.scenario.grows and not is_new:
        place.scenario.act(place.root)
        if not same(state(place.root), place.after):
            return f"done again, it does not give the new state:\n{state(place.root)}"
    return None


def _mended(place: Place, found: dict[str, Any]) -> str | None:
    with opened(place.root) as store:
        list(recover(store if isinstance(store, LocalStore) else ZipStore(place.root, mode="a")))
        left = list(fsck(store, deep=True))
    if left:
        return f"after recover there is still {left}"
    if not same(state(place.root), found):
        return f"recover changed what is there:\n{state(place.root)}"
    rest = list((place.directory / "work").rglob(".gz-*"))
    return f"after recover there is still {rest}" if rest else None


def _grown(root: Path, path: str) -> str | None:
    z = gpuzarr.open_array(LocalStore(root), path=path)
    values = z[...]
    z.resize(47)
    want = np.concatenate([values, np.full(47 - len(values), FILL, "i4")])
    if not np.array_equal(z[...], want):
        return f"growing shows what is not there:\n{z[...]}"
    z.append(values)
    if not np.array_equal(gpuzarr.open_array(LocalStore(root), path=path)[...], np.concatenate([want, values])):
        return f"appending gives something else:\n{z[...]}"
    return None


def run(budget: int, seed: int, only: Point | None, names: str) -> int:
    """Play `budget` points, spread evenly over all that there are."""
    shim, rng = Shim(), random.Random(seed)
    gpuzarr.config.set({"threading.max_workers": 1, "array.lock_timeout": 20.0})
    failures, played = 0, Counter[str]()
    start = time.monotonic()
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gpuzarr-faults-", dir=fast) as directory:
        chosen = [each for each in SCENARIOS if names in each.name and (only is None or each.name == only.scenario)]
        places = {s.name: prepared(s, Path(directory) / str(i), shim) for i, s in enumerate(chosen)}
        points = [only] if only else [point for place in places.values() for point in points_of(place, rng)]
        total = len(points)
        if budget < total:
            points = rng.sample(points, budget)
        for i in range(budget if not only else 1):
            point = points[i % total]
            wrong = check(places[point.scenario], point, shim)
            played[point.mode] += 1
            if wrong:
                failures += 1
                say(f"FAILED {json.dumps(point)}\n{wrong}")
                if failures == 20:
                    break
    took = time.monotonic() - start
    say(json.dumps({"points": sum(played.values()), "of": total, "failures": failures, "seconds": round(took, 1)}))
    say(json.dumps(played))
    return 1 if failures else 0


def counted() -> dict[str, int]:
    """File operations that change something, by scenario, of an undisturbed run."""
    shim = Shim()
    gpuzarr.config.set({"threading.max_workers": 1})
    with tempfile.TemporaryDirectory() as directory:
        return {s.name: prepared(s, Path(directory) / str(i), shim).changes for i, s in enumerate(SCENARIOS)}


def say(line: str) -> None:
    """Print at once: a child that is forked later shall not print it again."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def compiled(directory: Path) -> Path | None:
    """The shim, compiled; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = directory / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill and errno points over all scenarios.")
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one point, as it was printed")
    parser.add_argument("--count", action="store_true", help="only count the operations of each scenario")
    parser.add_argument("--scenarios", default="", help="only those whose name has this in it")
    arguments = parser.parse_args()
    if "GPUZARR_FAULTS" not in os.environ:  # once more, with the shim before the C library
        with tempfile.TemporaryDirectory() as directory:
            library = compiled(Path(directory))
            if library is None:
                say("no C compiler here, or no Linux")
                return 2
            environment = {**os.environ, "LD_PRELOAD": str(library), "GPUZARR_FAULTS": "1"}
            command = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
            return subprocess.run(command, env=environment, check=False).returncode
    if arguments.count:
        say(json.dumps(counted()))
        return 0
    only = Point(*json.loads(arguments.only)) if arguments.only else None
    return run(arguments.points, arguments.seed, only, arguments.scenarios)


if __name__ == "__main__":
    sys.exit(main())
