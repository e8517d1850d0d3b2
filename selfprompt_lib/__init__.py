"""Self-Prompt Tuning: the package behind the book."""

import logging
import os

from . import digests  # first of all: it notes which files of the package are used

__version__ = "0.1.0"

# PyTorch's threads wait for each other by spinning. Beside another busy program that costs most of
# the machine, and to wake one that sleeps costs a tenth of a training where there is none: so they
# spin for about a tenth of a millisecond, then sleep. Read when PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

# On some processors bitsandbytes warns that it has no fast 4-bit product; nothing here uses one.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: "gemm_4bit_forward" not in str(record.msg)
)
# With CUDA's compiler and no card, as on a cluster's front machine, PyTorch says so at each start.
logging.getLogger("torch.utils.cpp_extension").addFilter(
    lambda record: "No CUDA runtime" not in str(record.msg)
)
