"""Scripted judges that read prompts as a careful reader would: which answers they are shown, and which is better."""

import json
import re

from harness.domain.exchange import ChatRequest
from harness.judging import transcript
from harness.judging.canaries import Canary, canary_pairs


def better_text(canary: Canary) -> str:
    """The better answer, as a judge is shown it."""
    side = canary.pair.candidate if canary.better == "candidate" else canary.pair.production
    return transcript.answer(side.completion)


_BETTER = {better_text(canary): canary for canary in canary_pairs()}


def shown(request: ChatRequest) -> tuple[str, str]:
    """What is shown as answer A and as answer B, found by the nonce of their fences."""
    user = request.messages[1]["content"]
    key = re.search(r'<conversation id="([0-9a-f]{16})">', user).group(1)
    answers = [re.search(rf'<answer_{x} id="{key}">\n(.*?)\n</answer_{x} id="{key}">', user, re.DOTALL) for x in "ab"]
    return answers[0].group(1), answers[1].group(1)


def canary_of(request: ChatRequest) -> Canary | None:
    """The canary a question is about; ``None`` when it is about a real pair."""
    return next((_BETTER[text] for text in shown(request) if text in _BETTER), None)


def knows(request: ChatRequest) -> str:
    """Right on every canary; of other pairs it prefers the answer with the word `even`."""
    a, _ = shown(request)
    canary = canary_of(request)
    return "A" if (a == better_text(canary) if canary else "even" in a) else "B"


def verdict(choice: str) -> str:
    """A structured reply."""
    return json.dumps({"reason": "why", "verdict": choice})
