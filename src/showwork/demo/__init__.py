"""The generated world of the demo: questions, tokenizer, tiny base, sources in the four layouts."""
