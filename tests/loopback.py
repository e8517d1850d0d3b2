"""An OpenAI-compatible server on loopback that misbehaves on purpose, for tests and benchmarks.

Run as `python tests/loopback.py '{"faults": 0.3, …}'`: it prints its port. It answers chat
completions with a role made from the question, or as a scripted judge, and has files and batches.
`GET /counts` tells what it was asked and what it was paid for, `GET /bodies` the last requests,
and `POST /start` starts one more server that behaves as the posted object says.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

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
    models: tuple[str, ...] | str | int | None = ("served-model",)  # or: a page, an error's status, no answer
    replies: tuple[
        dict | None, ...
    ] = ()  # the first, second … reply to a question, then the last one again (see `completion`)
    judge: str | None = (
        None  # "perfect", "first", "second", "longer" or "prose" (see `verdict_for`)
    )
    raw: str | None = None  # the whole body of every completion
    refuse: dict | None = None  # {"status": …, "body": …} for every completion (see `refusal_of`)
    leaves: int | None = None  # goes away after so many calls
    batches: bool = True  # has the Batch API
    broken: str | None = None  # why every batch fails at once
    expire: int = 0  # the first so many batches expire half done
    failed_rows: float = 0.0  # share of batch rows that end in the error file
    batch_seconds: float = 0.3
    ends_as: str = "completed"  # how a batch ends that does not expire
    lines: dict | None = None  # number of a line in a batch's output: what stands in its place; "": nothing
    after_upload: float = 0.0  # seconds between taking the first file and saying so
    after_hand_in: float = 0.0  # and the first batch


@dataclass
class State:
    asked: Counter = field(default_factory=Counter)  # question → calls that arrived
    paid: dict[str, list] = field(
        default_factory=lambda: defaultdict(list)
    )  # question → kinds of the completions handed out
    in_flight: int = 0
    most_in_flight: int = 0
    times: list = field(default_factory=list)
    bodies: deque = field(default_factory=lambda: deque(maxlen=50))
    files: dict = field(default_factory=dict)
    batches: dict = field(default_factory=dict)


def question_of(body: dict) -> str:
    """The question that is asked: the last user turn that asks one."""
    asked = [
        m["content"]
        for m in body["messages"]
        if m["role"] == "user" and m["content"].startswith("Question: ")
    ]
    return asked[-1].removeprefix("Question: ").split("\n\n(The last reply")[0]


def role_for(body: dict) -> str:
    """A role in the form that was asked for."""
    first = " ".join(question_of(body).split()[:8]) or "nothing"
    role = {
        "expert": f"an adviser on {first}",
        "brings": "Long practice with such questions.",
        "request": f"answer {first}",
    }
    return (
        json.dumps(role)
        if "response_format" in body
        else "\n".join(f"{k.title()}: {v}" for k, v in role.items())
    )


ANSWERS = re.compile(
    r"Question: (.*)\n\n\[Answer A\]\n(.*)\n\[End of answer A\]\s+"
    r"\[Answer B\]\n(.*)\n\[End of answer B\]",
    re.S,
)
HELD_OUT = Path(__file__).parents[1] / "selfprompt_lib" / "resources" / "starter" / "heldout.jsonl"
REFERENCES = {
    row["question"]: row["reference"]
    for row in map(json.loads, HELD_OUT.read_text(encoding="utf-8").splitlines())
}


def verdict_for(body: dict, judge: str) -> str:
    """What a scripted judge says: the perfect one knows the starter data's reference answers."""
    asked = next(
        m["content"] for m in reversed(body["messages"]) if m["content"].startswith("Question: ")
    )
    question, a, b = ANSWERS.match(asked).groups()
    if judge == "prose":
        return "Both answers have their merits, and much could be said for either of them."
    goodness = {"perfect": lambda text: text == REFERENCES.get(question), "longer": len}.get(
        judge, lambda _: 0
    )
    better = "tie" if goodness(a) == goodness(b) else "AB"[goodness(b) > goodness(a)]
    place = {"first": "A", "second": "B"}.get(judge, better)
    return f"It seems so to me.\nVerdict: {place}"


def refusal_of(refuse: dict, body: dict, asked: int) -> web.Response | None:
    """The refusal of a call, if it gets one.

    `text` stands for a body that is no JSON, of the content type `kind`. Those are let through
    that are among the first `before` calls or come after `until`, ask no question that holds the words
    `about`, or open with no turn of the `role`.
    """
    let_in = not refuse.get("before", 0) < asked <= refuse.get("until", asked)
    let_in |= refuse.get("about", "") not in question_of(body)
    if let_in or body["messages"][0]["role"] != refuse.get("role", body["messages"][0]["role"]):
        return None
    text = refuse["text"] if "text" in refuse else json.dumps(refuse["body"])
    kind = refuse.get("kind", "application/json")
    return web.Response(text=text, status=refuse["status"], content_type=kind, headers=refuse.get("headers"))


