"""Bundled local models: a llama.cpp server on loopback and the default embedder."""
