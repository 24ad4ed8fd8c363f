"""`recover`: take away what processes that died left in a store; nothing that was committed is touched.

It may be run at any time, beside living writers, and again and again: what it does is the same, and may be cut short
anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpuzarr.errors import ConflictError, LockTimeoutError
from gpuzarr.fsck import Finding, fsck, outside, stored_array
from gpuzarr.making import changing, consolidate
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata
from gpuzarr.nodes import parents, read_node
from gpuzarr.storage.contract import Leftover, Store


def recover(store: Store, path: str = "") -> Iterator[tuple[Finding, bool]]:
    """Mend what can be mended under `path` (see `fsck`); every finding, and whether it is mended now.

    ReadOnlyError where the store takes no writes, StoreWriteError where one fails.
    """
    store.check_writable(path)
    left = {each.name: each for each in store.leftovers(path)}
    for finding in list(fsck(store, path)):
        if finding.kind in ("temporary", "lock"):
            done = finding.key not in left or _attempted(store, left[finding.key])
        elif finding.kind == "outside":
            done = _delete_outside(store, finding.key)
        elif finding.kind == "consolidated":
            done = _consolidate(store, finding.key.rpartition("/")[0])
        else:
            done = False
        yield finding, done


def _attempted(store: Store, leftover: Leftover) -> bool:
    try:
        store.remove_leftover(leftover)
    except LockTimeoutError:  # somebody has taken the lock meanwhile
        return False
    return True


def _delete_outside(store: Store, key: str) -> bool:
    """Delete a chunk that lies beyond its array, unless an append that is under way has put it there."""
    for path in reversed(parents(key)):
        node = read_node(store, path)
        if isinstance(node, ArrayMetadata):
            try:
                with changing(store, path, node, timeout=0.0) as (now, _):
                    if outside(stored_array(store, path, now), key):
                        store.delete(key)
                return True
            except (ConflictError, LockTimeoutError):
                return False
    return False


def _consolidate(store: Store, path: str) -> bool:
    node = read_node(store, path)
    if isinstance(node, GroupMetadata):
        consolidate(store, path, node)
    return True
