"""transformers' generate on eight prompts, greedy, 64 new ids each; float32, eager attention, left-padded.

Command: python benchmarks/peers/hf_decode.py MODEL PROMPTS   (a line on stdin is a turn)
"""

import json
import sys
import time

import torch
import transformers

NEW = 64


def main():
    with open(sys.argv[2]) as file:
        prompts = json.load(file)
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        sys.argv[1], dtype=torch.float32, attn_implementation="eager"
    ).eval()
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    there = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    for _ in sys.stdin:
        begin = time.process_time()
        told = model.generate(ids, attention_mask=there, max_new_tokens=NEW, do_sample=False, eos_token_id=None)[
            :, longest:
        ]
        print(json.dumps({"cpu_s": time.process_time() - begin, "ids": told.tolist()}), flush=True)


if __name__ == "__main__":
    main()
