"""Built-in judges, one per file, none imports another."""
