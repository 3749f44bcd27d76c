"""What all tests share."""

import os

# More threads than free cores make torch many times slower; numba gets two, so that the kernels for
# large batches run threaded. Read once, at the first import of numpy, torch and numba.
for variable, threads in (("OMP_NUM_THREADS", 1), ("MKL_NUM_THREADS", 1), ("NUMBA_NUM_THREADS", 2)):
    os.environ.setdefault(variable, str(threads))
