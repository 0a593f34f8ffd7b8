"""Our training step against google-tunix's and TRL's, and against what it could be: speed, memory, start-up, the recipe's own rate.

Takes:  a folder to work in; the peers' environments (`make peers`).
Leaves: tables and benchmarks/results/<date>-training-<row>.json; exit status 1 below the bars.

    python benchmarks/training.py work/benchmark [--only sft] [--rounds 5] [--core 0]

Every contestant is a process of its own pinned to one core. It compiles, takes one step that is not counted, and then waits for a line
before each further step; the lines go round, so that what else the machine does falls on all. Counted are CPU seconds of an optimizer
step of 2 x 2 rows of 1,024 (float32, LoRA of rank 16 on all seven linears, loss on the completion), and tokens that are no padding.

What they are compared with
    tunix   google-tunix 0.1.7 PeftTrainer and qwix as tunix's examples use them: rows padded to 1,024, no remat. Its SFT trainer has
            no packing. A user can pass a block-diagonal mask and reset positions by hand, which in rows no longer than the window
            is right: that user sees the ratio per slot, not the one in real tokens.
    TRL     1.16.0 SFTTrainer and PEFT: packed (bfd) or padded to the longest of a micro-batch, eager attention (sdpa refuses the
            soft-cap; no flash attention on a CPU), no gradient checkpointing, its own chunked loss.
    ours    one configuration everywhere, the shipped one but for rank and rows: remat block, health metrics at every step.
Real tokens of fixed shapes are those that the fill over all 20,000 examples gives (a step costs the same whatever the fill), so that no
side gains by lucky rows; of TRL's dynamic padding, whose shapes vary, those of all steps together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from race import HERE, REPO, judge, measure, peer, pinned, write
from training_data import LENGTH, LENGTHS, fills, read_examples, write_examples, write_model
from training_step import ROWS

TUNIX = REPO / ".tunix-venv/bin/python"
Bars = list[tuple[str, float, float, bool]]
SLOTS = ROWS * LENGTH
LIVELY = 8.0  # norms after each block at which completions do not say one token over and over
MUST = {"mix": 5.0, "session1-like": 3.0, "short": 8.0}


def tunix(script: str, *arguments: Any) -> list[str]:
    """The command of a tunix peer.

    Raises: FileNotFoundError when its environment has not been made.
    """
    if not TUNIX.is_file():
        raise FileNotFoundError(f"{TUNIX}: tunix's environment is not there; make it with `make peers`")
    return [str(TUNIX), str(HERE / "peers" / script), *map(str, arguments)]


def ours(script: str, *arguments: Any) -> list[str]:
    """The command of one of our scripts beside this one."""
    return [sys.executable, str(HERE / script), *map(str, arguments)]


class Contestant:
    """A process that answers a line with a line of JSON."""

    def __init__(self, command: Sequence[str], core: int, log: Path):
        self._log = log
        self._process = subprocess.Popen(
            pinned(command, core), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True
        )

    def turn(self, line: str = "") -> dict[str, Any]:
        """One step.

        Raises: SystemExit when the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        for said in self._process.stdout:
            if said.startswith("{"):
                return dict(json.loads(said))
        raise SystemExit(f"a contestant ended with {self._process.wait()}:\n{self._log.read_text()[-3000:]}")

    def end(self) -> None:
        """Close its input and wait."""
        self._process.communicate()


