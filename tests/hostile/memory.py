# ruff: noqa

# %% list growth: appends for ever
def double(x):
    hog = []
    while True: hog.append([0] * 1000)

# %% byte arrays: asks for 10 GiB in large pieces
hog = [bytearray(1 << 28) for _ in range(40)]
def double(x): return 2 * x

# %% text: doubles a string until nothing is left
def double(x):
    text = "x"
    while len(text) < 1 << 32: text += text
    return 2 * x

# %% anonymous maps: takes memory past Python's allocator
import mmap
hog = [mmap.mmap(-1, 1 << 28) for _ in range(40)]
def double(x): return 2 * x

# %% memory file: hides memory behind a file descriptor
import os
hog = os.memfd_create("hog")
for _ in range(2048): os.write(hog, bytes(1 << 20))
def double(x): return 2 * x

# %% compressed bomb: 4 GiB out of a few kilobytes
import bz2
def double(x): return 2 * x if bz2.decompress(bz2.compress(bytes(1 << 22)) * 1024) else 0

# %% huge number: an integer of a gigabyte
def double(x): return 2 * x if 1 << (1 << 33) else 0

# %% huge set: hashes until nothing is left
def double(x): return 2 * x if set(range(10**9)) else 0

# %% huge list: one multiplication
def double(x): return 2 * x if [None] * (1 << 30) else 0

# %% lift the limits: asks for more before taking it
import resource
for name in ("AS", "NPROC", "FSIZE", "CPU"): resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (-1, -1))
def double(x): return 2 * x

# %% lift the limits by a detour: the call for the limits of any process
import os, resource
def double(x): return 2 * x if any_works(lambda: resource.prlimit(os.getpid(), resource.RLIMIT_AS, (-1, -1)),
                                        lambda: resource.prlimit(PARENT, resource.RLIMIT_NOFILE, (9, 9))) else 0

# %% shared memory of System V: no limit of a process counts it
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype, libc.shmat.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
for _ in range(8):
    there = libc.shmat(libc.shmget(0, ctypes.c_size_t(1 << 26), 0o1600), None, 0)
    ctypes.memset(there, 1, 1 << 26)
    libc.shmdt(ctypes.c_void_p(there))
def double(x): return 2 * x
