"""transformers' generate, greedy, `slots` prompts a call in the order given; float32, eager attention, left-padded.

Command: python benchmarks/peers/hf_decode.py MODEL WORK   (a line on stdin is a turn; WORK as in training_decode.py)
"""

import json
import sys
import time

import torch
import transformers


def main():
    with open(sys.argv[2]) as file:
        work = json.load(file)
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        sys.argv[1], dtype=torch.float32, attn_implementation="eager"
    ).eval()
    stops = set(work["stop_ids"])
    for _ in sys.stdin:
        begin, ids = time.process_time(), []
        for first in range(0, len(work["prompts"]), work["slots"]):
            prompts = work["prompts"][first : first + work["slots"]]
            longest = max(map(len, prompts))
            rows = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
            there = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
            told = model.generate(
                rows,
                attention_mask=there,
                max_new_tokens=work["new"],
                do_sample=False,
                eos_token_id=work["stop_ids"] or None,
                pad_token_id=0,
            )[:, longest:]
            for row in told.tolist():
                end = next((i for i, token in enumerate(row) if token in stops), len(row))
                ids.append(row[:end])
        took = time.process_time() - begin
        print(json.dumps({"cpu_s": took, "ids": ids}), flush=True)


if __name__ == "__main__":
    main()
