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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from .. import models
from ..errors import UserError, require
from ..profiles import Profile
from ..reading import one_line
from ..rows import chat_messages
from ..sections import Client
from .failures import Failure, failure_of, show_failure
from .prompt import Prompt, fold_system

if TYPE_CHECKING:  # else imported where a server is asked, so that commands start at once
    import openai

# Continuous batching in small blocks: on two cores about twice as fast as one after another.
SERVER_FLAGS = ("--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "800",
                "--cb-max-batch-tokens", "512")  # fmt: skip
# The server ends with the process that started it, even a killed one: its end of the pipe closes.
SERVE = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
from transformers.cli.transformers import main
main()
"""
SIDE_CHECK = 10  # seconds for what decides nothing


@dataclass
class Endpoint:
    """A server to ask.

    `address` and `name` identify it in keys and artefacts: for a local server `local_address`
    and the model's own name, whatever its port and folder. `model` is what requests ask for.
    `http` carries what `client` sends. Where `no_system` is set, the server was found to take no
    system turn.
    """

    base_url: str
    address: str
    name: str
    model: str
    client: "openai.AsyncOpenAI"
    http: httpx2.AsyncClient
    process: subprocess.Popen | None = None
    no_system: bool = False
    log: Path | None = None  # of a local server

    def stop(self) -> None:
        """Stop the server if this run started it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def request(self, prompt: Prompt, question: Any) -> dict[str, Any]:
        """The body of the chat completion that asks a prompt's question here (chapter 1)."""
        body = prompt.request(question, self.model, local=self.process is not None)
        return body | {"messages": fold_system(body["messages"])} if self.no_system else body

    def failure(self, error: "openai.OpenAIError") -> Failure:
        """Why a call failed; what a local server hides stands in its log."""
        failure = failure_of(error, self.clean)
        if not (self.log and failure.status == 500):
            return failure
        words = self.log.read_text(encoding="utf-8", errors="replace")
        raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", words, re.MULTILINE)
        return replace(failure, told=self.clean(": ".join([failure.told, *raised[-1:]])))

    @property
    def side_check(self) -> "openai.AsyncOpenAI":
        """The client for what only advises: it does not wait long."""
        return self.client.with_options(timeout=SIDE_CHECK, max_retries=1)

    async def similar_models(self) -> str:
        """The models that the server lists whose names are most like the one asked for."""
        import openai

        try:
            answer = await self.side_check.get("/models", cast_to=httpx2.Response)
            ids = [str(model["id"]) for model in answer.json()["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            return ""
        near = difflib.get_close_matches(self.model, ids, n=3, cutoff=0.3) or ids[:3]
        return self.clean(f"; it lists {', '.join(near)}") if near else ""

    def clean(self, text: str) -> str:
        """Server text without our key, on one line: for messages and artefacts."""
        key = self.client.api_key
        text = text.replace(key, "***") if len(key) > 5 else text
        text = re.sub(r"\b(sk|key)-[\w*.-]+", "***", text)
        # Control characters and half characters can be neither shown nor written.
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        return " ".join(text.split())[:300]


async def connect(profile: Profile, settings: Client | None = None) -> Endpoint:
    """The profile's annotator, or with `settings` another model, such as `profile.judge`.

    Where the settings name no server, a local one is started. A hosted one is only checked to be
    there: whether it lists its models decides nothing, the first chat call does.

    Raises:
        UserError: no key, nothing at the address, or a model that cannot be asked.
    """
    import openai

    settings = settings or profile.annotate
    if settings.base_url is None:
        return start_local(settings, profile.model)
    endpoint = hosted(settings, profile.model)
    try:
        await endpoint.side_check.get("/models", cast_to=httpx2.Response)
    except openai.OpenAIError as error:
        failure = endpoint.failure(error)
        require(not failure.gone,
                f"{settings.section}.base_url: no answer from {endpoint.base_url} "
                f"({failure.told}); check the address and that the server runs, "
                "or leave it null for a local one")
    return endpoint


def check(settings: Client, model: str) -> None:
    """Raise UserError for what would stop a chapter an hour later: no key, no chat template."""
    if settings.base_url:
        hosted(settings, model)
    elif (settings.model or model) not in (models.STARTER, models.SMOKE):  # those have a template
        local_model(settings, model)


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
    name = settings.model or model
    clients = _clients(settings, settings.base_url, key or "none", here=bool(local))
    return Endpoint(settings.base_url, settings.base_url.rstrip("/"), name, name, *clients)


def _clients(settings: Client, url: str, key: str,
             here: bool) -> tuple["openai.AsyncOpenAI", httpx2.AsyncClient]:
    import openai

    hooks = {"response": [show_failure]}  # a server here is asked past the environment's proxy
    http = openai.DefaultAsyncHttpxClient(event_hooks=hooks, trust_env=not here)
    try:
        return openai.AsyncOpenAI(base_url=url, api_key=key, timeout=settings.timeout,
                                  max_retries=settings.retries, http_client=http), http
    except httpx2.InvalidURL as error:
        raise UserError(f"{settings.section}.base_url: {url} is no address ({error}); write it as "
                        "http://host:port/v1") from None


def local_model(settings: Client, model: str) -> tuple[str, bool]:
    """The model for a local server, as `from_pretrained` takes it; if it takes a system turn.

    Raises:
        UserError: a base model: without a chat template it can be asked nothing.
    """
    from jinja2 import TemplateError
    from transformers import AutoTokenizer  # takes seconds, which a hosted model does not need

    name, section = settings.model or model, settings.section
    source = models.resolve(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{section}.model: cannot load {name}: {one_line(error)}; check the name "
                        f"and the network, or use {models.STARTER}") from None
    require(tokenizer.chat_template,
            f"{section}.model: {name} has no chat template, so it is a base model that follows no "
            f"instructions; name an instruct model, such as {models.STARTER}")
    turns = [{"role": "system", "content": "Be brief."}, *chat_messages("Why?")]
    try:
        return source, bool(tokenizer.apply_chat_template(turns, tokenize=False))
    except TemplateError:
        return source, False


def local_address(name: str) -> str:
    """What stands for a local server's address: a folder or hub id may hold another model one day,
    whose replies are not those of the one before."""
    starter = name in (models.STARTER, models.SMOKE)
    return "local" if starter else f"local {models.identity(name)['digest'][:16]}"


def start_local(settings: Client, model: str) -> Endpoint:
    """Start `transformers serve` on a free loopback port and wait until it is healthy.

    Raises:
        UserError: a model without a chat template; a server that does not start.
    """
    name, (source, takes_system) = settings.model or model, local_model(settings, model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tempfile.mkdtemp(prefix="selfprompt-serve-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    log = Path(home) / "server.log"
    command = [sys.executable, "-c", SERVE, "serve", source, "--host", "127.0.0.1",
               "--port", str(port), *SERVER_FLAGS]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    client, http = _clients(settings, f"{url}/v1", "local", here=True)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    endpoint = Endpoint(f"{url}/v1", local_address(name), name, source, client, http, process,
                        not takes_system, log)
    atexit.register(endpoint.stop)
    for _ in range(240):  # two minutes
        try:
            direct.open(f"{url}/health", timeout=2).close()
            return endpoint
        except OSError:
            time.sleep(0.5)
        if process.poll() is not None:
            break
    endpoint.stop()
    last_words = log.read_text(encoding="utf-8", errors="replace")[-300:]
    raise UserError(f"{settings.section}: the local server did not start; its last words: "
                    f"{' '.join(last_words.split())}")
