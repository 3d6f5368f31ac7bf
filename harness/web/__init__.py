"""Pages that are served on this machine: people label pairs on them."""
