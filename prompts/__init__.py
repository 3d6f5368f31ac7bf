"""Judge prompts as versioned, hashed files, and their one loader."""
