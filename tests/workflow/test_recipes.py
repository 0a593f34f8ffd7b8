"""Every recipe plans: alone over config.yaml, and its demo-sized twin over the demo."""

from __future__ import annotations

from pathlib import Path

import pytest
from dag import REPO, plan

from showwork.learn.verdict import FALLBACKS
from showwork.verdict import command_of

RECIPES = REPO / "workflow/recipes"
ALONE = sorted(path for path in RECIPES.glob("*.yaml") if path.name != "demo.yaml")
TARGET = {
    "grpo-polish": ("session3", "grpo"),
    "grpo-from-base": ("session3", "grpo"),
    "more-epochs": ("session1", "train"),
    "quality-filter": ("session1", "train"),
    "full-finetune": ("session1", "train"),
    "long-context": ("session1", "train"),
    "gemma3-1b": ("session1", "train"),
}
"""Which session a recipe is about, and the rule that trains it."""


def header(recipe: Path) -> str:
    lines = recipe.read_text().splitlines()
    return "\n".join(line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


@pytest.mark.parametrize("recipe", ALONE, ids=lambda path: path.stem)
def test_a_recipe_plans_over_the_shipped_configuration_as_its_header_says(recipe: Path, tmp_path: Path) -> None:
    session, rule = TARGET[recipe.stem]
    said = header(recipe)
    assert f"snakemake --cores 8 {session} --configfile workflow/recipes/{recipe.name}" in said
    assert all(word in said for word in ("Machine:", "hours", "Expect"))
    assert (rule, session) in plan(REPO, session, workdir=tmp_path, overlays=(recipe,))


@pytest.mark.parametrize("recipe", ALONE, ids=lambda path: path.stem)
def test_its_twin_plans_over_the_demo(recipe: Path, tmp_path: Path) -> None:
    session, rule = TARGET[recipe.stem]
    layers = (RECIPES / "demo.yaml", recipe, RECIPES / "demo" / recipe.name)
    assert (rule, session) in plan(REPO, session, workdir=tmp_path, overlays=layers)


def test_the_verdict_names_recipes_that_exist_and_the_session_that_they_are_about() -> None:
    for fallback in FALLBACKS:
        command = command_of(fallback)
        assert (command is None) is (fallback == "none")
        if command:
            recipe = REPO / command.split()[-1]
            assert recipe in ALONE
            assert command in header(recipe)
