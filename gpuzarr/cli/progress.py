"""A progress bar on the error output, gone when the work is done; nothing at all where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gpuzarr.cli.printing import on_terminal
from gpuzarr.tree import printable


class Step(Protocol):
    """What is being done now, how many units are over since the last call, and how many there are, where only now that
    is known."""

    def __call__(self, what: str, units: int, total: int | None = None) -> None: ...


@contextmanager
def progress(show: bool, total: int | None = None) -> Iterator[Step]:
    """A bar over `total` units; without a total it only says what is being done and how many units are over."""
    if not show or not on_terminal(sys.stderr):
        yield lambda what, units, total=None: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def step(what: str, units: int, total: int | None = None) -> None:
            bar.update(task, description=escape(printable(what)), advance=units, total=total)

        yield step
