"""What the tiny base reads: single steps of the world, copying, direct answers, a little markup. Never a whole chain.

    steps     a scene's facts, then single true steps over them in any order                          the world's facts
    repeats   a list of words said again, and pairs looked up again in another order                  copying
    direct    `Question: …` newline `Answer: X`                                                       answers at a glance
    markup    a step, then a word of it inside some element such as `<name>Mia</name>`
    tagged    one step inside `<reasoning>`, its last word inside `<answer>`, ending in `<end_of_turn>`

Takes   a `random.Random`.
Leaves  documents as lists of (text, weight of its tokens in the loss): what nobody could guess weighs little.
Source  Olsson et al. 2022 (repeated random tokens as the mark of induction heads); the shares are ours.
"""

from __future__ import annotations

from random import Random

from showwork.demo.world import FAMILIES, ORDINALS, make_puzzle, question_of, remark, vocabulary

SHARES = {"steps": 0.56, "repeats": 0.24, "direct": 0.12, "markup": 0.06, "tagged": 0.02}
RANDOM_WEIGHT = 0.1
ELEMENTS = ("name", "title", "b", "i", "word", "item", "li", "p")
Document = list[tuple[str, float]]


def steps(rng: Random) -> Document:
    """Facts of one scene, then three to five single steps over them."""
    family = rng.choice(list(FAMILIES))
    scene = FAMILIES[family](rng)
    document: Document = [(question_of(rng, family, scene), RANDOM_WEIGHT)]
    for _ in range(rng.randint(3, 5)):
        free, fixed = remark(rng, scene)
        document += [(f"\n{free}", RANDOM_WEIGHT), (fixed, 1.0)]
    return document


def repeats(rng: Random, words: list[str], size: int = 12) -> Document:
    """A list said two or three times, or pairs said again in another order: `Mia: cup. Ben: key. Ben: key. Mia: cup.`"""
    chosen = rng.sample(words, rng.randint(3, size))
    kind = rng.randrange(3)
    if kind == 0:
        gaps = (" ", ", ", " ", "\n", " and ", "\n")
        text = rng.choice(gaps).join(chosen)
        again = rng.choice(gaps).join(chosen)
        return [
            (text, 0.0),
            (rng.choice((". ", " ", "\n")), 0.0),
            (again, 1.0),
            *[(f"\n{again}", 1.0)] * rng.randint(0, 1),
        ]
    others = rng.sample(words, len(chosen))
    middle = (
        rng.choice((":", " ", " are", ", now", " serves", " and"))
        if kind == 1
        else rng.choice((" (", "\n", '"', "<i>"))
    )
    space = " " if kind == 1 else ""
    pairs = list(zip(chosen, others, strict=True))
    document: Document = [(f" {low}{middle}{space}{high}.", 0.0) for low, high in pairs]
    for low, high in rng.sample(pairs, len(pairs)):
        document += [(f" {low}", 0.0), (f"{middle}{space}{high}.", 1.0)]
    return document


def direct(rng: Random) -> Document:
    """`Question: …` newline `Answer: Mia`."""
    puzzle = make_puzzle(rng)
    return [(f"Question: {puzzle.question}", RANDOM_WEIGHT), ("\nAnswer:", 1.0), (f" {puzzle.answer}", 1.0)]


def _closed_step(rng: Random) -> tuple[str, str, str]:
    """A remark in its two parts and the word it ends in."""
    free, fixed = remark(rng, FAMILIES[rng.choice(list(FAMILIES))](rng))
    return free, fixed, fixed.rstrip(".").rsplit(" ", 1)[1]


def markup(rng: Random) -> Document:
    """A few steps, each with its last word inside an element."""
    document: Document = []
    for _ in range(rng.randint(1, 4)):
        free, fixed, last = _closed_step(rng)
        element = rng.choice(ELEMENTS)
        document += [
            (f"{free}{fixed}\n", RANDOM_WEIGHT),
            (f"<{element}>", RANDOM_WEIGHT),
            (f"{last}</{element}>\n", 1.0),
        ]
    return document


def tagged(rng: Random) -> Document:
    """One step in the tags of the template, with no question before it."""
    free, fixed, last = _closed_step(rng)
    return [
        ("<reasoning>", 1.0),
        (free + fixed, RANDOM_WEIGHT),
        (f" So {last}.</reasoning>\n<answer>{last}</answer><end_of_turn>", 1.0),
    ]


def document(rng: Random, words: list[str]) -> tuple[str, Document]:
    """A document of a kind drawn by `SHARES`, and the kind."""
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    if kind == "repeats":
        return kind, repeats(rng, words)
    return kind, {"steps": steps, "direct": direct, "markup": markup, "tagged": tagged}[kind](rng)


def words() -> list[str]:
    """What lists are made of: everything but the ordinals, which mark steps."""
    return [word for word in vocabulary() if word not in ORDINALS]
