"""What all tests share."""

import os

# One thread per test process: more than the free cores make torch many times slower. Set before the
# first import of numpy, numba or torch, which read it once.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
