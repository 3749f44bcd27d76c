"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# More threads than free cores make torch many times slower; numba gets two, so that the kernels for
# large batches run threaded. Read once, at the first import of numpy, torch and numba.
for variable, threads in (("OMP_NUM_THREADS", 1), ("MKL_NUM_THREADS", 1), ("NUMBA_NUM_THREADS", 2)):
    os.environ.setdefault(variable, str(threads))

# The first call of a numba function compiles it, so an example may take seconds.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")


@pytest.fixture(autouse=True)
def _same_threads_for_all() -> Iterator[None]:
    """Commands that a test calls in this process set the threads; the next test has them again."""
    import numba
    import torch

    numba_threads, torch_threads = numba.get_num_threads(), torch.get_num_threads()
    yield
    numba.set_num_threads(numba_threads)
    torch.set_num_threads(torch_threads)
