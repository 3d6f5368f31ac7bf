"""Sources of live traffic inside applications: the official clients wrapped, and a callback of LiteLLM."""
