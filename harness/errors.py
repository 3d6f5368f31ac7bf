"""Every exception the product raises on purpose.

    HarnessError
    ├── ConfigurationError     the experiment, environment or command line is wrong; exit code 2
    ├── InputError             an export or verdict file cannot be used; exit code 2
    ├── InfrastructureError    store, network set-up or provider account is unusable; exit code 4
    │   └── DataRefusedError   the store works and does not take these rows; exit code 4
    │       (defined in harness.store.connection)
    ├── EventRefusedError      another controller was faster; exit code 4
    │   (defined in harness.store.rollouts)
    ├── Interrupted            somebody asked for the end; exit code 130
    └── ModelError             one model call failed; becomes a failed Observation, never ends a run
        (defined in harness.domain.model, where its CallError lives)
        └── AttemptLost        the process that made the call ended; made again elsewhere
            (defined in harness.models.failover)

A failing exchange is data, a broken set-up is an exception. Messages name the next step.
"""

from typing import ClassVar


class HarnessError(Exception):
    """Root of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code: ClassVar[int] = 4


class ConfigurationError(HarnessError):
    """The experiment file, environment or command line is wrong; nothing has been run."""

    exit_code = 2


class InputError(HarnessError):
    """An export or verdict file cannot be used as it is."""

    exit_code = 2


class InfrastructureError(HarnessError):
    """The store, the machine or a provider account cannot be used; says nothing about a candidate."""

    exit_code = 4


class Interrupted(HarnessError):  # noqa: N818  reads as the state it reports
    """Somebody pressed Ctrl-C or sent SIGTERM; what was finished is stored."""

    exit_code = 130


def root_cause(failure: BaseException) -> BaseException:
    """What went wrong first in a group of failures: the grouping is an accident of how the work is organised."""
    return root_cause(failure.exceptions[0]) if isinstance(failure, BaseExceptionGroup) else failure
