"""Reading a blocking iterable ahead of asynchronous workers."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from itertools import islice

from harness.domain.exchange import Exchange


class Feed:
    """A queue that many workers share; at most three times ``size`` items are in memory."""

    def __init__(self, items: Iterable[Exchange], thread: Executor, *, size: int) -> None:
        self._items: Iterator[Exchange] = iter(items)
        self._thread = thread
        self._size = size
        self._queue: asyncio.Queue[Exchange | None] = asyncio.Queue(maxsize=size)

    async def pump(self) -> None:
        """Keep the queue full until there is nothing left to read."""
        loop = asyncio.get_running_loop()
        while chunk := await loop.run_in_executor(self._thread, self._pull):
            for item in chunk:
                await self._queue.put(item)
        await self._queue.put(None)

    def _pull(self) -> list[Exchange]:
        return list(islice(self._items, self._size))

    async def next(self) -> Exchange | None:
        """The next item nobody else got; ``None`` when there are no more."""
        item = await self._queue.get()
        if item is None:
            # The end is for everybody: hand it on to the next worker.
            self._queue.put_nowait(None)
        return item
