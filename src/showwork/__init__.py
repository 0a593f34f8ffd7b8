"""showwork: turn public reasoning datasets into a small Gemma that reasons in the open."""
