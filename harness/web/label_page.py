"""From a pair to what a person sees of it: both answers, and nothing that says whose they are."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from harness.domain.json import Message
from harness.domain.label import PlannedLabel, Side
from harness.domain.observation import Completion
from harness.domain.pair import Pair
from harness.judging.transcript import same_answer, without_names
from harness.pipeline.labelling import NAME_LIMIT, NOTE_LIMIT, Choice, Labelling, Standing
from harness.web.label_views import (
    AnswerColumn,
    ChoiceButton,
    FinishedPage,
    NamePage,
    PairPage,
    ProgressView,
)
from reports.messages import call_views, message_view, same
from reports.text import cut, one_line, plural
from reports.views import Fact, MessageView

ANSWER_LIMIT = 100_000
"""Characters of an answer that are shown; both sides by the same rule."""
MESSAGE_LIMIT = 20_000
CALL_LIMIT = 20_000
MAX_MESSAGES = 100
_UNFOLDED = 600
"""Characters up to which the earlier conversation is shown unfolded."""
_SAYS = {
    Choice.LEFT: "left is better",
    Choice.RIGHT: "right is better",
    Choice.TIE: "a tie",
    Choice.SKIP: "skipped",
}
_BUTTONS = (
    (Choice.LEFT, "Left is better", "1", "1 ArrowLeft"),
    (Choice.TIE, "Tie", "0", "0 ArrowDown t"),
    (Choice.RIGHT, "Right is better", "2", "2 ArrowRight"),
    (Choice.SKIP, "Skip", "s", "s"),
)


def pair_page(
    labelling: Labelling,
    standing: Standing,
    item: PlannedLabel,
    pair: Pair,
    *,
    labeller: str,
    csrf: str,
    name_url: str = "",
) -> PairPage:
    """The page on which one pair is labelled."""
    place = standing.place(item.exchange_id) or 0
    left = labelling.left(item.exchange_id, labeller)
    said = standing.labels.get(item.exchange_id)
    current = None if said is None else Choice.of(said.label, left)
    before = standing.before(place)
    hide = _hider(labelling, pair)
    earlier, latest = _split(pair.request.messages)
    earlier_views = tuple(_message(message, hide) for message in earlier)
    buttons = tuple(
        ChoiceButton(value=choice.value, title=title, key=key, shortcuts=shortcuts, is_current=choice is current)
        for choice, title, key, shortcuts in _BUTTONS
    )
    return PairPage(
        title=f"Pair {place + 1:,} of {len(standing.planned):,}",
        progress=progress(standing, labeller, name_url),
        criteria=labelling.criteria,
        place=f"Pair {place + 1:,} of {len(standing.planned):,}",
        status=_status(labelling, standing, current, before, labeller),
        is_correction=said is not None,
        back_url=pair_url(before) if before else "",
        earlier=earlier_views,
        earlier_title=_earlier_title(earlier),
        earlier_open=sum(len(view.text) for view in earlier_views) <= _UNFOLDED,
        latest=tuple(_message(message, hide) for message in latest),
        tools=_tools(pair),
        answers=_columns(pair, left, hide),
        equal="Both answers say the same." if same_answer(pair) else "",
        choices=buttons[:3],
        skip=buttons[3],
        note=(said.note if said else None) or "",
        note_limit=NOTE_LIMIT,
        pair=pair_key(item.exchange_id),
        shown_at=f"{datetime.now(UTC).timestamp():.3f}",
        csrf=csrf,
    )


def finished_page(
    standing: Standing, *, labeller: str, next_command: str, status_command: str, name_url: str = ""
) -> FinishedPage:
    """The page after the last pair."""
    last, skipped = standing.before(len(standing.planned)), standing.oldest_skipped
    return FinishedPage(
        title="All planned pairs are done",
        progress=progress(standing, labeller, name_url),
        lead=f"You labelled {plural(standing.labelled, 'pair')} and skipped {standing.skipped:,}. All of it is stored.",
        back_url=pair_url(last) if last else "",
        skipped_url=pair_url(skipped) if skipped else "",
        skipped=plural(standing.skipped, "skipped pair"),
        commands=(
            Fact(label="Decide again, now with these labels", value=next_command),
            Fact(label="See everybody's progress and agreement", value=status_command),
        ),
    )


def name_page(*, csrf: str, name: str = "", problem: str = "") -> NamePage:
    """The page that asks for a name."""
    return NamePage(title="Who is labelling?", problem=problem, name=name, limit=NAME_LIMIT, csrf=csrf)


def progress(standing: Standing, labeller: str, name_url: str) -> ProgressView:
    """How far the person has come."""
    done, planned = standing.labelled + standing.skipped, len(standing.planned)
    skipped = f", {standing.skipped:,} skipped" if standing.skipped else ""
    return ProgressView(
        labeller=labeller, done=done, planned=planned, text=f"{done:,} of {planned:,} done{skipped}", name_url=name_url
    )


def pair_key(exchange_id: str) -> str:
    """The pair's name in addresses: an exchange's id may be anything, and may tell something."""
    return hashlib.blake2b(exchange_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def pair_url(item: PlannedLabel) -> str:
    """Where one pair can be looked at again."""
    return f"/pair/{pair_key(item.exchange_id)}"


def _status(
    labelling: Labelling, standing: Standing, current: Choice | None, before: PlannedLabel | None, labeller: str
) -> str:
    if current is not None:
        return f"You said: {_SAYS[current]}. Another choice replaces it."
    if before is None:
        return ""
    left = labelling.left(before.exchange_id, labeller)
    said = Choice.of(standing.labels[before.exchange_id].label, left)
    return f"Stored: pair {(standing.place(before.exchange_id) or 0) + 1:,}, {_SAYS[said]}."


def _hider(labelling: Labelling, pair: Pair) -> Callable[[str], str]:
    names = labelling.names(pair)
    return lambda text: without_names(text, names)[0]


def _split(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """What came before the last question, and the rest; the first and the last messages when there are very many."""
    asked = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    at = asked[-1] if asked else max(len(messages) - 1, 0)
    earlier, latest = list(messages[:at]), list(messages[at:])
    if len(earlier) > MAX_MESSAGES:
        left_out = len(earlier) - MAX_MESSAGES
        gap: Message = {"role": "left out", "content": f"[{plural(left_out, 'message')} in the middle]"}
        earlier = [*earlier[:3], gap, *earlier[left_out + 3 :]]
    return earlier, latest[:MAX_MESSAGES]


def _message(message: Message, hide: Callable[[str], str]) -> MessageView:
    # What users and tools said is what has to be judged by; names in it say nothing about left and right.
    own = message.get("role") in {"system", "developer", "assistant"}
    return message_view(message, limit=MESSAGE_LIMIT, call_limit=CALL_LIMIT, rewrite=hide if own else same)


def _earlier_title(messages: Sequence[Message]) -> str:
    rest = [message for message in messages if message.get("role") not in {"system", "developer"}]
    parts = ["instructions"] if len(rest) < len(messages) else []
    parts += [plural(len(rest), "earlier message")] if rest else []
    return " and ".join(parts).capitalize()


def _tools(pair: Pair) -> str:
    names = []
    for tool in pair.request.tools:
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else tool.get("name")
        names.append(str(name))
    return one_line(", ".join(names), 400)


def _columns(pair: Pair, left: Side, hide: Callable[[str], str]) -> tuple[AnswerColumn, AnswerColumn]:
    production, candidate = pair.production.completion, pair.candidate.completion
    first, second = (production, candidate) if left == "production" else (candidate, production)
    return _column("left", "Left", first, hide), _column("right", "Right", second, hide)


def _column(side: str, title: str, completion: Completion | None, hide: Callable[[str], str]) -> AnswerColumn:
    text = (completion.text if completion else None) or ""
    refusal = (completion.refusal if completion else None) or ""
    calls = completion.tool_calls if completion else ()
    shown = cut(hide(text), ANSWER_LIMIT)
    empty = "" if text or refusal else "No text: the answer is the tool calls." if calls else "The answer is empty."
    return AnswerColumn(
        side=side,
        title=title,
        text=shown.text,
        refusal=cut(hide(refusal), MESSAGE_LIMIT).text,
        empty=empty,
        calls=call_views(calls, limit=CALL_LIMIT, rewrite=hide),
        note=shown.note,
    )
