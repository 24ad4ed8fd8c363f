"""What gpuzarr and zarr-python do with the same damaged, hostile or interrupted stores.

    python bench/safety.py

runs every case with both libraries, each in processes of its own, and prints a Markdown table. Both must be
installed; cases are written once, in the API that they share. A row says what happened, and "ok" only where the
library kept the data or refused them with an error of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Outcome = tuple[bool, str]  # whether it is as it should be, and what happened
LIBRARIES = ("zarr", "gpuzarr")
ROUNDS = 60
PLAIN = {"name": "bytes", "configuration": {"endian": "little"}}
ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
WRITES = os.O_WRONLY | os.O_RDWR
CHANGES = frozenset({"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate"})


def document(shape: int, chunk: int, *codecs: Any, dtype: str = "int32") -> bytes:
    """A format 3 document of a one-dimensional array."""
    return json.dumps({
        "zarr_format": 3, "node_type": "array", "shape": [shape], "data_type": dtype, "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk]}},
        "chunk_key_encoding": {"name": "default"}, "codecs": [*codecs],
    }).encode()  # fmt: skip


def put(root: Path, chunk: bytes, metadata: bytes) -> None:
    """A store of one chunk."""
    (root / "c").mkdir(parents=True)
    (root / "zarr.json").write_bytes(metadata)
    (root / "c/0").write_bytes(chunk)


def attempt(read: Callable[[], Any], expected: Any = None) -> Outcome:
    """What a read gives: an error is as it should be, and so is what is expected."""
    try:
        got = read()
    except Exception as error:  # noqa: BLE001  a library may fail in any way
        return True, f"{type(error).__name__}"
    if expected is not None and np.array_equal(got, expected):
        return True, "right values"
    return False, f"returned {got.size:,} values that were never written" if expected is None else f"returned {got}"


# ---- the cases: each takes the library and an empty folder


def blosc_of_16_bytes(zarr: Any, root: Path) -> Outcome:
    """A 16-byte Blosc chunk that says it holds 60,000"""
    blosc = {"name": "blosc", "configuration": {
        "typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}}  # fmt: skip
    chunk = struct.pack("<BBBBiii", 2, 1, 2, 1, 60_000, 60_000, 60_016)
    put(root, chunk, document(60_000, 60_000, {"name": "bytes"}, blosc, dtype="uint8"))
    return attempt(lambda: zarr.open_array(root, mode="r")[:])


def two_threads(zarr: Any, root: Path) -> Outcome:
    """Two threads write the halves of one chunk, 60 rounds"""
    z = zarr.create_array(root, shape=(2000,), chunks=(2000,), dtype="i4")
    lost = 0
    for number in range(1, ROUNDS + 1):
        barrier = threading.Barrier(2)

        def half(first: int, number: int = number, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            z[first : first + 1000] = number

        threads = [threading.Thread(target=half, args=(first,)) for first in (0, 1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lost += bool((z[:] != number).any())
    return not lost, f"{lost} of {ROUNDS} rounds lost an update"


def _killed(zarr: Any, root: Path, change: Callable[[Any], None], states: dict[str, list[int]]) -> Outcome:
    """Die before each change of the file system in turn, and look at what a new process reads."""
    seen: Counter[str] = Counter()
    for point in range(1, 1000):
        shutil.rmtree(root, ignore_errors=True)
        finished = _in_child(lambda point=point: _die_at(zarr, root, change, point)) == 0
        status = _in_child(lambda: _state(zarr, root, states))
        names = [*states, "neither"]
        seen["finished" if finished else names[status] if status < len(names) else "unreadable"] += 1
        if finished:
            break
    bad = seen["neither"] + seen["unreadable"]
    return not bad, f"{bad} of {point - 1} points leave rows that were never written, or none that can be read"


def _die_at(zarr: Any, root: Path, change: Callable[[Any], None], point: int) -> int:
    z = zarr.create_array(root, shape=(8,), chunks=(4,), dtype="i4", fill_value=0)
    z[:] = np.arange(1, 9)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    change(z)
    return 0


def _state(zarr: Any, root: Path, states: dict[str, list[int]]) -> int:
    found = zarr.open_array(root, mode="r")[:].tolist()
    values = [*states.values()]
    return values.index(found) if found in values else len(values)


def _in_child(call: Callable[[], int]) -> int:
    child = os.fork()
    if not child:
        try:
            os._exit(call())
        except BaseException:  # noqa: BLE001  the child tells only whether it worked
            os._exit(100)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_while_appending(zarr: Any, root: Path) -> Outcome:
    """Killed during `append`, at every change of the file system"""
    states = {"old": [*range(1, 9)], "new": [*range(1, 13)]}
    return _killed(zarr, root, lambda z: z.append(np.arange(9, 13, dtype="i4")), states)


def killed_while_shrinking(zarr: Any, root: Path) -> Outcome:
    """Killed during `resize` to half, at every change of the file system"""
    states = {"old": [*range(1, 9)], "new": [*range(1, 5)]}
    return _killed(zarr, root, lambda z: z.resize((4,)), states)


def _shard(root: Path, *entries: int) -> None:
    codec = {"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2], "codecs": [PLAIN], "index_codecs": [PLAIN], "index_location": "end"}}  # fmt: skip
    put(root, np.array([1, 2, 3, 4], "<i4").tobytes() + struct.pack("<4Q", *entries), document(4, 4, codec))


def entry_out_of_range(zarr: Any, root: Path) -> Outcome:
    """A shard index entry beyond the end of the shard"""
    _shard(root, 0, 8, 1 << 40, 8)
    return attempt(lambda: zarr.open_array(root, mode="r")[2:])


def entry_in_the_index(zarr: Any, root: Path) -> Outcome:
    """A shard index entry that points into the index"""
    _shard(root, 0, 8, 24, 8)
    return attempt(lambda: zarr.open_array(root, mode="r")[2:])


def entries_that_overlap(zarr: Any, root: Path) -> Outcome:
    """Two shard index entries that overlap"""
    _shard(root, 0, 8, 4, 8)
    return attempt(lambda: zarr.open_array(root, mode="r")[:])


def keys_that_climb(zarr: Any, root: Path) -> Outcome:
    """The key `../secret`, read and written in a `LocalStore`"""
    (root / "store").mkdir(parents=True)
    (root / "secret").write_bytes(b"secret")
    store = zarr.storage.LocalStore(root / "store")
    read, write = _store_calls(zarr, store)
    happened = []
    for name, call in (("read", lambda: read("../secret")), ("wrote", lambda: write("../secret", b"mine"))):
        try:
            call()
            happened.append(f"{name} it")
        except Exception as error:  # noqa: BLE001  as above
            happened.append(type(error).__name__)
    untouched = (root / "secret").read_bytes() == b"secret"
    return untouched and not any(what.endswith(" it") for what in happened), ", ".join(dict.fromkeys(happened))


def _store_calls(zarr: Any, store: Any) -> tuple[Callable[[str], Any], Callable[[str, bytes], Any]]:
    if zarr.__name__ == "gpuzarr":
        return store.get, store.set
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    prototype = default_buffer_prototype()
    return (
        lambda key: sync(store.get(key, prototype=prototype)),
        lambda key, value: sync(store.set(key, prototype.buffer.from_bytes(value))),
    )


def zip_killed(zarr: Any, root: Path) -> Outcome:
    """A zip archive, killed while more is added to it"""
    root.mkdir()
    path, values = root / "a.zip", np.arange(1000)

    def first() -> int:
        with zarr.storage.ZipStore(path, mode="w") as store:
            zarr.create_array(store, name="a", data=values)
        return 0

    def second() -> int:
        store = zarr.storage.ZipStore(path, mode="a")
        zarr.create_array(store, name="b", data=np.random.default_rng(0).random(1_000_000))
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def third() -> int:
        with zarr.storage.ZipStore(path, mode="r") as store:
            return 0 if np.array_equal(zarr.open_array(store, path="a", mode="r")[:], values) else 1

    if _in_child(first):
        raise RuntimeError("the archive could not be made")
    _in_child(second)
    whole = _in_child(third) == 0
    return whole, "old data are there" if whole else "old data are lost: no zip archive any more"


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) >> 10


def bomb(zarr: Any, root: Path) -> Outcome:
    """A chunk of 9.6 KB that inflates to 300 MiB, where 16 bytes are expected"""
    blocks = ((1 << 17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0") * 2400 + b"\1\0\0"
    put(root, b"\x28\xb5\x2f\xfd\xe0" + (300 << 20).to_bytes(8, "little") + blocks, document(4, 4, PLAIN, ZSTD))
    before = _peak()
    good, what = attempt(lambda: zarr.open_array(root, mode="r")[:])
    return good and _peak() - before < 64, f"{what} after {_peak() - before} MiB of memory"


def zip_bomb(zarr: Any, root: Path) -> Outcome:
    """A member of a zip archive that inflates to 200 MiB, where 16 bytes are expected"""
    import zipfile

    root.mkdir()
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", document(4, 4, PLAIN))
        archive.writestr("c/0", bytes(200 << 20))
    store, before = zarr.storage.ZipStore(root / "a.zip", mode="r"), _peak()
    good, what = attempt(lambda: zarr.open_array(store, mode="r")[:])
    return good and _peak() - before < 64, f"{what} after {_peak() - before} MiB of memory"


CASES = (
    blosc_of_16_bytes, two_threads, killed_while_appending, killed_while_shrinking, entry_out_of_range,
    entry_in_the_index, entries_that_overlap, keys_that_climb, zip_killed, bomb, zip_bomb,
)  # fmt: skip


def one(library: str, case: str) -> None:
    """In a process of its own: run a case and print its outcome."""
    warnings.simplefilter("ignore")
    zarr = importlib.import_module(library)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(globals()[case](zarr, Path(folder) / "store")))


def outcome(library: str, case: Callable[..., Outcome]) -> str:
    """A cell of the table."""
    done = subprocess.run(
        [sys.executable, __file__, library, case.__name__], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode < 0:
        return f"**the process died of {signal.Signals(-done.returncode).name}**"
    if done.returncode:
        raise RuntimeError(done.stderr)
    good, what = json.loads(done.stdout.splitlines()[-1])
    return f"ok: {what}" if good else f"**{what}**"


def main() -> None:
    """Print the table."""
    names = [f"{library} {importlib.import_module(library).__version__}" for library in LIBRARIES]
    print(f"Python {platform.python_version()}, numcodecs {version('numcodecs')}, {platform.system()}\n")
    print(f"| | {' | '.join(name.replace('zarr 3', 'zarr-python 3', 1) for name in names)} |")
    print("|---|---|---|")
    for case in CASES:
        print(f"| {case.__doc__} | {' | '.join(outcome(library, case) for library in LIBRARIES)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:  # as `outcome` calls it
        one(*sys.argv[1:])
    elif len(sys.argv) == 1:
        main()
    else:
        print(__doc__)
