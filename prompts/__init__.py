"""Judge prompts as versioned, hashed files, and their one loader."""

from prompts.fence import fence, nonce
from prompts.loader import Prompt, PromptError, load, load_file, names

__all__ = ["Prompt", "PromptError", "fence", "load", "load_file", "names", "nonce"]
