"""The demo's world: questions in templated English whose answers are one word, hard at a glance, easy in steps.

Every question carries its own facts, so nothing has to be remembered; every step of a trace repeats the wording of one
fact, with the value one or two tokens after its key, so that copying from the context is all a step needs. Five families:

    lines   who stands k links up a shuffled chain of names           answer at random 1 in 6
    swaps   who holds a thing after holders trade in pairs            1 in 4
    turns   which way someone faces after turns                       1 in 4
    kinds   the colour of made-up animals through a chain of kinds    1 in 3
    days    the weekday of something put off and brought forward      1 in 7

Takes   a `random.Random`.
Leaves  `Puzzle(family, question, trace, answer)`, and the words the tokenizer must know.
Source  the wording of "world v2": a value directly behind its key; no key twice where a step must find it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random


def _words(text: str) -> list[str]:
    return text.split()


NAMES = _words(
    "Ada Ana Abe Amy Ben Bea Bob Cal Cleo Cora Cy Dan Dee Di Dov Eli Ella Eva Fay Finn Flo Gil Gus Gwen Hal Hans Ida Ivo "
    "Ina Jill Jo Joy Jon Kai Kim Kit Lea Leo Liv Lou Max Mia Moe Ned Nia Noa Nora Ole Olga Otto Pam Pia Pim Ray Rex Rob "
    "Roy Sam Sid Sue Tess Tom Uma Una Ute Val Vic Wim Yan Zoe"
)
THINGS = _words(
    "ball bell book bowl coin comb cup drum flag fork harp key kite knife lamp map mask "
    "pen pot ring rope shoe spoon vase"
)
EVENTS = _words(
    "concert dance debate dinner exam fair feast game lesson lunch match meeting parade party picnic play "
    "race sale show talk test tour trial walk"
)
ANIMALS = _words(
    "bim bov dax dov fep fim gax gop hib huv jom kel kif lom lup mib mog nef nop pag pim rud rof sab suk tam tiv tor vam "
    "vox wug wib yat yob zan zek zid zup"
)
COLOURS = _words("black blue brown green grey pink purple red white yellow")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
DIRECTIONS = _words("north east south west")
MOVES = {"right": 1, "around": 2, "left": 3}
NUMBERS = _words("one two three four five six")
ORDINALS = _words("One Two Three Four Five Six")
LINKS = _words("serves helps follows calls trusts teaches pays likes")
TRADES = _words("swap trade switch")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """One question with its facts, the steps that solve it, and its one-word answer."""

    family: str
    question: str
    trace: str
    answer: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The parts of a puzzle before it is worded as a question.

    facts    sentences that state what is so, in the order the question gives them
    asks     the question's last sentence, in several wordings
    start    what the trace begins with
    steps    the single steps that solve it, without their ordinals
    answer   one word
    remarks  true single steps over the same facts as (start, step, number of the step, or -1 where any will do)
    """

    facts: list[str]
    asks: list[str]
    start: str
    steps: list[str]
    answer: str
    remarks: list[tuple[str, str, int]]


def lines(rng: Random) -> Scene:
    """`Hal serves Cleo. Cleo serves Cora.` … `Who is two up from Hal?` -> Cora."""
    names, verb = rng.sample(NAMES, 7), rng.choice(LINKS)
    links = [f"{low} {verb} {high}" for low, high in pairwise(names)]
    hops = rng.randint(2, 4)
    first = rng.randint(0, len(links) - hops)
    number, name = NUMBERS[hops - 1], names[first]
    asks = [
        f"Who is {number} up from {name}?",
        f"Start at {name} and go {number} up. Who is it?",
        f"Name the one {number} steps up from {name}.",
        f"Going {number} steps up from {name}, who comes last?",
    ]
    remarks = [(low, link, -1) for low, link in zip(names, links, strict=False)]
    facts = rng.sample([f"{link}." for link in links], len(links))
    return Scene(facts, asks, name, links[first : first + hops], names[first + hops], remarks)


