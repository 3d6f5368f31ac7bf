"""How much a gateway's counts grow in the course of a test."""


class Counting:
    """How much the counts grow."""

    def __init__(self, served) -> None:
        self.served = served
        self.before = served.settled()

    def grown(self) -> dict[str, int]:
        after = self.served.settled()
        ignored = ("added_us", "spooled_bytes", "started", "answered", "requests", "sampled")
        grown = {name: after[name] - self.before[name] for name in after if not name.startswith(ignored)}
        return {name: number for name, number in grown.items() if number}
