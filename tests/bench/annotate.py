"""Speed and memory of the annotator, beside the plain loop that one would write (chapter 1).

`python tests/bench/annotate.py` asks a loopback server with a fixed latency: 1,030 rows at one
second, 64 in flight, and 20,000 rows at 0.02 seconds, each run in a process of its own. It prints
a table.

The peer is `AsyncOpenAI().chat.completions.create` under an `asyncio.Semaphore(64)` with
`asyncio.gather`, which keeps nothing: no log, no resume, no check of the replies.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

TESTS = Path(__file__).parent.parent
IN_FLIGHT = 64
RUNS = ((1030, 1.0), (1030, 0.02), (20_000, 0.02))  # rows and latency in seconds


async def peer(url: str, data: Path) -> None:
    """The plain loop: the same requests, all replies in a list."""
    import openai

    from selfprompt_lib import annotate, profiles
    from selfprompt_lib.rows import Conversation, read_rows

    form = annotate.RolePrompt.from_settings(profiles.Annotate(max_tokens=1000))
    client, turn = openai.AsyncOpenAI(base_url=url, api_key="none"), asyncio.Semaphore(IN_FLIGHT)

    async def ask(question: str):
        async with turn:
            return await client.chat.completions.create(**form.request(question, "served-model"))

    replies = await asyncio.gather(*(ask(row.question) for row in read_rows(data, Conversation)))
    assert all(reply.choices[0].message.content for reply in replies)


def measure(who: str, rows: int, latency: float, folder: Path) -> dict[str, float]:
    """One run in a process of its own: seconds of asking and in all, CPU seconds, peak MB."""
    server = subprocess.Popen(
        [sys.executable, TESTS / "loopback.py", json.dumps({"latency": latency})],
        stdout=subprocess.PIPE,
    )
    root = f"http://127.0.0.1:{int(server.stdout.readline())}"
    data = folder / f"{who}-{rows}-{latency}.jsonl"
    data.write_text(
        "".join(json.dumps({"question": f"What is fact number {i}?"}) + "\n" for i in range(rows))
    )
    ours = [
        sys.executable,
        "-m",
        "selfprompt_lib",
        "annotate",
        "--data",
        data,
        "--out",
        data.with_suffix(".roles.jsonl"),
        "--base-url",
        f"{root}/v1",
        "--model",
        "served-model",
        "--set",
        f"annotate.concurrency={IN_FLIGHT}",
    ]
    command = ours if who == "ours" else [sys.executable, __file__, "peer", f"{root}/v1", data]
    began = os.times().elapsed
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = os.times().elapsed - began
    with urllib.request.urlopen(f"{root}/counts") as answer:
        counts = json.load(answer)
    server.kill()
    server.wait()
    assert status == 0 and sum(map(len, counts["paid"].values())) == rows
    asking = max(counts["times"]) - min(counts["times"]) + latency
    return {
        "asking": asking,
        "all": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss / 1024,
    }


def main() -> None:
    print("who     rows  latency  ideal s  asking s  ratio  process s  CPU s  peak MB")
    peak = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows, latency in RUNS:
            for who in ("ours", "peer"):
                found = measure(who, rows, latency, Path(folder))
                ideal = -(-rows // IN_FLIGHT) * latency  # without the CPU's time
                ratio = f"{found['asking'] / ideal:.2f}" if latency >= 1 else "-"
                peak[who, rows, latency] = found["mb"]
                print(
                    f"{who:<5} {rows:>6,} {latency:>8} {ideal:>8.1f} "
                    f"{found['asking']:>9.1f} {ratio:>6} "
                    f"{found['all']:>10.1f} {found['cpu']:>6.1f} {found['mb']:>8.0f}",
                    flush=True,
                )
    for who in ("ours", "peer"):
        print(
            f"{who}: peak memory of 20,000 rows to 1,030: "
            f"{peak[who, 20_000, 0.02] / peak[who, 1030, 0.02]:.2f}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        asyncio.run(peer(sys.argv[2], Path(sys.argv[3])))
    else:
        main()
