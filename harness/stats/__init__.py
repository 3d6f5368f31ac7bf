"""Pure functions: arrays in, Estimate out."""
