"""TRL's SFTTrainer with PEFT, packed (best fit decreasing) or padded to the longest of a micro-batch; gradients of 2 of 2 rows.

Command: python benchmarks/peers/trl_training.py MODEL packed|dynamic EXAMPLES   (a line on stdin is an optimizer step)

float32, LoRA of rank 16 and alpha 32 on all linears, loss on the completion only, eager attention (transformers' sdpa refuses Gemma 2's
soft-cap), no gradient checkpointing, TRL's default loss (`nll` in chunks of the vocabulary's product).
"""

import json
import resource
import sys
import tempfile
import time

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

LENGTH = 1024


class Turns(transformers.TrainerCallback):
    """Waits for a line before each step and tells what the step took."""

    tokens = 0

    def on_step_begin(self, args, state, control, **_):
        if not sys.stdin.readline():
            control.should_training_stop = True
            sys.exit(0)
        Turns.tokens, self.begun = 0, time.process_time()

    def on_step_end(self, args, state, control, **_):
        took, peak = time.process_time() - self.begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"cpu_s": took, "tokens": Turns.tokens, "peak_mb": peak}), file=OUT, flush=True)


class Counted(SFTTrainer):
    """Counts the tokens of each micro-batch that are no padding."""

    def training_step(self, model, inputs, *rest):
        there = inputs.get("attention_mask")
        Turns.tokens += int(inputs["input_ids"].numel() if there is None else there.sum())
        return super().training_step(model, inputs, *rest)


OUT, sys.stdout = sys.stdout, sys.stderr  # what others print must not be taken for numbers


def main():
    folder, packed, examples = sys.argv[1], sys.argv[2] == "packed", np.load(sys.argv[3])
    torch.set_num_threads(1)
    rows = {"input_ids": [], "completion_mask": []}
    for i, completion in enumerate(examples["completions"][: 3200 if packed else 400]):
        begin, end = examples["starts"][i], examples["starts"][i + 1]
        rows["input_ids"].append(examples["ids"][begin:end].tolist())
        rows["completion_mask"].append([int(place >= completion) for place in range(begin, end)])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    piece = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    with tempfile.TemporaryDirectory() as out:
        options = SFTConfig(
            output_dir=out, per_device_train_batch_size=2, gradient_accumulation_steps=2, max_length=LENGTH,
            packing=packed, packing_strategy="bfd", completion_only_loss=True, learning_rate=2e-5, warmup_steps=100,
            lr_scheduler_type="cosine", max_steps=10_000, max_grad_norm=1.0, gradient_checkpointing=False, bf16=False,
            use_cpu=True, report_to="none", save_strategy="no", logging_steps=1, dataloader_num_workers=0, seed=42,
        )  # fmt: skip
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = Counted(
            model=model, args=options, train_dataset=Dataset.from_dict(rows), processing_class=piece, peft_config=lora,
            callbacks=[Turns()],
        )  # fmt: skip
        trainer.train()


def tokenizer():
    """One that is asked for its special ids only: the examples are ids already."""
    from tokenizers import Tokenizer, models

    names = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
    return Tokenizer(models.WordLevel(names, unk_token="<unk>"))


if __name__ == "__main__":
    main()