def completion(
    body: dict, content: str | None = None, finish_reason: str = "stop", refusal: str | None = None
) -> dict:
    """A chat completion object."""
    sent = sum(len(m["content"]) for m in body["messages"]) // 4
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": f"chatcmpl-{random.getrandbits(40):x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "served-model-2026",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {"prompt_tokens": sent, "completion_tokens": 40, "total_tokens": sent + 40},
    }


def error(status: int, message: str, code: str | None = None, **headers: str) -> web.Response:
    """An error as OpenAI's servers write it."""
    return web.json_response(
        {"error": {"message": message, "code": code or str(status)}}, status=status, headers=headers
    )


def create(behaviour: Behaviour) -> web.Application:
    """The server as an aiohttp application."""
    state, dice = State(), random.Random(behaviour.seed)

    @web.middleware
    async def door(request: web.Request, handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if behaviour.key and request.path.startswith("/v1/") and given != behaviour.key:
            return error(401, f"Incorrect API key provided: {given}")
        return await handler(request)

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        state.bodies.append(body)
        state.asked[question_of(body)] += 1
        state.times.append(time.time())
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        try:
            return await answer(request, body)
        finally:
            state.in_flight -= 1

    def paid_reply(body: dict, kind: str = "fine") -> dict:
        """The completion that this call is paid for."""
        before = state.paid[question_of(body)]
        before.append(kind)
        given = behaviour.replies[: len(before)][-1:]
        said = verdict_for(body, behaviour.judge) if behaviour.judge else role_for(body)
        made = completion(body, **(given and given[0] or {"content": said}))
        choice = made["choices"][0]
        if kind == "cut text":
            choice["finish_reason"], choice["message"]["content"] = (
                "length",
                role_for(body)[: len(role_for(body)) // 2],
            )
        if kind in ("refusal", "empty"):
            choice["message"] = {
                "content": "",
                "refusal": "I can't help with that." if kind == "refusal" else None,
            }
        return made

    async def answer(request: web.Request, body: dict) -> web.StreamResponse:
        asked = sum(state.asked.values())
        if behaviour.refuse and (refusal := refusal_of(behaviour.refuse, body, asked)) is not None:
            return refusal
        kind = dice.choice(behaviour.kinds) if dice.random() < behaviour.faults else "fine"
        if kind == "429":
            return error(429, "slow down", **{"Retry-After": "0.2"})
        if kind == "500":
            return error(500, "server error")
        if kind == "filter":
            return error(400, "filtered", "content_filter")
        if kind == "echo":
            return error(400, f"cannot read {request.headers['Authorization']}")
        if kind == "drop":
            request.transport.close()
            return web.Response()
        while kind == "time-out" and request.transport and not request.transport.is_closing():
            await asyncio.sleep(0.05)  # until the client gives up
        if kind == "time-out":
            return web.Response()
        await asyncio.sleep(behaviour.latency)
        if asked == behaviour.leaves:
            asyncio.get_running_loop().call_later(0, lambda: asyncio.ensure_future(request.app["runner"].cleanup()))
        text = json.dumps(paid_reply(body, kind))
        text = text[:60] if kind == "cut body" else behaviour.raw or text
        headers = {"x-request-id": f"req-{sum(map(len, state.paid.values()))}"}
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def models(_: web.Request) -> web.Response:
        if isinstance(behaviour.models, str):
            return web.Response(text=behaviour.models, content_type="text/html")
        if isinstance(behaviour.models, int):
            return error(behaviour.models, "not for this key")
        while behaviour.models is None:
            await asyncio.sleep(0.1)
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tests"}
            for name in behaviour.models
        ]
        return web.json_response({"object": "list", "data": data})

    async def counts(_: web.Request) -> web.Response:
        return web.json_response({
            "asked": state.asked, "paid": state.paid, "times": state.times,
            "in_flight": state.in_flight, "most_in_flight": state.most_in_flight,
            "files": len(state.files), "batches": len(state.batches),
        })  # fmt: skip

    async def bodies(_: web.Request) -> web.Response:
        return web.json_response(list(state.bodies))

    async def start(request: web.Request) -> web.Response:
        return web.json_response(await listen(Behaviour(**await request.json())))

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{len(state.files)}"
        state.files[name] = form["file"].file.read()
        await asyncio.sleep(behaviour.after_upload if len(state.files) == 1 else 0)
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": len(state.files[name]),
                "created_at": 0,
                "filename": form["file"].filename,
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def content(request: web.Request) -> web.Response:
        return web.Response(body=state.files[request.match_info["id"]])

    async def hand_in(request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"batch-{len(state.batches)}"
        lines = [json.loads(line) for line in state.files[asked["input_file_id"]].splitlines()]
        state.batches[name] = {
            "id": name, "born": time.time(), "lines": lines,
            "expires": len(state.batches) < behaviour.expire,
            "shown": {"id": name, "object": "batch", "endpoint": "/v1/chat/completions",
                      "completion_window": "24h", "created_at": 0, "status": "in_progress",
                      "metadata": asked.get("metadata"), "input_file_id": asked["input_file_id"],
                      "request_counts": {"total": len(lines), "completed": 0, "failed": 0}},
        }  # fmt: skip
        await asyncio.sleep(behaviour.after_hand_in if len(state.batches) == 1 else 0)
        return web.json_response(shown(state.batches[name]))

    def shown(batch: dict) -> dict:
        """The batch object; the whole batch is done at once when its time has come."""
        told = batch["shown"]
        if told["status"] == "in_progress" and behaviour.broken:
            fault = {"code": "invalid", "message": behaviour.broken, "line": 1}
            told |= {"status": "failed", "errors": {"object": "list", "data": [fault]}}
        elif (
            told["status"] == "in_progress"
            and time.time() - batch["born"] >= behaviour.batch_seconds
        ):
            told["status"] = "expired" if batch["expires"] else behaviour.ends_as
            good, bad = work(batch)
            told["request_counts"] |= {"completed": len(good), "failed": len(bad)}
            for kind, rows in (("output_file_id", good), ("error_file_id", bad)):
                if rows:
                    told[kind] = f"file-{len(state.files)}"
                    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
                    for number, line in (behaviour.lines or {}).items():
                        lines[int(number)] = line.replace("KEY", rows[int(number)]["custom_id"])
                    state.files[told[kind]] = "\n".join(lines).encode(errors="surrogateescape")
        return told

    def work(batch: dict) -> tuple[list, list]:
        good, bad, reached = [], [], len(batch["lines"]) // (2 if batch["expires"] else 1)
        for number, line in enumerate(batch["lines"]):
            row = {"custom_id": line["custom_id"], "error": None, "response": None}
            if number >= reached:
                bad.append(
                    row
                    | {
                        "error": {
                            "code": "batch_expired",
                            "message": "This request could not be executed in time.",
                        }
                    }
                )
            elif behaviour.refuse and (refused := refusal_of(behaviour.refuse, line["body"], 1)) is not None:
                bad.append(row | {"response": {"status_code": refused.status, "body": json.loads(refused.text)}})
            elif dice.random() < behaviour.failed_rows:
                fault = {"error": {"message": "server error", "code": "500"}}
                bad.append(
                    row | {"response": {"status_code": 500, "request_id": "r", "body": fault}}
                )
            else:
                reply = {
                    "status_code": 200,
                    "request_id": f"req-{number}",
                    "body": paid_reply(line["body"]),
                }
                good.append(row | {"response": reply})
        return good, bad

    async def look(request: web.Request) -> web.Response:
        return web.json_response(shown(state.batches[request.match_info["id"]]))

    async def list_batches(_: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": list(map(shown, state.batches.values())), "has_more": False}
        )

    app = web.Application(client_max_size=2**28, middlewares=[door])
    app.add_routes(
        [
            web.post("/v1/chat/completions", chat),
            web.get("/v1/models", models),
            web.get("/counts", counts),
            web.get("/bodies", bodies),
            web.post("/start", start),
        ]
    )
    if behaviour.batches:
        app.add_routes(
            [
                web.post("/v1/files", upload),
                web.get("/v1/files/{id}/content", content),
                web.post("/v1/batches", hand_in),
                web.get("/v1/batches", list_batches),
                web.get("/v1/batches/{id}", look),
            ]
        )
    return app


async def listen(behaviour: Behaviour) -> int:
    """Start a server on a free port; returns the port."""
    app = create(behaviour)
    runner = app["runner"] = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    return runner.addresses[0][1]


async def serve(behaviour: Behaviour) -> None:
    """Serve until killed; the port is printed first."""
    print(await listen(behaviour), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Behaviour(**json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}"))))
