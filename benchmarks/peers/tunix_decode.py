"""tunix's Sampler, greedy, `slots` prompts a call in the order given; float32, its own Gemma from the same safetensors.

Command: python benchmarks/peers/tunix_decode.py MODEL WORK   (a line on stdin is a turn; WORK as in training_decode.py)
"""

import json
import sys
import time

from tunix.generate import sampler
from tunix_training import load

PROMPT = 64  # ids of the longest


class Ids:
    """A tokenizer of numbers: '2 17 108' is three ids. By itself no id ends a completion, as on the other sides."""

    def encode(self, text, **_):
        return [int(n) for n in text.split()]

    def decode(self, ids, **_):
        return " ".join(map(str, ids))

    def bos_id(self):
        return 2

    def eos_id(self):
        return -1

    def pad_id(self):
        return 0


def main():
    with open(sys.argv[2]) as file:
        work = json.load(file)
    model = load(sys.argv[1])
    config = model.config
    cache = sampler.CacheConfig(
        cache_size=PROMPT + work["new"],
        num_layers=config.num_layers,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
    )
    made = sampler.Sampler(model, Ids(), cache)
    texts = [" ".join(map(str, p[1:])) for p in work["prompts"]]
    for _ in sys.stdin:
        begin, ids = time.process_time(), []
        for first in range(0, len(texts), work["slots"]):
            told = made(
                texts[first : first + work["slots"]],
                max_generation_steps=work["new"],
                max_prompt_length=PROMPT,
                temperature=0.0,
                eos_tokens=work["stop_ids"] or None,
            )
            ids += [[int(i) for i in row] for row in told.tokens]
        took = time.process_time() - begin
        print(json.dumps({"cpu_s": took, "ids": ids}), flush=True)


if __name__ == "__main__":
    main()
