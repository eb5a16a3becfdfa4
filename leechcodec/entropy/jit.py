"""How the coder's kernels are compiled: nothing that could change a rounding, few functions, kept on disk.

Kernels allocate nothing: what they need is passed to them, and numba need not count references. It compiles a function
anew for every literal integer that it is called with, so that constants which are handed on are of type np.int64.
"""

from leechcodec.compiled import njit
from leechcodec.lattice.structure import NoAlias

_OPTIONS = {"nogil": True, "error_model": "numpy", "pipeline_class": NoAlias, "no_cfunc_wrapper": True, "_nrt": False}
entry = njit(cache=True, **_OPTIONS)
inner = njit(no_cpython_wrapper=True, **_OPTIONS)
