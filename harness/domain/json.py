"""Names for JSON values as they travel through requests and responses."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Any value the ``json`` module can produce."""

Message: TypeAlias = Mapping[str, Json]
"""One OpenAI chat message: role, content (text, parts or null), tool_calls, tool_call_id, name."""
