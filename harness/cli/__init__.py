"""The command line; imports heavy libraries only inside commands."""
