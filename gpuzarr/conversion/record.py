"""What a conversion has done so far, beside what it makes, so that it can go on after its process has died.

One small JSON document at `.conversion.json` under the target, no node and no chunk. It is there from before the first
chunk until after the last document: regions that were finished are noted as runs of numbers, soon after they were put.
The target's own documents are written when all is done, the topmost one last, so that nobody takes a half for all.

A region counts as done only where its bytes are as safe as the note: after a restart of the machine, what a LocalStore
did not wait for (see its `durability`) is done again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from gpuzarr.errors import ConflictError, LockTimeoutError, StoreError
from gpuzarr.nodes import describe, join
from gpuzarr.opening import refuse_anything
from gpuzarr.storage.contract import Store
from gpuzarr.storage.keys import CONVERSION
from gpuzarr.storage.local import LocalStore

NAME = CONVERSION
_MAX_BYTES = 64 << 20
_SHARE = 50  # at most one part in so many of the time goes into notes
_PATIENCE = 2.0  # seconds for another conversion to end
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Record:
    """The notes of one conversion; for several threads."""

    def __init__(self, store: Store, path: str, identity: dict[str, Any]) -> None:
        self._store, self._key, self._identity = store, join(path, NAME), identity
        self._done: dict[str, tuple[list[int], set[int]]] = {}  # by array: steps of its regions, and those done
        self._lock = threading.Lock()
        self._written, self._cost = 0.0, 0.0

    def take_over(self, arrays: dict[str, Any]) -> None:
        """Go on from what another process noted."""
        for path, (steps, runs) in arrays.items():
            self._done[path] = (steps, {i for first, end in runs for i in range(first, end)})

    def done(self, path: str, steps: tuple[int, ...]) -> set[int]:
        """Numbers of the regions of an array that are done, if they are cut with these steps."""
        noted = self._done.get(path)
        if noted is None or noted[0] != list(steps):
            noted = self._done[path] = (list(steps), set())
        return set(noted[1])

    def note(self, path: str, number: int) -> None:
        """A region is done."""
        with self._lock:
            self._done[path][1].add(number)
            if monotonic() - self._written > _SHARE * self._cost:
                self._write()

    def write(self) -> None:
        """Note everything now."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        began = monotonic()
        arrays = {path: [steps, _runs(numbers)] for path, (steps, numbers) in self._done.items()}
        document = {"identity": self._identity, "era": _era(self._store), "arrays": arrays}
        self._store.set(self._key, json.dumps(document).encode())
        self._written = monotonic()
        self._cost = self._written - began

    def remove(self) -> None:
        """All is done."""
        self._store.delete(self._key)


@contextmanager
def keeping(
    store: Store, path: str, identity: dict[str, Any], *, overwrite: bool, resume: bool
) -> Iterator[Record | None]:
    """Context manager: the notes of the conversion to `path`, taken over from one that was cut short, if it was the
    same. None where they would not outlive the process (a zip archive), or could not be taken away again.

    What is there is removed with `overwrite`, and else a ContainsNodeError. ConflictError where another conversion was
    cut short there, or is under way.
    """
    if not (store.lasting and store.supports_deletes):
        if overwrite and store.supports_deletes:
            store.delete_prefix(path)
        refuse_anything(store, path)
        yield None
        return
    record = Record(store, path, identity)
    with _alone(store, path):
        found = _read(store, path)
        same = resume and found is not None and found.get("identity") == identity
        if not (same or overwrite):
            if found is not None:
                raise ConflictError(
                    f"an unfinished conversion is at {describe(store, path)}: it is of another source, of one that has"
                    " changed, or with other arguments, or is not to be resumed; overwrite=True starts anew"
                )
            refuse_anything(store, path)
    if not same:
        store.delete_prefix(path)
    with _alone(store, path):
        if same and found is not None and found.get("era") == _era(store):
            record.take_over(found["arrays"])
        record.write()
        try:
            yield record
        except BaseException:
            with suppress(StoreError):  # perhaps that is what failed
                record.write()
            raise


@contextmanager
def _alone(store: Store, path: str) -> Iterator[None]:
    try:
        with store.lock(join(path, NAME), timeout=_PATIENCE):
            yield
    except LockTimeoutError as error:
        raise ConflictError(f"another conversion to {describe(store, path)} is under way") from error


def _read(store: Store, path: str) -> dict[str, Any] | None:
    data = store.get(join(path, NAME), limit=_MAX_BYTES)
    if data is None:
        return None
    try:
        found = json.loads(bytes(data))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _era(store: Store) -> str:
    """What has changed when bytes that were put may be lost."""
    if isinstance(store, LocalStore) and store.durability != "fsync":
        return _BOOT.read_text().strip() if _BOOT.exists() else ""
    return ""


def _runs(numbers: set[int]) -> list[list[int]]:
    """The numbers as [first, end) of runs."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number:
            runs[-1][1] = number + 1
        else:
            runs.append([number, number + 1])
    return runs
