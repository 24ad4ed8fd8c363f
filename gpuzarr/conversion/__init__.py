"""`convert`: HDF5, NetCDF, NPY, NPZ and Zarr to Zarr, in bounded memory, and resumed where it was cut short.

A conversion looks at the whole source first and knows every node of the target, or says what it cannot convert, before
anything is written. Chunks come next, documents last and the topmost one at the very end: until then there is no node
at the target for a reader to find. What is done is noted beside it (`record.py`).
"""

from gpuzarr.conversion.contract import Note, Problem
from gpuzarr.conversion.job import convert
from gpuzarr.conversion.report import Report

__all__ = ["Note", "Problem", "Report", "convert"]
