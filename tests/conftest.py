"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# More threads than free cores make torch many times slower; numba gets two whatever it had, so that
# the kernels for large batches run threaded. Read once, at the first import of each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ["NUMBA_NUM_THREADS"] = "2"

# The first call of a numba function compiles it, so an example may take seconds.
settings.register_profile("compiled", deadline=None, derandomize=True)
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
