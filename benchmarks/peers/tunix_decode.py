"""tunix's Sampler on eight prompts, greedy, 64 new ids each; float32, its own Gemma from the same safetensors.

Command: python benchmarks/peers/tunix_decode.py MODEL PROMPTS   (a line on stdin is a turn)
"""

import json
import sys
import time

from tunix.generate import sampler
from tunix_training import load

NEW = 64


class Ids:
    """A tokenizer of numbers: '2 17 108' is three ids. No id ends a completion, as on the other sides."""

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
        prompts = json.load(file)
    model = load(sys.argv[1])
    config = model.config
    cache = sampler.CacheConfig(
        cache_size=64 + NEW, num_layers=config.num_layers, num_kv_heads=config.num_kv_heads, head_dim=config.head_dim
    )
    made = sampler.Sampler(model, Ids(), cache)
    texts = [" ".join(map(str, p[1:])) for p in prompts]
    for _ in sys.stdin:
        begin = time.process_time()
        told = made(texts, max_generation_steps=NEW, max_prompt_length=64, temperature=0.0)
        ids = [[int(i) for i in row] for row in told.tokens]
        print(json.dumps({"cpu_s": time.process_time() - begin, "ids": ids}), flush=True)


if __name__ == "__main__":
    main()
