"""The certificate of disjointness: what a session trains on shares nothing with what it must not know.

Takes:  the ids in the written training file, read back; the ids of earlier sessions and of the held-out prompts.
Leaves: for each pair of sets their sizes, their digests and the size of the intersection, which must be 0.

A digest is sha256 over the sorted ids, one a line: who holds the files can check it with `sort -u | sha256sum`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from showwork.records.split import is_held_out

KINDS = ("row_id", "record_id", "question_id")


def id_set(ids: Iterable[str]) -> dict[str, Any]:
    """Size and digest of a set of ids."""
    ordered = sorted(set(ids))
    return {"size": len(ordered), "sha256": hashlib.sha256("".join(f"{i}\n" for i in ordered).encode()).hexdigest()}


def certificate(
    session: str,
    train: Mapping[str, set[str]],
    earlier: Mapping[str, Mapping[str, set[str]]],
    prompts: set[str],
    share: float,
    removed: Mapping[str, int],
    own: Iterable[str] = (),
) -> dict[str, Any]:
    """The certificate of `session`.

    `train` and each of `earlier` map the KINDS to sets of ids; `own` are the ids of the user's own questions.

    Raises: ValueError when anything is shared.
    """
    own = set(own)
    held = {q for q in train["question_id"] if is_held_out(q, share)}
    proof: dict[str, Any] = {
        "session": session,
        "train": {kind: id_set(train[kind]) for kind in KINDS},
        "removed": dict(sorted(removed.items())),
        "held_out": {
            "share": share,
            "prompts": id_set(prompts),
            "shared_prompts": len(train["question_id"] & prompts),
            "questions_below_the_share": len(held),
        },
        "earlier": {
            name: {kind: {**id_set(ids[kind]), "shared": len(train[kind] & ids[kind])} for kind in KINDS}
            for name, ids in earlier.items()
        },
    }
    if own:
        proof["own_questions"] = {**id_set(own), "shared": len(train["question_id"] & own)}
    shared = [f"{proof['held_out']['shared_prompts']} held-out prompts"] if train["question_id"] & prompts else []
    shared += [f"{len(train['question_id'] & own)} of your own questions"] if train["question_id"] & own else []
    shared += [f"{len(held)} questions below the held-out share"] if held else []
    shared += [
        f"{entry[kind]['shared']} of {kind} with {name}"
        for name, entry in proof["earlier"].items()
        for kind in KINDS
        if entry[kind]["shared"]
    ]
    if shared:
        raise ValueError(
            f"mix {session!r}: not disjoint, it shares {', '.join(shared)}; this is a fault of the program, report it"
        )
    return proof
