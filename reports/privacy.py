"""Keeps what users and models said out of every rendering of a report that must not show it."""

from dataclasses import replace

from harness.domain.judgment import Judgment
from harness.domain.observation import CallError, Completion, Observation, ToolCall
from harness.domain.report import CandidateReport, EvaluationReport, Example
from harness.domain.side_by_side import ArmAnswer, SharedRequest


def publishable(report: EvaluationReport) -> EvaluationReport:
    """The report as it may be shown: the same value, or without any message, answer or judge's words."""
    if report.show_text:
        return report
    candidates = tuple(_candidate(candidate) for candidate in report.candidates)
    beside = report.side_by_side
    if beside is not None:
        beside = replace(beside, requests=tuple(_request(request) for request in beside.requests))
    return replace(report, candidates=candidates, side_by_side=beside)


def _candidate(candidate: CandidateReport) -> CandidateReport:
    return replace(candidate, examples=tuple(_example(example) for example in candidate.examples))


def _example(example: Example) -> Example:
    return replace(
        example,
        messages=(),
        production=_observation(example.production),
        candidate=_observation(example.candidate),
        judgments=tuple(_judgment(judgment) for judgment in example.judgments),
    )


def _request(request: SharedRequest) -> SharedRequest:
    answers = tuple(_arm_answer(answer) for answer in request.answers)
    return replace(request, messages=(), production=_observation(request.production), answers=answers)


def _arm_answer(answer: ArmAnswer) -> ArmAnswer:
    return replace(
        answer,
        observation=answer.observation and _observation(answer.observation),
        judgments=tuple(_judgment(judgment) for judgment in answer.judgments),
    )


def _observation(observation: Observation) -> Observation:
    completion, error = observation.completion, observation.error
    return replace(
        observation,
        completion=completion and _completion(completion),
        # Providers quote the prompt in their messages; the kind and the status say enough.
        error=error and CallError(kind=error.kind, message="", code=error.code, http_status=error.http_status),
        extra={},
    )


def _completion(completion: Completion) -> Completion:
    calls = tuple(ToolCall(name=call.name, arguments=None, id=None) for call in completion.tool_calls)
    return replace(completion, text=None, refusal=None, tool_calls=calls)


def _judgment(judgment: Judgment) -> Judgment:
    return replace(judgment, explanation=None, raw=None, details={})
