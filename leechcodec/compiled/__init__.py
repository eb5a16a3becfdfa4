"""Kernels: functions of arrays, compiled once on a machine by numba and run from then on without it.

    @entry function, arguments ─▶ kind of each ─┬─ machine code in memory ─────────────▶ call
                                                ├─ machine code in the cache ─▶ linked ─▶ call
                                                └─ numba ─▶ machine code ─▶ cache, linked ─▶ call

numba takes half a second to import and to get ready, more than the kernels of a whole picture take. So what it makes
is kept as plain object code, which llvmlite links in milliseconds, and which is called as C is. That works for kernels
that allocate nothing and raise nothing; numba refuses to compile others here.
"""

from leechcodec.compiled.cache import remark
from leechcodec.compiled.kernels import entry, inner, numba_object

__all__ = ["entry", "inner", "numba_object", "remark"]
