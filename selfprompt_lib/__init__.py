"""Self-Prompt Tuning: the package behind the book."""

import logging

from . import digests  # first of all: it notes which files of the package are used

__version__ = "0.1.0"

# On some processors bitsandbytes warns that it has no fast 4-bit product; nothing here uses one.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: "gemm_4bit_forward" not in str(record.msg)
)
