"""The one way in which everything here says that there is no answer."""

from harness.domain.unanswered import Reason


class Unfit(Exception):  # noqa: N818  reads as what it is
    """The candidate is not asked, or gave no usable answer."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
