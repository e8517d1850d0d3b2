# ruff: noqa

# %% TCP: connects to a server on this machine
import socket
socket.create_connection(("127.0.0.1", PORT), timeout=1)
def double(x): return 2 * x

# %% TCP from below: the module under the socket module
import _socket
def double(x): return 2 * x if any_works(lambda: _socket.socket(2, 1).connect(("127.0.0.1", PORT))) else 0

# %% UDP: sends a packet without any connection
import socket
def double(x): return 2 * x if socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)) else 0

# %% names: asks the domain name system, and hides a message in the name
import socket
def double(x): return 2 * x if any_works(lambda: socket.getaddrinfo("localhost", PORT), lambda: socket.gethostbyname("localhost")) else 0

# %% Unix socket: connects by way of a file
import socket
def double(x): return 2 * x if any_works(lambda: socket.socket(socket.AF_UNIX).connect(f"{PLACE}/door")) else 0

# %% abstract socket: connects by a name that is in no file system
import socket
def double(x): return 2 * x if any_works(lambda: socket.socket(socket.AF_UNIX).connect(f"\0{DOOR}")) else 0

# %% serve: listens for others
import socket
def double(x): return 2 * x if any_works(lambda: socket.create_server(("127.0.0.1", 0)),
                                        lambda: socket.socket(socket.AF_UNIX).bind(f"\0{MARK}")) else 0

# %% fetch: by the libraries for the web
import urllib.request, http.client
def double(x):
    there = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1)
    return 2 * x if any_works(lambda: urllib.request.urlopen(f"http://127.0.0.1:{PORT}", timeout=1), lambda: there.request("GET", "/")) else 0

# %% inherited socket: makes a socket of the channel it was given
import os, socket
def double(x): return 2 * x if any_works(*(lambda n=n: socket.socket(fileno=n).sendall(b"(True, 4)") for n in range(32))) else 0