def rounds_of(
    contestants: Mapping[str, Sequence[str]], lines: Mapping[str, str], rounds: int, core: int, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """`rounds` turns of everyone in turn, after one that is not counted; for each the numbers of its turns."""
    running = {name: Contestant(command, core, folder / "log") for name, command in contestants.items()}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in running.items():
            told = contestant.turn(lines[name])
            print(f"round {number}: {name}: {told['cpu_s']:.2f} CPU s, {told.get('tokens')} tokens", flush=True)
            if number:
                runs[name].append(told)
    for contestant in running.values():
        contestant.end()
    return runs


def ratio(runs: Mapping[str, list[dict[str, Any]]], slower: str, faster: str, key: str = "cpu_s") -> float:
    """The median over the rounds of how many times more one took than the other."""
    return statistics.median(a[key] / b[key] for a, b in zip(runs[slower], runs[faster], strict=True))


def raw_rate(runs: Sequence[Mapping[str, Any]]) -> float:
    """Tokens a CPU second of all turns together."""
    return sum(r["tokens"] for r in runs) / sum(r["cpu_s"] for r in runs)


def median_rate(runs: Sequence[Mapping[str, Any]], fill: float) -> float:
    """Tokens a CPU second of fixed shapes at their expected fill."""
    return fill * SLOTS / statistics.median(r["cpu_s"] for r in runs)


def slots(folder: Path, rounds: int, core: int) -> Bars:
    """Against tunix: per slot on the same padded rows, and in real tokens for all three kinds of lengths."""
    model = write_model(folder / "m16k", "m16k")
    lines = {kind: str(write_examples(folder / f"{kind}.npz", kind, 16_384)) for kind in LENGTHS}
    bars: Bars = []
    found: dict[str, Any] = {"fills": {kind: fills(kind) for kind in LENGTHS}}
    for kind, line in lines.items():
        contestants = {
            "tunix, padded": tunix("tunix_training.py", model),
            "ours, padded": ours("training_step.py", model, "padded"),
            "ours, packed": ours("training_step.py", model, "packed"),
        }
        if kind != "mix":
            del contestants["ours, padded"]
        runs = rounds_of(contestants, dict.fromkeys(contestants, line), rounds, core, folder)
        fill = found["fills"][kind]
        times = ratio(runs, "tunix, padded", "ours, packed") * fill["packed"] / fill["padded"]
        bars.append((f"{kind}: real tokens a CPU second, times tunix", times, MUST[kind], True))
        rates = {name: median_rate(r, fill[name.split()[1]]) for name, r in runs.items()}
        found[kind] = {"times_tunix": times, "tokens_per_cpu_s": rates, "runs": runs}
        if kind == "mix":
            found["per_slot"] = ratio(runs, "tunix, padded", "ours, padded")
            bars.append(("per slot on the same padded rows, times tunix", found["per_slot"], 2.3, True))
    write("training-tunix", found)
    return bars


def trl(folder: Path, rounds: int, core: int) -> Bars:
    """Against TRL, packed and with dynamic padding, on mix."""
    model = write_model(folder / "m16k", "m16k")
    line = str(write_examples(folder / "mix.npz", "mix", 16_384))
    contestants = {
        "ours, packed": ours("training_step.py", model, "packed"),
        "TRL, packed": peer("trl_training.py", model, "packed", line),
        "TRL, dynamic": peer("trl_training.py", model, "dynamic", line),
    }
    runs = rounds_of(contestants, dict.fromkeys(contestants, line), rounds, core, folder)
    rates = {name: raw_rate(r) for name, r in runs.items()}
    times = {name: rates["ours, packed"] / rate for name, rate in rates.items()}
    write("training-trl", {"tokens_per_cpu_s": rates, "times": times, "runs": runs})
    return [(f"mix: real tokens a CPU second, times {name}", times[name], 2.0, True) for name in list(contestants)[1:]]


def head(folder: Path, rounds: int, core: int) -> Bars:
    """At a vocabulary of 262,144, against both, each pair by itself so that memory suffices; speed and peak resident memory."""
    model = write_model(folder / "v256k", "v256k")
    line = str(write_examples(folder / "mix256k.npz", "mix", 262_144))
    fill = fills("mix")
    peers = {
        "tunix, padded": (tunix("tunix_training.py", model), fill["packed"] / fill["padded"], 5.0, 0.2),
        "TRL, packed": (peer("trl_training.py", model, "packed", line), 1.0, 4.0, 0.5),
    }
    found: dict[str, Any] = {}
    bars: Bars = []
    for name, (command, more, must, share) in peers.items():
        contestants = {name: command, "ours, packed": ours("training_step.py", model, "packed")}
        runs = rounds_of(contestants, dict.fromkeys(contestants, line), rounds, core, folder)
        times = ratio(runs, name, "ours, packed") * more
        memory = max(r["peak_mb"] for r in runs["ours, packed"]) / max(r["peak_mb"] for r in runs[name])
        found[name] = {"times": times, "memory_share": memory, "runs": runs}
        bars.append((f"256K: real tokens a CPU second, times {name}", times, must, True))
        bars.append((f"256K: peak resident memory, share of {name}", memory, share, False))
    write("training-256k", found)
    return bars


def start(folder: Path, rounds: int, core: int) -> Bars:
    """Start of the process to the end of the first step, with the compile cache that the run before left, and with none."""
    model = write_model(folder / "m16k", "m16k")
    line = write_examples(folder / "few.npz", "mix", 16_384, 200)
    runs: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for number in range(rounds):
        command = " ".join([*pinned(ours("training_step.py", model, "packed", folder / f"cache{number}"), core)])
        for kind, taken in runs.items():
            taken.append(measure(["bash", "-c", f"echo {line} | {command}"]))
            print(
                f"round {number + 1}: {kind}: {taken[-1]['cpu_s']:.2f} CPU s, {taken[-1]['wall_s']:.2f} s", flush=True
            )
    share = ratio(runs, "warm", "cold")
    write("training-start", {"share": share, "share_wall": ratio(runs, "warm", "cold", "wall_s"), "runs": runs})
    return [("start to first step, warm beside cold, CPU seconds", share, 0.5, False)]


def decode(folder: Path, rounds: int, core: int) -> Bars:
    """Greedy decoding of eight prompts of 32 to 64 ids, 64 new ids each, against tunix's sampler and transformers' generate."""
    model = write_model(folder / "m16k", "m16k", post_norm=LIVELY)
    examples = read_examples(write_examples(folder / "few.npz", "mix", 16_384, 200))
    long = [ids for ids, _ in examples if len(ids) >= 64]
    prompts = [long[i][: 32 + 32 * i // 7].tolist() for i in range(8)]
    work = {"prompts": prompts, "stop_ids": [], "new": 64, "slots": 8}
    return decoders("training-decode", folder, model, work, rounds, core, {"tunix": 1.2, "transformers": 1.6})


def decoders(
    name: str, folder: Path, model: Path, work: Mapping[str, Any], rounds: int, core: int, must: Mapping[str, float]
) -> Bars:
    """Everyone writes the greedy completions of `work` (as training_decode.py takes it); how many times faster ours is."""
    file = folder / "work.json"
    file.write_text(json.dumps(work))
    contestants = {
        "tunix": tunix("tunix_decode.py", model, file),
        "transformers": peer("hf_decode.py", model, file),
        "ours": ours("training_decode.py", model, file),
    }
    runs = rounds_of(contestants, dict.fromkeys(contestants, ""), rounds, core, folder)
    ids = {contestant: r[0].pop("ids") for contestant, r in runs.items()}
    same = {contestant: float(ids[contestant] == ids["ours"]) for contestant in contestants}
    for r in runs.values():
        for run in r[1:]:
            del run["ids"]
    times = {contestant: ratio(runs, contestant, "ours") for contestant in contestants}
    lengths = [len(row) for row in ids["ours"]]
    about = {
        "lengths": lengths,
        "slots": work["slots"],
        "new": work["new"],
        "different_ids": len({i for row in ids["ours"] for i in row}),
    }
    write(name, {"times": times, "identical": same, "work": about, "runs": runs})
    bars = [(f"decoding, times {n}", times[n], least, True) for n, least in must.items()]
    return bars + [(f"decoding, ids identical to {n}", same[n], 1.0, True) for n in must]


RACES = {"tunix": slots, "trl": trl, "256k": head, "start": start, "decode": decode}


def main() -> None:
    """Race, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=0, help="all processes are pinned to it")
    parser.add_argument("--only", choices=list(RACES), nargs="+", default=list(RACES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found: Bars = []
    for name in args.only:
        with tempfile.TemporaryDirectory(dir=args.folder) as out:
            found += RACES[name](Path(out).resolve(), args.rounds, args.core)
    judge(found)


if __name__ == "__main__":
    main()
