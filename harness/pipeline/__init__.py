"""The use case, stage by stage; every stage reads from the store and writes to it."""