def _swapped(holder: str, pair: tuple[str, str]) -> tuple[str, str]:
    """Who holds the thing after a pair trades, and the word that says whether it moved."""
    if holder == pair[0]:
        return pair[1], "now"
    return (pair[0], "now") if holder == pair[1] else (holder, "still")


def swaps(rng: Random) -> Scene:
    """`cup: Ana. key: Bo.` … `One: Ana and Bo swap.` … `Who has the cup?` -> Bo. No one is named first in two trades."""
    names, things, verb = rng.sample(NAMES, 4), rng.sample(THINGS, 4), rng.choice(TRADES)
    count = rng.randint(2, 4)
    target = rng.randrange(4)
    firsts = rng.sample(names, count)
    pairs: list[tuple[str, str]] = []
    for first in firsts:
        others = [name for name in names if name != first]
        pairs.append((first, rng.choice(others)))
    holder, steps = names[target], []
    for pair in pairs:
        holder, word = _swapped(holder, pair)
        steps.append(f"{pair[0]} and {pair[1]} {verb}, {word} {holder}")
    remarks = []
    for number, pair in enumerate(pairs):
        for thing, name in zip(things, names, strict=True):
            after, word = _swapped(name, pair)
            remarks.append((f"{thing}: {name}", f"{pair[0]} and {pair[1]} {verb}, {word} {after}", number))
    facts = [f"{thing}: {name}." for thing, name in zip(things, names, strict=True)]
    facts += [f"{ORDINALS[i]}: {a} and {b} {verb}." for i, (a, b) in enumerate(pairs)]
    thing = things[target]
    asks = [
        f"Who has the {thing} now?",
        f"Who holds the {thing} at the end?",
        f"Where is the {thing} after that? Give a name.",
        f"Name the one with the {thing}.",
    ]
    return Scene(facts, asks, f"{thing}: {names[target]}", steps, holder, remarks)


def turns(rng: Random) -> Scene:
    """`Mia faces north. One: left. Two: around.` … `Which way does Mia face?` -> east."""
    name, way = rng.choice(NAMES), rng.randrange(4)
    moves = [rng.choice(list(MOVES)) for _ in range(rng.randint(3, 5))]
    start, steps, remarks = DIRECTIONS[way], [], []
    for number, move in enumerate(moves):
        remarks += [(DIRECTIONS[i], f"{move}, now {DIRECTIONS[(i + MOVES[move]) % 4]}", number) for i in range(4)]
        way = (way + MOVES[move]) % 4
        steps.append(f"{move}, now {DIRECTIONS[way]}")
    facts = [f"Now {name} faces {start}."] + [f"{ORDINALS[i]}: {move}." for i, move in enumerate(moves)]
    asks = [
        f"Which way does {name} face at the end?",
        f"Where does {name} look now?",
        f"Give the way {name} faces after that.",
        f"After these turns, which way does {name} face?",
    ]
    return Scene(facts, asks, start, steps, DIRECTIONS[way], remarks)


def kinds(rng: Random) -> Scene:
    """`dax are wug. wug are fep. fep are blue.` and two more chains, shuffled … `What colour are dax?` -> blue."""
    words, colours = rng.sample(ANIMALS, 9), rng.sample(COLOURS, 3)
    chains = [[*words[3 * i : 3 * i + 3], colours[i]] for i in range(3)]
    pairs = [(low, high) for chain in chains for low, high in pairwise(chain)]
    chain = chains[0]
    first = rng.randint(0, 1)
    steps = [f"{low} are {high}" for low, high in pairwise(chain[first:])]
    facts = rng.sample([f"{low} are {high}." for low, high in pairs], len(pairs))
    asks = [
        f"What colour are {chain[first]}?",
        f"Give the colour of {chain[first]}.",
        f"Which colour do {chain[first]} have?",
        f"If you see {chain[first]}, which colour is it?",
    ]
    remarks = [(low, f"{low} are {high}", -1) for low, high in pairs]
    return Scene(facts, asks, chain[first], steps, chain[-1], remarks)


