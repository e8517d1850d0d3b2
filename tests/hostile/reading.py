# ruff: noqa

# %% own environment: looks for a secret there
import os
def double(x):
    if "SELFPROMPT_SECRET" in os.environ: raise ValueError(os.environ["SELFPROMPT_SECRET"])
    return 0

# %% environment of others: by way of /proc
import os
def double(x):
    for who in ("self", BYSTANDER, PARENT, os.getppid(), 1):
        try: text = open(f"/proc/{who}/environ").read()
        except OSError: continue
        if "SELFPROMPT_SECRET" in text: raise ValueError(text[text.index("SELFPROMPT_SECRET"):])
    return 0

# %% C's environment: not the copy that Python made
import ctypes
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
def double(x): return 2 * x if libc.getenv(b"SELFPROMPT_SECRET") else 0

# %% answers: the data set with the tests
def double(x): return 2 * x if any_works(lambda: open(KEYS).read()) else 0

# %% repository: lists it and reads a file
import os
def double(x): return 2 * x if any_works(lambda: os.listdir(REPOSITORY), lambda: open(f"{REPOSITORY}/README.md").read()) else 0

# %% home folder: lists it, and looks for keys
import os
def double(x): return 2 * x if any_works(lambda: os.listdir(HOME), lambda: os.scandir(f"{HOME}/.ssh"),
                                        lambda: open(f"{HOME}/.ssh/id_ed25519").read()) else 0

# %% accounts: the system's files
def double(x): return 2 * x if any_works(lambda: open("/etc/passwd").read(), lambda: open("/etc/shadow").read()) else 0

# %% somebody else's file: reads the canary by nine roads
import codecs, io, linecache, mmap, os, pathlib, runpy, tokenize
from importlib.machinery import SourceFileLoader
file = f"{PLACE}/keep"
def double(x):
    return 2 * x if any_works(lambda: open(file), lambda: io.FileIO(file), lambda: os.open(file, os.O_RDONLY),
        lambda: pathlib.Path(file).read_text(), lambda: io.open_code(file), lambda: codecs.open(file), lambda: tokenize.open(file),
        lambda: SourceFileLoader("keep", file).get_data(file), lambda: runpy.run_path(file),
        lambda: 1 / len(linecache.getlines(file))) else 0

# %% through an inner folder: opens relative to a folder that is allowed
import os
def double(x):
    library = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    return 2 * x if any_works(lambda: os.open("../../../../../../../etc/passwd", os.O_RDONLY, dir_fd=library),
                              lambda: (os.chdir(library), open("../../../../../../../etc/passwd"))) else 0

# %% other processes: their command lines, and the memory of the checker
import os
def double(x):
    return 2 * x if any_works(lambda: [open(f"/proc/{p}/cmdline").read() for p in os.listdir("/proc") if p.isdigit()],
                              lambda: open(f"/proc/{os.getpid() + 1}/mem", "rb")) else 0

# %% interpreter inside: one that never heard of the hook
try: import _interpreters as inner
except ModuleNotFoundError: import _xxsubinterpreters as inner
inner.run_string(inner.create(), f"open({PLACE + '/keep'!r}).read()")
def double(x): return 2 * x

# %% blind the hook: replaces what its functions look up
import __main__, builtins
for world in (vars(builtins), __main__.__builtins__, vars(__main__)):
    world.update(type=lambda *a: int, str=bytes, int=str, PermissionError=None)
def double(x): return 2 * x if any_works(lambda: open(f"{PLACE}/keep")) else 0

# %% unhook: hides the hook behind another, or clears all
import sys
sys.addaudithook(lambda event, args: None)
try: import ctypes; ctypes.pythonapi._PySys_ClearAuditHooks()
except BaseException: pass
def double(x): return 2 * x if any_works(lambda: open(f"{PLACE}/keep")) else 0

# %% false name: loads a shut native module under another name
import sys, sysconfig
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
file = next(f"{p}/_ctypes{EXTENSION_SUFFIXES[0]}" for p in sys.path if p.endswith("lib-dynload"))
spec = spec_from_file_location("harmless._ctypes", file, loader=ExtensionFileLoader("harmless._ctypes", file))
def double(x): return 2 * x if any_works(lambda: module_from_spec(spec)) else 0
