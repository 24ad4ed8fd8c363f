"""How far one small read walks: what a newcomer would have to read to follow it, and what each read pays."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.codecs import GzipCodec

PACKAGE = str(Path(gpuzarr.__file__).parent)
FUNCTIONS, FILES = 40, 15
COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")  # from Python 3.12 on they are no functions


def walked(read: Any) -> set[CodeType]:
    """The functions of gpuzarr that a call enters, each once; a comprehension is part of the function around it."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and not code.co_name.endswith(COMPREHENSIONS):
            seen.add(code)

    sys.setprofile(note)
    try:
        read()
    finally:
        sys.setprofile(None)
    return seen


def test_one_read_of_one_chunk_is_a_short_walk(tmp_path: Path) -> None:
    a = gpuzarr.create_array(tmp_path, shape=(100,), chunks=(50,), dtype="f4", compressors=GzipCodec())
    a[...] = np.arange(100)
    a = gpuzarr.open_array(tmp_path, mode="r")
    assert a[3:40][0] == 3  # warm: chains are compiled, scratch is there
    codes = walked(lambda: a[3:40])
    names = sorted(f"{Path(c.co_filename).relative_to(PACKAGE)}: {c.co_qualname}" for c in codes)
    files = {c.co_filename for c in codes}
    report = f"{len(codes)} functions in {len(files)} files:\n" + "\n".join(names)
    # One chunk is one task, so all of it happens in this thread; a walk that went elsewhere would look short.
    assert any("decode" in name for name in names), report
    assert len(codes) <= FUNCTIONS, report
    assert len(files) <= FILES, report
