"""The process in front of production: passes bytes through untouched, and copies a sample of them to the spool.

Nothing in here may load litellm, pandas, numpy or torch: they cost memory and time that production's users would feel.
"""
