"""Execute one notebook with papermill; nothing that it started is left behind."""

import contextlib
import logging
import os
import signal
import sys
import uuid
from ctypes.util import find_library
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import papermill
import psutil
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from ..errors import UserError
from ..provenance import peak_memory_gb
from .chapters import Chapter

# glibc hands large blocks back to the system at once, which clears each page before it gives it out
# again. Kept, and in huge pages, training is a third faster on a CPU. Blocks above 32 MiB, such as
# logits, whose size changes from batch to batch, go back all the same: to keep them, too, is faster
# by a further tenth, but in chapter 3, which trains three models, the peak grows from 6 to 7 GiB.
# Other systems ignore the names.
GLIBC = {"MALLOC_MMAP_THRESHOLD_": str(2**25),
         "MALLOC_TRIM_THRESHOLD_": str(2**35),
         "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
TCMALLOC = ("tcmalloc_minimal", "tcmalloc")
TRAINS = ("sft", "ablate")
# Else each kernel warns that its connection, which stays on this machine, is not encrypted.
ENCRYPTED = Config({"KernelManager": {"transport_encryption": "auto"}})

MARK = "SELFPROMPT_CHAPTER"  # environment variable by which a chapter's processes are known
ENDLESS = "look for a loop that never ends, or lower what it counts to"
LESS_MEMORY = ("close other programs, or set a smaller model, sft.micro_batch_size, "
               "infer.batch_size or evaluate.batch_size, and run again")


def training_environment() -> dict[str, str]:
    """Variables for a process that trains: TCMalloc where the system has it, else glibc's settings.

    TCMalloc keeps large blocks, too, and not in pieces. PyTorch's guide to tuning recommends it.
    """
    for name in TCMALLOC if sys.platform == "linux" else ():
        library = find_library(name)
        if library:
            return {"LD_PRELOAD": library}
    return GLIBC


def execute_chapter(chapter: Chapter, parameters: dict[str, Any], root: Path) -> None:
    """Run a chapter's notebook; see `execute`."""
    training = training_environment() if chapter.name in TRAINS else {}
    execute(chapter.notebook, chapter.executed_notebook(root), parameters,
            f"chapter {chapter.label} ({chapter.name})", training)


def execute(notebook: Path, executed: Path, parameters: dict[str, Any], what: str,
            variables: dict[str, str] | None = None, cell_limit: int | None = None) -> None:
    """Run one notebook with papermill and a progress bar; a failed copy is kept and named.

    No process that it started is left when this returns or raises.

    Args:
        what: how a message calls it whose process died.
        variables: environment variables of the kernel.
        cell_limit: seconds that a cell may take (default: no limit).

    Raises:
        UserError: the cell that failed, what happened, and where the copy is.
    """
    mark, reason = uuid.uuid4().hex, ""
    work = executed.with_suffix(".running.ipynb")
    WatchedKernel.variables = (variables or {}) | {MARK: mark}
    try:
        papermill.execute_notebook(notebook, work, parameters=parameters,
                                   kernel_name="python3", cwd=Path.cwd(), config=ENCRYPTED,
                                   kernel_manager_class=WatchedKernel,
                                   execution_timeout=cell_limit,
                                   # All is saved; to take libraries down costs seconds.
                                   shutdown_kernel="immediate",
                                   progress_bar={"desc": f"  {notebook.stem}"})
    except PapermillExecutionError as error:
        reason = f", cell {error.cell_index}: {_reason(error)}"
    except CellTimeoutError:
        reason = f", {_last_cell(work)}: took longer than {cell_limit} s and was ended; " + ENDLESS
    except (DeadKernelError, RuntimeError) as error:
        if "died" not in str(error):
            raise
        reason = f": {what}: its process {_death()}"
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # it would tell how the cell under way ended
        raise
    finally:
        end_processes(mark)
    if reason:
        failed = work.replace(executed.with_suffix(".failed.ipynb"))
        raise UserError(f"{notebook.name}{reason}\n"
                        f"(the notebook is kept as far as it came: {failed})")
    work.replace(executed)


def _last_cell(work: Path) -> str:
    """The cell at which an execution ended: its number, and the heading above it."""
    cells = nbformat.read(work, 4).cells
    last = max(number for number, cell in enumerate(cells)
               if cell.metadata.get("papermill", {}).get("start_time"))
    headings = [cell.source.splitlines()[0].lstrip("# ") for cell in cells[:last]
                if cell.cell_type == "markdown" and cell.source.startswith("#")]
    return f"cell {last} ({headings[-1]})" if headings else f"cell {last}"


class WatchedKernel(AsyncKernelManager):
    """A kernel with environment variables of its own, whose exit status is known afterwards."""

    variables: ClassVar[dict[str, str]] = {}  # where the user has not set them
    status: int | None = None

    async def start_kernel(self, **options: Any) -> None:
        """Start it."""
        await super().start_kernel(env=self.variables | os.environ, **options)

    async def is_alive(self) -> bool:
        """Whether it runs."""
        alive = await super().is_alive()
        if not alive and self.has_kernel:
            WatchedKernel.status = await self.provisioner.poll()
        return alive


def _reason(error: PapermillExecutionError) -> str:
    """What a cell raised, with the mend where memory was short."""
    if error.ename == "UserError":
        return error.evalue
    mend = f"; {LESS_MEMORY}" if error.ename in ("MemoryError", "OutOfMemoryError") else ""
    return f"{error.ename}: {error.evalue}{mend}"


def _death() -> str:
    """How the last kernel ended, and what to do."""
    status, memory = WatchedKernel.status or 0, psutil.virtual_memory()
    if status != -getattr(signal, "SIGKILL", 0):
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"ended by itself ({how}); run again"
    peak = peak_memory_gb(of_children=True)
    took = f"the largest process of this run took {peak} GB, and " if peak else ""
    return ("was killed, most likely by the system because memory ran out: "
            f"{took}{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB are free now; "
            f"{LESS_MEMORY}")


def end_processes(mark: str) -> None:
    """End what a chapter has left behind, such as a server whose kernel was killed."""
    left = [process for process in psutil.process_iter() if _mark(process) == mark]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # another account's, or gone meanwhile
        return None
