"""The model: Gemma 2 and Gemma 3 text as pure functions over one stacked tree of arrays.

gemma (configuration and forward pass), attention, lora, params (the Hugging Face layout on disk), decode (KV cache),
holder (a flax nnx Module around the tree).
"""
