"""The one way to ask a model: adapter, retries, limiter, budget."""
