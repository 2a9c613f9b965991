import asyncio

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks.serving import LoopThread, is_loopback, joined


async def half(number: int) -> float:
    await asyncio.sleep(0)
    return 1 / number


def test_a_loop_runs_coroutines_until_it_ends() -> None:
    loop = LoopThread("test")
    assert loop.run(half(2)) == 0.5
    with pytest.raises(ZeroDivisionError):
        loop.run(half(0))
    loop.check()
    loop.close()
    loop.close()
    with pytest.raises(SinkError, match="test"):
        loop.check()
    with pytest.raises(SinkError, match="test"):
        loop.run(half(2))


def test_a_coroutine_that_does_not_end() -> None:
    loop = LoopThread("test")
    with pytest.raises(SinkError, match=r"0\.01 s"):
        loop.run(asyncio.Event().wait(), 0.01)
    loop.close()


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [(["127.0.0.1", "::1"], True), (["127.0.0.1", "10.0.0.1"], False), (["0.0.0.0"], False), (["fe80::1%eth0"], False)],
)
def test_loopback(addresses: list[str], expected: bool) -> None:
    assert is_loopback(addresses) is expected


def test_joined() -> None:
    assert joined("modbus", "::1", 5) == "modbus://[::1]:5"
