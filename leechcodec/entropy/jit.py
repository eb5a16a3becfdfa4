"""How the coder's kernels are compiled: nothing that could change a rounding.

numba compiles a function anew for every literal integer that it is called with, so that constants which are handed on
are of type np.int64.
"""

from leechcodec import compiled

entry, inner = compiled.entry(), compiled.inner()
