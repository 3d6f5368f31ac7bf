"""Carries a rollout out: collects its evidence, has it ruled on, and acts, as one of any number that may."""
