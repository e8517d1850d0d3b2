"""An OpenAI-compatible server on loopback that misbehaves on purpose, for the tests and benchmarks of chapter 1.

Run as `python tests/loopback.py '{"faults": 0.3, …}'`: it prints its port. It answers chat completions
with a role made from the question, counts what it was asked and what it was paid for, and has files and
batches. `GET /counts` tells the counts.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

FAULTS = ("429", "500", "drop", "time-out", "cut body", "cut text", "refusal", "empty")


@dataclass
class Behaviour:
    """How the server behaves: latency in seconds, the share of faulty calls and their kinds."""

    latency: float = 0.0
    faults: float = 0.0
    kinds: tuple[str, ...] = FAULTS
    seed: int = 0
    key: str | None = None  # the only key that is let in
    models: tuple[str, ...] = ("served-model",)
    expire: int = 0  # the first so many batches expire half done
    failed_rows: float = 0.0  # share of batch rows that end in the error file
    batch_seconds: float = 0.3
    reply: str | None = None  # instead of a role made from the question
    finish_reason: str = "stop"
    refuse: dict | None = None  # {"status": …, "body": …} for every completion


@dataclass
class State:
    behaviour: Behaviour
    asked: Counter = field(default_factory=Counter)  # question → calls that arrived
    paid: Counter = field(default_factory=Counter)  # question → completions handed out
    kinds: Counter = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    times: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)


def question_of(body: dict) -> str:
    """The question that is asked: the last user turn that asks one."""
    asked = [m["content"] for m in body["messages"] if m["role"] == "user" and m["content"].startswith("Question: ")]
    return asked[-1].removeprefix("Question: ").split("\n\n(The last reply")[0]


def role_for(body: dict) -> str:
    """A role in the form that was asked for."""
    first = " ".join(question_of(body).split()[:8]) or "nothing"
    role = {"expert": f"an adviser on {first}", "brings": "Long practice with such questions.", "request": f"answer {first}"}
    return json.dumps(role) if "response_format" in body else "\n".join(f"{k.title()}: {v}" for k, v in role.items())


def completion(body: dict, content: str, finish_reason: str = "stop", refusal: str | None = None) -> dict:
    """A chat completion object."""
    sent = sum(len(m["content"]) for m in body["messages"]) // 4
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": f"chatcmpl-{random.getrandbits(40):x}", "object": "chat.completion", "created": int(time.time()), "model": "served-model-2026",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": sent, "completion_tokens": 40, "total_tokens": sent + 40},
    }


def create(behaviour: Behaviour) -> web.Application:
    """The server as an aiohttp application."""
    state, dice = State(behaviour), random.Random(behaviour.seed)
    app = web.Application(client_max_size=2**28)
    app["state"] = state

    def error(status: int, message: str, **headers: str) -> web.Response:
        return web.json_response({"error": {"message": message, "code": str(status)}}, status=status, headers=headers)

    @web.middleware
    async def door(request, handler):
        if behaviour.key and request.path != "/counts" and request.headers.get("Authorization") != f"Bearer {behaviour.key}":
            return error(401, f"Incorrect API key provided: {request.headers.get('Authorization', '')[7:]}")
        return await handler(request)

    app.middlewares.append(door)

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        question = question_of(body)
        state.asked[question] += 1
        state.times.append(time.time())
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        try:
            return await answer(request, body, question)
        finally:
            state.in_flight -= 1

    async def answer(request: web.Request, body: dict, question: str) -> web.StreamResponse:
        if behaviour.refuse:
            return web.json_response(behaviour.refuse["body"], status=behaviour.refuse["status"])
        kind = dice.choice(behaviour.kinds) if dice.random() < behaviour.faults else "fine"
        state.kinds[kind] += 1
        if kind == "429":
            return error(429, "slow down", **{"Retry-After": "0.2"})
        if kind == "500":
            return error(500, "server error")
        if kind == "drop":
            request.transport.close()
            return web.Response()
        if kind == "time-out":
            await asyncio.sleep(30)
            return error(504, "too late")
        await asyncio.sleep(behaviour.latency)
        state.paid[question] += 1
        headers = {"x-request-id": f"req-{sum(state.paid.values())}"}
        text = role_for(body) if behaviour.reply is None else behaviour.reply
        if kind == "cut body":
            return web.Response(text=json.dumps(completion(body, text))[:60], content_type="application/json", headers=headers)
        made = {
            "cut text": lambda: completion(body, text[: len(text) // 2], "length"),
            "refusal": lambda: completion(body, "", "stop", refusal="I can't help with that."),
            "empty": lambda: completion(body, ""),
        }.get(kind, lambda: completion(body, text, behaviour.finish_reason))()
        return web.json_response(made, headers=headers)

    async def models(_: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in behaviour.models]
        return web.json_response({"object": "list", "data": data})

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({
            "asked": state.asked, "paid": state.paid, "kinds": state.kinds, "most_in_flight": state.most_in_flight, "times": state.times,
            "batches": [{k: v for k, v in b.items() if k != "lines"} for b in state.batches.values()],
        })  # fmt: skip

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{len(state.files)}"
        state.files[name] = form["file"].file.read()
        return web.json_response({"id": name, "object": "file", "bytes": len(state.files[name]), "created_at": 0,
                                  "filename": form["file"].filename, "purpose": "batch", "status": "processed"})

    async def content(request: web.Request) -> web.Response:
        return web.Response(body=state.files[request.match_info["id"]])

    async def hand_in(request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"batch-{len(state.batches)}"
        lines = [json.loads(line) for line in state.files[asked["input_file_id"]].splitlines()]
        state.batches[name] = {"id": name, "born": time.time(), "lines": lines, "metadata": asked.get("metadata"),
                               "input_file_id": asked["input_file_id"], "expires": len(state.batches) < behaviour.expire,
                               "rows": len(lines), "output_file_id": None, "error_file_id": None, "status": "in_progress"}
        return web.json_response(shown(state.batches[name]))

    def work(batch: dict) -> None:
        """Do the whole batch at once when its time has come."""
        if batch["status"] != "in_progress" or time.time() - batch["born"] < behaviour.batch_seconds:
            return
        lines = batch["lines"]
        reached = lines[: len(lines) // 2] if batch["expires"] else lines
        good, bad = [], []
        for number, line in enumerate(lines):
            if number >= len(reached):
                bad.append({"custom_id": line["custom_id"], "response": None,
                            "error": {"code": "batch_expired", "message": "This request could not be executed in time."}})
            elif dice.random() < behaviour.failed_rows:
                bad.append({"custom_id": line["custom_id"], "error": None, "response": {
                    "status_code": 500, "request_id": "r", "body": {"error": {"message": "server error", "code": "500"}}}})
            else:
                state.paid[question_of(line["body"])] += 1
                good.append({"custom_id": line["custom_id"], "error": None, "response": {
                    "status_code": 200, "request_id": f"req-{number}", "body": completion(line["body"], role_for(line["body"]))}})
        for kind, rows in (("output_file_id", good), ("error_file_id", bad)):
            if rows:
                batch[kind] = f"file-{len(state.files)}"
                state.files[batch[kind]] = "\n".join(map(json.dumps, rows)).encode()
        batch["status"] = "expired" if batch["expires"] else "completed"

    def shown(batch: dict) -> dict:
        work(batch)
        counts = {"total": batch["rows"], "completed": 0, "failed": 0}
        return {"id": batch["id"], "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 0,
                "request_counts": counts, **{k: batch[k] for k in ("metadata", "input_file_id", "output_file_id", "error_file_id", "status")}}

    async def look(request: web.Request) -> web.Response:
        return web.json_response(shown(state.batches[request.match_info["id"]]))

    async def list_batches(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [shown(b) for b in state.batches.values()], "has_more": False})

    app.add_routes([
        web.post("/v1/chat/completions", chat), web.get("/v1/models", models), web.get("/counts", counts),
        web.post("/v1/files", upload), web.get("/v1/files/{id}/content", content),
        web.post("/v1/batches", hand_in), web.get("/v1/batches", list_batches), web.get("/v1/batches/{id}", look),
    ])  # fmt: skip
    return app


async def serve(behaviour: Behaviour) -> None:
    """Serve on a free port until killed; the port is printed first."""
    runner = web.AppRunner(create(behaviour))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Behaviour(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"))))
