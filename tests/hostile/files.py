# ruff: noqa

# %% write outside: a file in somebody else's folder
def double(x): return 2 * x if any_works(lambda: open(f"{PLACE}/{MARK}", "w")) else 0

# %% write outside, bytes path: a path that is not text
import os
def double(x): return 2 * x if any_works(lambda: os.open(f"{PLACE}/{MARK}".encode(), os.O_CREAT | os.O_WRONLY)) else 0

# %% write outside, path object: a path that changes between check and use
import os
class Path(str):
    def __fspath__(self): return f"{PLACE}/{MARK}"
    def startswith(self, *parts): return True
    __contains__ = lambda self, part: False
def double(x): return 2 * x if any_works(lambda: open(Path(os.__file__), "w"), lambda: os.open(Path("x"), os.O_CREAT)) else 0

# %% write outside by climbing: up from the library's folder
import os
def double(x): return 2 * x if any_works(lambda: open(f"{os.path.dirname(os.__file__)}/../../../../../../..{PLACE}/{MARK}", "w")) else 0

# %% leave files in common folders: temporary, shared memory, home, working folder, root
import os
def leave(folder): return lambda: os.close(os.open(f"{folder}/{MARK}", os.O_CREAT | os.O_WRONLY))
def double(x): return 2 * x if any_works(*map(leave, ("/tmp", "/var/tmp", "/dev/shm", HOME, ".", REPOSITORY, ""))) else 0

# %% make a folder: in somebody else's
import os
def double(x): return 2 * x if any_works(lambda: os.mkdir(f"{PLACE}/{MARK}"), lambda: os.makedirs(f"/tmp/{MARK}/a")) else 0

# %% links: a symbolic and a hard one
import os
def double(x): return 2 * x if any_works(lambda: os.symlink("/etc/passwd", f"{PLACE}/{MARK}"),
                                        lambda: os.link(f"{PLACE}/keep", f"{PLACE}/{MARK}2")) else 0

# %% links to look through: a link in its own folder that points outside
import os
def double(x): return 2 * x if any_works(lambda: (os.symlink(PLACE, "way"), open(f"way/{MARK}", "w"))) else 0

# %% pipes and nodes: files that no hook is told of
import os, stat
def double(x): return 2 * x if any_works(lambda: os.mkfifo(f"{PLACE}/{MARK}"),
                                        lambda: os.mknod(f"{PLACE}/{MARK}2", stat.S_IFREG | 0o600)) else 0

# %% delete: somebody else's file
import os, shutil
def double(x): return 2 * x if any_works(lambda: os.remove(f"{PLACE}/keep"), lambda: shutil.rmtree(PLACE)) else 0

# %% rename: moves somebody else's file away
import os
def double(x): return 2 * x if any_works(lambda: os.rename(f"{PLACE}/keep", f"{PLACE}/{MARK}"),
                                        lambda: os.replace(f"{PLACE}/keep", f"/tmp/{MARK}")) else 0

# %% change in place: cuts, overwrites, closes up and dates back somebody else's file
import os
def double(x): return 2 * x if any_works(lambda: os.truncate(f"{PLACE}/keep", 0), lambda: open(f"{PLACE}/keep", "r+").write("x"),
                                        lambda: os.chmod(f"{PLACE}/keep", 0), lambda: os.utime(f"{PLACE}/keep", (0, 0)),
                                        lambda: os.setxattr(f"{PLACE}/keep", "user.x", b"x")) else 0

# %% fill the disk: writes a gigabyte in its own folder
def fill():
    with open(MARK, "wb") as file:
        for _ in range(1024): file.write(bytes(1 << 20))
def double(x): return 2 * x if any_works(fill) else 0

# %% fill the table of files: thousands of empty files, folders and links
import os
def double(x):
    for number in range(10_000):
        if not any_works(lambda: os.symlink("x" * 4000, f"{MARK}{number}"), lambda: os.mkdir(f"/dev/shm/{MARK}{number}")): return 0
    return 2 * x

# %% write its own memory: over /proc, to get past the checks
def double(x): return 2 * x if any_works(lambda: open("/proc/self/mem", "r+b"), lambda: open("/proc/1/mem", "r+b")) else 0

# %% poison the library: a module that the next program would import
import os
def double(x): return 2 * x if any_works(lambda: open(f"{os.path.dirname(os.__file__)}/{MARK}.py", "w"),
                                        lambda: open(os.__file__, "a").write("\nraise SystemExit")) else 0

# %% database: SQLite writes without Python's open
import sqlite3
sqlite3.connect(f"{PLACE}/{MARK}").execute("create table t (x)")
def double(x): return 2 * x

# %% history file: the line editor writes without Python's open
import readline
readline.write_history_file(f"{PLACE}/{MARK}")
def double(x): return 2 * x

# %% semaphore: a named one is a file in shared memory
import _multiprocessing
_multiprocessing.SemLock(0, 1, 1, f"/{MARK}", False)
def double(x): return 2 * x

# %% other file systems: mounts, changes root, enters other name spaces
import os
def double(x): return 2 * x if any_works(lambda: os.chroot("/usr"), lambda: os.unshare(os.CLONE_NEWUSER), lambda: os.chdir(PLACE)) else 0
