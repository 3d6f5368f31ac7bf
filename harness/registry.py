"""Judges and traffic sources by name, found through entry points."""
