"""What all tests share."""

import os

from hypothesis import settings

# More threads than free cores make torch many times slower; numba gets two, so that the kernels for
# large batches run threaded. Read once, at the first import of numpy, torch and numba.
for variable, threads in (("OMP_NUM_THREADS", 1), ("MKL_NUM_THREADS", 1), ("NUMBA_NUM_THREADS", 2)):
    os.environ.setdefault(variable, str(threads))

# The first call of a numba function compiles it, so an example may take seconds.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
