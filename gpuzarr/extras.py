"""Packages that are installed only where they are wanted: the extras of `pyproject.toml`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gpuzarr.errors import MissingPackageError


def load(module: str, extra: str) -> Any:
    """The module `module` of a package that `pip install 'gpuzarr[extra]'` brings. MissingPackageError where it is not
    installed; what else goes wrong while it is imported is not touched."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingPackageError(
            f"{package} is not installed: pip install 'gpuzarr[{extra}]'", name=error.name
        ) from error