def days(rng: Random) -> Scene:
    """`The fair of Mia is on Friday. One: two days later.` … `On which day is the fair?` -> Sunday."""
    name, event, day = rng.choice(NAMES), rng.choice(EVENTS), rng.randrange(7)
    moves = [rng.choice((-3, -2, -1, 1, 2, 3)) for _ in range(rng.randint(2, 4))]
    start, steps, remarks, facts = DAYS[day], [], [], []
    for number, move in enumerate(moves):
        unit = "day" if abs(move) == 1 else "days"
        text = f"{NUMBERS[abs(move) - 1]} {unit} {'later' if move > 0 else 'earlier'}"
        facts.append(f"{ORDINALS[number]}: {text}.")
        remarks += [(DAYS[i], f"{text}, so {DAYS[(i + move) % 7]}", number) for i in range(7)]
        day = (day + move) % 7
        steps.append(f"{text}, so {DAYS[day]}")
    asks = [
        f"On which day is the {event}?",
        f"When is the {event} now? Give the day.",
        f"Which day does {name} have for the {event} at last?",
        f"Name the day of the {event} in the end.",
    ]
    return Scene([f"First {name} puts the {event} on {start}.", *facts], asks, start, steps, DAYS[day], remarks)


FAMILIES: dict[str, Callable[[Random], Scene]] = {
    "lines": lines,
    "swaps": swaps,
    "turns": turns,
    "kinds": kinds,
    "days": days,
}
INTROS = {
    "lines": ("Look at this line.", "Here is a line of people.", "Some people stand in a line.", "We know this."),
    "swaps": ("Four people have things.", "Look who has what.", "Some people trade things.", "Here is what they have."),
    "turns": ("Watch the turns.", "Follow each turn.", "There are some turns.", "Here are the turns."),
    "kinds": ("Here are some kinds.", "Look at these kinds.", "Some kinds of animals.", "We know these kinds."),
    "days": ("The day moves.", "Watch the day.", "A plan moves.", "Here is a plan."),
}


def question_of(rng: Random, family: str, scene: Scene) -> str:
    """An opening, the facts and one of the wordings of the ask, on one line."""
    return " ".join([rng.choice(INTROS[family]), *scene.facts, rng.choice(scene.asks)])


def trace_of(scene: Scene) -> str:
    """`Begin with Hal. One: Hal serves Cleo. Two: Cleo serves Cora. So Cora.`"""
    steps = [f"{ORDINALS[i]}: {step}." for i, step in enumerate(scene.steps)]
    return " ".join([f"Begin with {scene.start}.", *steps, f"So {scene.answer}."])


def make_puzzle(rng: Random, family: str | None = None) -> Puzzle:
    """A puzzle of the named family, or of any."""
    family = family or rng.choice(list(FAMILIES))
    scene = FAMILIES[family](rng)
    return Puzzle(family, question_of(rng, family, scene), trace_of(scene), scene.answer)


def remark(rng: Random, scene: Scene) -> tuple[str, str]:
    """One true single step over a scene's facts, split where it stops being a free choice.

    `("Begin with Cora. Three:", " Cora serves Rob.")`: the number is free where the facts carry none.
    """
    start, step, number = rng.choice(scene.remarks)
    number = rng.randrange(len(ORDINALS) - 1) if number < 0 else number
    return f"Begin with {start}. {ORDINALS[number]}:", f" {step}."


def vocabulary() -> list[str]:
    """Every word of the world that stands for something, each once."""
    lists = [NAMES, THINGS, EVENTS, ANIMALS, COLOURS, DAYS, DIRECTIONS, list(MOVES), NUMBERS, ORDINALS, LINKS, TRADES]
    return list(dict.fromkeys(word for words in lists for word in words))
