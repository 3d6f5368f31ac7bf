"""Puts reports where others can read them, with an index of all that lies there."""
