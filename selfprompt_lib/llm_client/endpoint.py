"""The server to ask: a hosted one, or a `transformers serve` of our own on this machine."""

import atexit
import difflib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import httpx2
import openai

from ..errors import UserError, require
from ..profiles import Profile
from ..sections import Client

# Continuous batching in small blocks: on two cores about twice as fast as one after another.
SERVER_FLAGS = ("--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "800",
                "--cb-max-batch-tokens", "512")  # fmt: skip


@dataclass
class Endpoint:
    """A server to ask.

    `address` and `name` identify it in keys and artefacts: for a local server "local" and the
    model's own name, whatever its port and folder. `model` is what requests ask for.
    """

    base_url: str
    address: str
    name: str
    model: str
    client: openai.AsyncOpenAI
    process: subprocess.Popen | None = None

    def stop(self) -> None:
        """Stop the server if this run started it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    async def similar_models(self) -> str:
        """The models that the server lists whose names are most like the one asked for."""
        try:
            answer = await self.client.get("/models", cast_to=httpx2.Response)
            ids = [str(model["id"]) for model in answer.json()["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return ""
        near = difflib.get_close_matches(self.model, ids, n=3, cutoff=0.3) or ids[:3]
        return f"; it lists {', '.join(near)}" if near else ""

    def clean(self, text: str) -> str:
        """Server text without our key, on one line: for messages and artefacts."""
        key = self.client.api_key
        text = text.encode(errors="replace").decode()  # half a character cannot be written
        text = text.replace(key, "***") if len(key) > 5 else text
        return " ".join(re.sub(r"\b(sk|key)-[\w*.-]+", "***", text).split())[:300]


async def connect(profile: Profile, settings: Client | None = None) -> Endpoint:
    """The profile's annotator, or with `settings` another model, such as `profile.judge`.

    The server is checked to answer. Where the settings name none, a local one is started.

    Raises:
        UserError: no key, no answer, or a refused key, before anything is paid.
    """
    settings = settings or profile.annotate
    open_endpoint = start_local if settings.base_url is None else hosted
    endpoint = open_endpoint(settings, profile.model)
    where = f"{settings.section}.base_url"
    try:
        client = endpoint.client.with_options(timeout=20, max_retries=1)
        await client.get("/models", cast_to=httpx2.Response)
    except (openai.AuthenticationError, openai.PermissionDeniedError):
        raise UserError(f"{where}: {endpoint.base_url} refused the key in "
                        f"${settings.api_key_env}") from None
    except openai.APIStatusError:
        pass  # it answers; not every server lists its models
    except openai.OpenAIError as error:
        endpoint.stop()
        raise UserError(f"{where}: no answer from {endpoint.base_url} ({type(error).__name__}); "
                        "check the address and that the server runs, or leave it null for a "
                        "local one") from None
    return endpoint


def hosted(settings: Client, model: str) -> Endpoint:
    """A client for the server at `base_url`; its retries are the only retry layer.

    Raises:
        UserError: no key in the environment for a server that is not on this machine.
    """
    section, variable = settings.section, settings.api_key_env
    key = os.environ.get(variable, "").strip()
    require(key.isascii() and key.isprintable(),
            f"{section}: the key in ${variable} has a character that no key has; copy it again")
    local = re.match(r"https?://(127\.|localhost\b|\[::1\])", settings.base_url)
    require(key or local,
            f"{section}: no key in the environment variable {variable}; export it, or set "
            f"{section}.base_url to null for a local model")
    client = openai.AsyncOpenAI(base_url=settings.base_url, api_key=key or "none",
                                timeout=settings.timeout, max_retries=settings.retries)
    name = settings.model or model
    return Endpoint(settings.base_url, settings.base_url.rstrip("/"), name, name, client)


def start_local(settings: Client, model: str) -> Endpoint:
    """Start `transformers serve` on a free loopback port and wait until it is healthy.

    Raises:
        UserError: it does not start, with its last words.
    """
    from .. import models  # loads torch, which a hosted model does not need

    name = settings.model or model
    folder = models.resolve(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tempfile.mkdtemp(prefix="selfprompt-serve-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    hub = Path(home) / "hub"  # the server lists its models from a hub cache, here an empty one
    hub.mkdir()
    log = Path(home) / "server.log"
    main = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", main, "serve", folder, "--host", "127.0.0.1",
               "--port", str(port), *SERVER_FLAGS]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out,
                                   env=os.environ | {"HF_HUB_CACHE": str(hub)})
    url = f"http://127.0.0.1:{port}"
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="local", timeout=settings.timeout,
                                max_retries=settings.retries)
    endpoint = Endpoint(f"{url}/v1", "local", name, folder, client, process)
    atexit.register(endpoint.stop)
    for _ in range(240):  # two minutes
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2)
            return endpoint
        except OSError:
            time.sleep(0.5)
        if process.poll() is not None:
            break
    endpoint.stop()
    raise UserError(f"{settings.section}: the local server did not start; its last words: "
                    f"{log.read_text()[-300:]}")
