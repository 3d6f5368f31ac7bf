"""From an export record to a sampled, redacted Exchange."""
