"""Asks the base or one session every held-out question, and measures what it writes.

*Takes*  results/heldout/prompts.json, results/download/base.json and, for a session, results/train/<session>/manifest.json.
*Leaves* results/evaluate/<base or session>/: generations.parquet (every completion with its grades), metrics.json (measures
         with 95 % intervals, in total and by source), questions.parquet (the same of the user's own questions, which
         evaluate.questions names; their measures stand apart), manifest.json. Times stand in the log alone.

    python -m showwork.evaluate --settings JSON --base results/download/base.json --prompts results/heldout/prompts.json
        --adapter results/train/session1/manifest.json --metrics M --generations G --questions Q --manifest OUT

Four tasks on the same prompts, each with a version that changes whenever its number could (learn/measures.py):
  greedy   the question in the training template, the most likely token each time, until <end_of_turn>
  sampled  the same at evaluate.temperature, when one is set
  direct   `Question: … Answer:` as plain text, one line: what the model knows without tags or trace. Where the gold is short
  gold     the gold completion, teacher-forced: loss per token, and the probability of stopping at its end
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from showwork.foundation.files import canonical, write_json
from showwork.foundation.manifest import read_checked, read_manifest, write_manifest
from showwork.foundation.provenance import code_version
from showwork.foundation.stage import Say, run_stage
from showwork.foundation.tables import read_rows, write_table
from showwork.learn.device import compile_cache
from showwork.learn.grade import answers_match, grade, is_short, switches_language
from showwork.learn.measures import ANSWERED, GENERATION, TASKS, measures, measures_of_questions, task_version
from showwork.learn.rollout import Request, Rollout, generate
from showwork.learn.score import token_log_probs
from showwork.learn.trained import trained_params
from showwork.model.config import GemmaConfig
from showwork.model.decode import unstack
from showwork.model.params import read_config
from showwork.records.questions import all_questions
from showwork.tokens.base import base_folder
from showwork.tokens.fitting import joined, shortened
from showwork.tokens.packing import DTYPES, PackedArrays, best_fit_decreasing, pack
from showwork.tokens.template import BOS, Segment, completion_segments, prompt_segments
from showwork.tokens.tokenizer import Encoded, Encoder, load_encoder

EOS = "<eos>"
SCORED_AT_ONCE = 8192  # tokens of gold completions per pass
DIRECT_SPARE_TOKENS = 8  # a direct answer this much longer than the longest short gold answer cannot match one

Settings = dict[str, Any]
Row = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The files of this stage."""
    parser.add_argument("--base", type=Path, required=True, help="manifest of the base")
    parser.add_argument("--prompts", type=Path, required=True, help="manifest of the held-out questions")
    parser.add_argument("--adapter", type=Path, help="manifest of a trained session; the base itself without it")
    parser.add_argument("--work", type=Path, help="folder that keeps compiled programs between jobs; not an output")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write: the measures")
    parser.add_argument("--generations", type=Path, required=True, help="parquet to write: every completion")
    parser.add_argument(
        "--questions", type=Path, required=True, help="parquet to write: completions of the user's questions"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest to write")


def work(args: argparse.Namespace, settings: Settings, say: Say) -> None:
    """Load, score the gold completions, generate, grade, write.

    Raises:
        ValueError: no prompts, an adapter of another base, a file of questions that is none.
    """
    prompts = [
        row | {"answers": [row["answer"]]}
        for batch in read_rows(read_checked(args.prompts, "prompts"))
        for row in batch.to_pylist()
    ]
    own = own_questions(settings["evaluate"]["questions"])
    if not prompts:
        raise ValueError(f"{args.prompts}: lists 0 held-out questions, at least 1 is needed; raise held_out.share")
    folder = base_folder(args.base, weights=True)
    config = read_config(folder)
    encoder = load_encoder(folder, config)
    cfg = GemmaConfig.from_hf(config)
    if args.work:
        compile_cache(args.work / "jax-cache")
    session = (read_checked(args.adapter, "adapter"), read_manifest(args.adapter)["adapter"]) if args.adapter else ()
    params = trained_params(folder, cfg, settings["dtype"], *session)

    scores = score_gold(prompts, params, cfg, encoder, settings["template"], say)
    weights = unstack(params, cfg)
    del params  # the unstacked weights are copies; a large base must not be held twice
    rows = ask(prompts, weights, cfg, encoder, settings, say)
    for row, score in zip(rows, scores, strict=False):  # greedy rows come first, one per prompt
        row |= score

    answered = ask(own, weights, cfg, encoder, settings, say) if own else []
    by_id = {(question["source"], question["prompt_id"]): question for question in own}
    for row in answered:
        question = by_id[row["source"], row["prompt_id"]]
        row |= {"gold_answers": question["answers"], "tags": question["tags"]}

    sink = write_table(args.generations, GENERATION, [rows])
    write_table(args.questions, ANSWERED, [answered])
    found, of_own = measures(rows), measures_of_questions(answered)
    asked, code = read_manifest(args.prompts)["files"]["prompts"]["sha256"], code_version("showwork.evaluate")
    tasks = {task: task_version(task, settings, asked, code) for task in TASKS if task in found["total"]}
    for name, block in of_own.items():
        asked = hashlib.sha256(canonical([q for q in own if q["source"] == name]).encode()).hexdigest()
        block["tasks"] = {task: task_version(task, settings, asked, code) for task in TASKS if task in block["total"]}
    write_json(args.metrics, {"name": settings["name"], "tasks": tasks, **found, "questions": of_own})
    write_manifest(
        args.manifest,
        stage="evaluate",
        name=settings["name"],
        settings=settings,
        inputs={k: v for k, v in (("base", args.base), ("prompts", args.prompts), ("adapter", args.adapter)) if v},
        files={"metrics": args.metrics, "generations": args.generations, "questions": args.questions},
        counts={"prompts": found["num_prompts"], "generations": len(rows), "questions": len(own)},
        digest=sink.digest,
        tasks=tasks,
    )
    say(sentence(found["total"]))


def own_questions(files: Mapping[str, str]) -> list[Row]:
    """The user's questions, as prompts without a trace; texts made harmless as those of every source.

    Raises:
        ValueError, FileNotFoundError: a file that is none.
    """
    return [
        {
            "prompt_id": question.id,
            "source": name,
            "question": question.question,
            "answer": question.answers[0] if question.answers else "",
            "answers": list(question.answers),
            "tags": list(question.tags),
        }
        for name, question in all_questions(files)
    ]


def score_gold(
    prompts: Sequence[Row], params: dict, cfg: GemmaConfig, encoder: Encoder, template: Settings, say: Say
) -> list[Row]:
    """The gold columns of each prompt's row; examples are fitted and packed exactly as for training."""
    started = time.perf_counter()
    examples = gold_examples(prompts, encoder, template)
    kept = [(i, example) for i, example in enumerate(examples) if example is not None]
    length = template["max_seq_length"]
    bins = best_fit_decreasing([len(example) for _, example in kept], length)
    at_once = max(1, min(SCORED_AT_ONCE // length, len(bins)))
    shape = (-(-len(bins) // at_once) * at_once, length)
    arrays = PackedArrays(**{name: np.zeros(shape, dtype) for name, dtype in DTYPES.items()})
    pack(bins, [(example.ids, example.trained) for _, example in kept], arrays)
    log_probs = np.zeros(shape, np.float64)
    for start in range(0, shape[0], at_once):
        rows = slice(start, start + at_once)
        batch = (arrays.tokens[rows], arrays.positions[rows], arrays.segment_ids[rows])
        log_probs[rows] = token_log_probs(params, cfg, *batch)
    scores: list[Row] = [{"gold_loss": None, "gold_tokens": 0, "stop_probability": None} for _ in prompts]
    for row, members in enumerate(bins):
        for segment, member in enumerate(members, start=1):
            mine = (arrays.segment_ids[row] == segment) & (arrays.loss_mask[row] == 1)
            of_completion = log_probs[row][mine]
            scores[kept[member][0]] = {
                "gold_loss": round(float(-of_completion.sum()), 6),
                "gold_tokens": int(mine.sum()),
                "stop_probability": round(float(np.exp(of_completion[-1])), 6),
            }
    say(
        f"{len(kept):,} gold completions scored in {time.perf_counter() - started:.1f} s; {len(prompts) - len(kept):,} too long"
    )
    return scores


def gold_examples(prompts: Sequence[Row], encoder: Encoder, template: Settings) -> list[Encoded | None]:
    """Prompt and gold completion of each question; None where not even a trimmed trace fits max_seq_length."""
    asked = encoder.encode_many([prompt_segments(template["system_prompt"], p["question"]) for p in prompts])
    answered = encoder.encode_many([completion_segments(p["trace"], p["answer"]) for p in prompts])
    examples: list[Encoded | None] = []
    for prompt, question, completion in zip(prompts, asked, answered, strict=True):
        whole: Encoded | None = joined(question, completion)
        if whole is not None and len(whole) > template["max_seq_length"]:
            whole, _ = shortened(prompt, question, encoder, template)
        examples.append(whole)
    return examples


def ask(
    prompts: Sequence[Row], weights: dict, cfg: GemmaConfig, encoder: Encoder, settings: Settings, say: Say
) -> list[Row]:
    """One row per completion: all greedy ones in the order of the prompts, then direct, then sampled."""
    how = settings["evaluate"]
    limit, most = how["max_new_tokens"], how["answer_match_max_characters"]
    asked = encoder.encode_many(
        [prompt_segments(settings["template"]["system_prompt"], p["question"]) for p in prompts]
    )
    stops = (encoder.end_of_turn_id, encoder.control_ids[EOS])
    tagged = [Request(e.ids, stops, limit, number) for number, e in enumerate(asked)]
    judged = [p for p in prompts if how["direct_prompt"] and any(is_short(a, most) for a in p["answers"])]
    direct = direct_requests(judged, how["direct_prompt"], encoder, stops, most)

    def run(requests: Sequence[Request], temperature: float | None) -> list[Rollout]:
        started = time.perf_counter()
        rollouts = generate(
            weights, cfg, requests, temperature=temperature, seed=settings["seed"], slots=how["batch"],
            progress=lambda done, tokens: say.progress(done, len(requests), f"completions, {tokens:,} tokens"),
        )  # fmt: skip
        tokens, seconds = sum(len(r.ids) for r in rollouts), time.perf_counter() - started
        say(f"{len(requests):,} completions, {tokens:,} tokens in {seconds:.1f} s ({tokens / seconds:,.0f} tokens/s)")
        return rollouts

    written = run([*tagged, *direct], None)
    rows = [completion_row(p, "greedy", r, encoder, most) for p, r in zip(prompts, written, strict=False)]
    rows += [direct_row(p, r, encoder) for p, r in zip(judged, written[len(prompts) :], strict=True)]
    if how["temperature"] is not None:
        drawn = run(tagged, how["temperature"])
        rows += [completion_row(p, "sampled", r, encoder, most) for p, r in zip(prompts, drawn, strict=True)]
    return rows


def direct_requests(
    prompts: Sequence[Row], form: str, encoder: Encoder, stops: tuple[int, ...], most: int
) -> list[Request]:
    """The questions as plain text after `<bos>`; the end of the line stops."""
    if not prompts:
        return []
    plain = [[Segment(BOS, control=True), Segment(form.replace("{question}", p["question"]))] for p in prompts]
    short = [a for p in prompts for a in p["answers"] if is_short(a, most)]
    limit = max(encoder.count_tokens(short)) + DIRECT_SPARE_TOKENS
    ends = tuple(sorted({*stops, *line_ends(encoder)}))
    return [Request(e.ids, ends, limit, number) for number, e in enumerate(encoder.encode_many(plain))]


def line_ends(encoder: Encoder) -> list[int]:
    """Ids of all pieces that hold a newline, such as "\\n" and "\\n\\n"."""
    size = encoder.tokenizer.get_vocab_size()
    texts = encoder.tokenizer.decode_batch([[i] for i in range(size)], skip_special_tokens=False)
    return [i for i, text in enumerate(texts) if "\n" in text]


def completion_row(prompt: Row, mode: str, rollout: Rollout, encoder: Encoder, match_max_characters: int) -> Row:
    """One graded completion. Only `<end_of_turn>` ends a well-formed one: another stop token stays in the text."""
    stopped = rollout.ids[-1] == encoder.end_of_turn_id
    text = encoder.decode((rollout.ids[:-1] if stopped else rollout.ids).tolist())
    found = grade(text, prompt["answers"], stopped=bool(stopped), match_max_characters=match_max_characters)
    return _row(prompt, mode, rollout, text) | {
        "trace": found.trace,
        "answer": found.answer,
        "reason": found.reason,
        "well_formed": found.well_formed,
        "graded": found.graded,
        "correct": found.correct,
        "looping": found.looping,
        "truncated": not rollout.stopped,
        "answer_copied": found.answer_copied,
        "language_switched": switches_language(prompt["question"], text),
    }


def direct_row(prompt: Row, rollout: Rollout, encoder: Encoder) -> Row:
    """One direct answer: the first line, right or wrong."""
    text = encoder.decode(rollout.ids[: len(rollout.ids) - rollout.stopped].tolist()).split("\n")[0].strip()
    return _row(prompt, "direct", rollout, text) | {
        "trace": "",
        "answer": text,
        "reason": "",
        "well_formed": None,
        "graded": None,
        "correct": any(answers_match(text, answer) for answer in prompt["answers"]),
        "looping": None,
        "truncated": not rollout.stopped,
        "answer_copied": None,
        "language_switched": None,
    }


def _row(prompt: Row, mode: str, rollout: Rollout, text: str) -> Row:
    return {
        "prompt_id": prompt["prompt_id"],
        "source": prompt["source"],
        "mode": mode,
        "question": prompt["question"],
        "gold_answer": prompt["answer"],
        "completion": text,
        "stop_reason": rollout.reason,
        "num_tokens": len(rollout.ids),
        "gold_loss": None,
        "gold_tokens": None,
        "stop_probability": None,
    }


def sentence(total: dict[str, Any]) -> str:
    """The result in a line for the log."""

    def shown(share: dict[str, Any]) -> str:
        if share["share"] is None:
            return "–"
        return f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"

    written, gold = total["greedy"], total["gold"]
    parts = [f"well-formed {shown(written['well_formed'])}", f"right answers {shown(written['accuracy'])}"]
    if "direct" in total:
        parts.append(f"asked directly {shown(total['direct']['accuracy'])}")
    parts += [f"looping {shown(written['looping'])}", f"truncated {shown(written['truncated'])}"]
    if gold["loss"] is not None:
        parts += [f"P(stop) {gold['stop_probability']:.3f}", f"held-out loss {gold['loss']:.4f}"]
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(run_stage(work, arguments, __doc__))
