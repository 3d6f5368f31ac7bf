"""A loop whose clock jumps instead of waiting."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


class JumpingLoop(asyncio.SelectorEventLoop):
    """Sleeps take no real time: when nothing is ready, the clock moves to the next timer."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self.now = 0.0
        plain_select = self._selector.select

        def select(timeout: float | None = None) -> Any:
            if timeout:
                self.now += timeout
                timeout = 0
            return plain_select(timeout)

        self._selector.select = select

    def time(self) -> float:
        return self.now


@pytest.fixture
def run_virtual() -> Callable[[Callable[[JumpingLoop], Awaitable[Any]]], Any]:
    """Run an async function of the loop in virtual time."""

    def run(main: Callable[[JumpingLoop], Awaitable[Any]]) -> Any:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, JumpingLoop)
            return runner.run(main(loop))

    return run
