# ruff: noqa

# %% kill the parent: by its number
import os
def double(x): return 2 * x if any_works(lambda: os.kill(PARENT, 9)) else 0

# %% kill its own parent: whoever that is
import os
def double(x): return 2 * x if any_works(lambda: os.kill(os.getppid(), 9)) else 0

# %% kill a bystander: a process that has nothing to do with it
import os
def double(x): return 2 * x if any_works(lambda: os.kill(BYSTANDER, 9)) else 0

# %% kill a group: that of the parent
import os
def double(x): return 2 * x if any_works(lambda: os.killpg(os.getpgid(PARENT), 9)) else 0

# %% kill all: every process that it may
import os
def double(x): return 2 * x if any_works(lambda: os.kill(-1, 9)) else 0

# %% stop the parent: so that the time limit never ends
import os, signal
def double(x): return 2 * x if any_works(lambda: os.kill(PARENT, signal.SIGSTOP), lambda: os.kill(os.getppid(), signal.SIGSTOP)) else 0

# %% kill by handle: a signal that no hook is told of
import os, signal
def double(x): return 2 * x if any_works(lambda: signal.pidfd_send_signal(os.pidfd_open(PARENT), 9),
                                        lambda: signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)) else 0

# %% starve the parent: gives it the lowest priority
import os
def double(x): return 2 * x if any_works(lambda: os.setpriority(os.PRIO_PROCESS, PARENT, 1),
                                        lambda: os.sched_setaffinity(PARENT, {0})) else 0

# %% kill the checker: which was started next
import os
def double(x): return 2 * x if any_works(lambda: [os.kill(os.getpid() + n, 9) for n in (1, 2, 3)]) else 0
