"""How the coder's kernels are compiled: nothing that could change a rounding, few functions, kept on disk."""

import numba

from leechcodec.lattice.structure import NoAlias

_OPTIONS = {"nogil": True, "error_model": "numpy", "pipeline_class": NoAlias}
entry = numba.njit(cache=True, **_OPTIONS)
inner = numba.njit(no_cpython_wrapper=True, **_OPTIONS)
