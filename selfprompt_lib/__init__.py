"""Self-Prompt Tuning: the package behind the book."""

import logging
import os

from . import digests  # first of all: it notes which files of the package are used

__version__ = "0.1.0"

# PyTorch's threads wait for each other by spinning. Beside another busy program that costs most of
# the machine; asleep they lose nothing where there is none. Read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# On some processors bitsandbytes warns that it has no fast 4-bit product; nothing here uses one.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: "gemm_4bit_forward" not in str(record.msg)
)
# With CUDA's compiler and no card, as on a cluster's front machine, PyTorch says so at each start.
logging.getLogger("torch.utils.cpp_extension").addFilter(
    lambda record: "No CUDA runtime" not in str(record.msg)
)
