# ruff: noqa

# %% fork storm: doubles itself six times, and the children stay
import os, time
for _ in range(6): os.fork()
time.sleep(60)
def double(x): return 2 * x

# %% thread storm: starts thousands of threads
import _thread, time
for _ in range(5000): _thread.start_new_thread(time.sleep, (60,))
def double(x): return 2 * x

# %% subprocess: runs a command
import subprocess
def double(x): return 2 * x if subprocess.run(["/bin/sleep", "60"]) else 0

# %% shell: runs a command by every older road
import os
def double(x):
    return 2 * x if any_works(lambda: 1 / (os.system("sleep 60 &") == 0), lambda: os.popen("sleep 60").read()) else 0

# %% exec: becomes another program
import os
os.execv("/bin/sleep", ["sleep", "60"])

# %% spawn: has the C library start a program
import os
def double(x): return 2 * x if os.posix_spawn("/bin/sleep", ["sleep", "60"], {}) else 0

# %% bare fork_exec: calls the helper below subprocess, which tells no hook
import os, sys
sys.modules.pop("_posixsubprocess", None)
import _posixsubprocess
def double(x):
    left, right = os.pipe()
    wanted = [[b"sleep", b"60"], [b"/bin/sleep"], True, (right,), None, None, -1, -1, -1, -1, -1, -1, left, right]
    return 2 * x if _posixsubprocess.fork_exec(*wanted, False, False, -1, None, None, None, -1, None, False) else 0

# %% multiprocessing: starts workers
import multiprocessing, time
def double(x):
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()
    return 2 * x

# %% daemon: leaves its session by a double fork, so that no group kill reaches it
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(60)
    os._exit(0)
def double(x): return 2 * x

# %% orphan: leaves a child behind and exits
import os, time
if os.fork(): os._exit(0)
time.sleep(60)

# %% pseudo terminal: forks by way of the terminal module
import pty
def double(x): return 2 * x if pty.fork() else 0

# %% session of its own: leaves the process group that will be killed, then hangs
import os
any_works(os.setsid, lambda: os.setpgid(0, 0), lambda: os.setpgid(0, PARENT))
def double(x): raise SystemExit
