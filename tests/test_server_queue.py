"""The queue of work: it refuses what is too much, drops what nobody waits for, and loses nothing
else.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from latent_atlas.errors import UserError
from latent_atlas.explorer.server.limits import Limits
from latent_atlas.explorer.server.worker import Busy, Gone, WorkQueue
from server_client import arrays, client_of, tiny_atlas

WAIT = 20.0  # seconds, after which something is wrong


class Client:
    """The connection of a client, who leaves when told to."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def test_work_is_done_in_order_and_by_one_thread() -> None:
    queue, seen = WorkQueue(8, WAIT), []

    def note(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number * number

    async def ask() -> list[int]:
        return await asyncio.gather(
            *(queue.do(lambda n=n: note(n), Client().request) for n in range(8))
        )

    assert asyncio.run(ask()) == [number * number for number in range(8)]
    queue.close()
    assert [number for number, _ in seen] == [*range(8)]
    assert len({thread for _, thread in seen}) == 1


def test_more_than_may_wait_is_refused_and_room_is_made_again() -> None:
    queue, free = WorkQueue(2, WAIT), threading.Event()

    async def ask() -> None:
        two = [
            asyncio.ensure_future(queue.do(lambda: free.wait(WAIT), Client().request))
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await queue.do(lambda: None, Client().request)
        free.set()
        assert await asyncio.gather(*two) == [True, True]
        assert await queue.do(lambda: 3, Client().request) == 3

    asyncio.run(ask())
    queue.close()


def test_what_waits_for_a_client_who_has_left_is_never_begun() -> None:
    queue, free, begun = WorkQueue(8, WAIT), threading.Event(), []

    async def ask() -> None:
        first = asyncio.ensure_future(queue.do(lambda: free.wait(WAIT), Client().request))
        leaving = Client()
        second = asyncio.ensure_future(queue.do(lambda: begun.append(1), leaving.request))
        await asyncio.sleep(0)
        leaving.leaves.set()
        with pytest.raises(Gone):
            await second
        free.set()
        await first

    asyncio.run(ask())
    queue.close()
    assert begun == []


def test_long_work_stops_when_its_client_leaves() -> None:
    queue, begun, ended = WorkQueue(8, WAIT), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        try:
            while True:
                queue.check()
                time.sleep(0.001)
        finally:
            ended.set()

    async def ask() -> None:
        leaving = Client()
        asked = asyncio.ensure_future(queue.do(work, leaving.request))
        assert await asyncio.to_thread(begun.wait, WAIT)
        leaving.leaves.set()
        with pytest.raises(Gone):
            await asked

    asyncio.run(ask())
    assert ended.wait(WAIT)
    queue.close()


def test_work_that_takes_too_long_is_stopped_with_a_sentence() -> None:
    queue = WorkQueue(8, seconds=0.01)

    def work() -> None:
        while True:
            queue.check()

    with pytest.raises(UserError, match=r"longer than 0\.01 seconds"):
        asyncio.run(queue.do(work, Client().request))
    queue.close()


def test_what_nobody_waits_for_lets_requests_pass() -> None:
    queue, order, free = WorkQueue(8, WAIT), [], threading.Event()

    def pieces():
        for number in range(3):
            free.wait(WAIT)
            order.append(f"piece {number}")
            yield

    async def ask() -> None:
        queue.meanwhile(pieces())
        asked = asyncio.ensure_future(queue.do(lambda: order.append("request"), Client().request))
        await asyncio.sleep(0)
        free.set()
        await asked

    asyncio.run(ask())
    while len(order) < 4:
        time.sleep(0.001)
    queue.close()
    assert order == ["piece 0", "request", "piece 1", "piece 2"]


def test_a_closed_queue_stops_what_runs() -> None:
    queue, begun = WorkQueue(8, WAIT), threading.Event()

    def forever():
        begun.set()
        while True:
            queue.check()
            yield

    queue.meanwhile(forever())
    assert begun.wait(WAIT)
    queue.close()  # returns


def test_a_full_server_says_when_to_come_back_and_then_serves() -> None:
    free = threading.Event()
    with client_of(tiny_atlas(), limits=replace(Limits(), waiting=1)) as client:
        queue = client.app.state.explorer.quick  # pyright: ignore[reportAttributeAccessIssue]
        with ThreadPoolExecutor(1) as other:
            blocked = threading.Event()
            queue._thread.submit(lambda: (blocked.set(), free.wait(WAIT)))
            assert blocked.wait(WAIT)
            waiting = other.submit(client.get, "/api/atlas")
            while queue.waiting == 0:
                time.sleep(0.001)
            for answer in (client.get("/api/atlas"), client.post("/api/encode", content=b"x")):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert "again" in answer.json()["detail"]
            assert client.get("/api/progress").status_code == 200  # needs no computing
            free.set()
            assert waiting.result(WAIT).status_code == 200
        assert client.get("/api/atlas").status_code == 200


def test_a_request_that_takes_too_long_is_refused_and_the_next_is_served() -> None:
    with client_of(tiny_atlas(), limits=replace(Limits(), seconds=1e-6)) as client:
        answer = client.post("/api/random-walk", json={"start": [0.0, 0.0, 0.0], "frames": 9})
        assert answer.status_code == 400
        assert "longer than" in answer.json()["detail"]
        assert client.get("/api/progress").status_code == 200


def test_fifty_clients_at_once_lose_no_request_and_get_their_own_answers() -> None:
    with client_of(tiny_atlas()) as client, ThreadPoolExecutor(50) as crowd:

        def ask(number: int) -> bool:
            place = [1.0 + number / 50, 0.0, 0.0]
            given = arrays(
                client.post(
                    "/api/travel", json={"waypoints": [place, [0.0] * 3], "planners": ["linear"]}
                )
            )
            known = client.get("/api/codes", params={"offset": number, "count": 1})
            mine = np.allclose(given["linear/points"][0], place, atol=1e-6)
            return mine and np.allclose(
                arrays(known)["means"][0], tiny_atlas().codes["train"].means[number]
            )

        assert all(crowd.map(ask, range(150)))
