"""The spool between gateway and worker: bounded, append-only, checksummed files on local disk."""
