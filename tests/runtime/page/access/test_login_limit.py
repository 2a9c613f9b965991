"""The limit of logons, with a clock of its own."""

import pytest

from partsight.runtime.page.access import login_limit
from partsight.runtime.page.access.login_limit import (
    FORGET_S,
    FREE_OF_ADDRESS,
    FREE_OF_NAME,
    MAX_AT_ONCE,
    MAX_WAIT_S,
    LoginLimit,
)
from tests.runtime.page.access.test_sessions import Clock

HOME, AWAY = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> LoginLimit:
    return LoginLimit(clock)


def attempt(limit: LoginLimit, name: str = "ada", address: str = HOME, *, is_right: bool = False) -> int:
    """Return the seconds that a try must wait; 0 if it went through."""
    wait = limit.begin(name, address)
    if wait is None:
        limit.end(name, address, is_right=is_right)
    return wait.seconds if wait else 0


def test_waits_grow_and_end(limit: LoginLimit, clock: Clock) -> None:
    assert [attempt(limit) for _ in range(FREE_OF_NAME)] == [0] * FREE_OF_NAME
    waits = []
    for _ in range(9):
        waits.append(attempt(limit))
        clock.now += waits[-1]
        assert attempt(limit) == 0
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_try_in_the_wait_does_not_prolong_it(limit: LoginLimit, clock: Clock) -> None:
    for _ in range(FREE_OF_NAME):
        attempt(limit)
    for _ in range(5):
        assert attempt(limit, is_right=True) > 0
        clock.now += 1
    assert attempt(limit) == 0


def test_a_name_is_limited_over_all_addresses(limit: LoginLimit) -> None:
    for number in range(FREE_OF_NAME):
        assert attempt(limit, "Ada", f"10.0.0.{number}") == 0
    assert attempt(limit, "aDA", AWAY) > 0
    assert attempt(limit, "olga", AWAY) == 0


def test_an_address_is_limited_over_all_names(limit: LoginLimit) -> None:
    for number in range(FREE_OF_ADDRESS):
        assert attempt(limit, str(number)) == 0
    assert attempt(limit, "olga") > 0
    assert attempt(limit, "olga", AWAY) == 0


def test_one_machine_has_one_network_of_ipv6(limit: LoginLimit) -> None:
    for number in range(FREE_OF_ADDRESS):
        assert attempt(limit, str(number), f"fe80::{number:x}%eth0") == 0
    assert attempt(limit, "olga", "fe80::ffff") > 0
    assert attempt(limit, "olga", "fe81::1") == 0


def test_nobody_is_locked_out_of_the_usual_place(limit: LoginLimit, clock: Clock) -> None:
    assert attempt(limit, is_right=True) == 0
    for _ in range(50):  # somebody guesses elsewhere, without a break
        clock.now += attempt(limit, address=AWAY)
    attempt(limit, address=AWAY)
    assert attempt(limit, address=AWAY) > 0
    assert attempt(limit, is_right=True) == 0
    for _ in range(FREE_OF_NAME):
        assert attempt(limit) == 0
    assert attempt(limit) > 0  # guesses at this place are limited too


def test_a_right_password_ends_the_waits_of_its_name(limit: LoginLimit, clock: Clock) -> None:
    for _ in range(FREE_OF_NAME):
        attempt(limit)
    clock.now += 5
    assert attempt(limit, is_right=True) == 0
    for _ in range(FREE_OF_NAME):
        assert attempt(limit) == 0


def test_an_own_account_gives_no_more_guesses(limit: LoginLimit, clock: Clock) -> None:
    """Who logs in rightly between guesses gets the same waits of the address."""
    for number in range(FREE_OF_ADDRESS):
        assert attempt(limit, str(number)) == 0
        attempt(limit, "mallory", is_right=True)
    assert attempt(limit, "x") > 0
    clock.now += 5
    assert attempt(limit, "mallory", is_right=True) == 0
    assert attempt(limit, "x") == 0
    assert attempt(limit, "y") == 10


def test_failures_are_forgotten(limit: LoginLimit, clock: Clock) -> None:
    for _ in range(FREE_OF_NAME - 1):
        attempt(limit)
    clock.now += FORGET_S + 1
    for _ in range(FREE_OF_NAME):
        assert attempt(limit) == 0
    assert attempt(limit) == 5
    assert FORGET_S > MAX_WAIT_S


def test_tries_at_the_same_time_win_nothing(limit: LoginLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limit, "MAX_AT_ONCE", 100)
    assert [limit.begin("ada", HOME) for _ in range(FREE_OF_NAME)] == [None] * FREE_OF_NAME
    assert limit.begin("ada", HOME)


def test_so_many_at_once(limit: LoginLimit) -> None:
    for number in range(MAX_AT_ONCE):
        assert limit.begin(str(number), HOME) is None
    wait = limit.begin("ada", AWAY)
    assert wait
    assert (wait.seconds, wait.is_news) == (1, False)
    limit.end("0", HOME, is_right=False)
    assert limit.begin("ada", AWAY) is None


def test_news_once_a_minute(limit: LoginLimit, clock: Clock) -> None:
    for _ in range(FREE_OF_NAME + 6):
        clock.now += attempt(limit)
        attempt(limit)
    waits = []
    for _ in range(130):
        clock.now += 1
        waits.append(limit.begin("ada", HOME))
    assert sum(wait.is_news for wait in waits if wait) in (2, 3)


def test_random_names_make_no_news(limit: LoginLimit) -> None:
    for number in range(FREE_OF_ADDRESS):
        attempt(limit, str(number))
    waits = [limit.begin(f"x{number}", HOME) for number in range(100)]
    assert [bool(wait and wait.is_news) for wait in waits] == [True] + [False] * 99


def test_memory_is_bounded(limit: LoginLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limit, "MAX_KEYS", 10)
    for number in range(100):
        attempt(limit, "n" * 5000 + str(number), "a" * 5000 + str(number), is_right=number % 2 == 0)
    assert max(len(value) for value in vars(limit).values() if hasattr(value, "__len__")) <= 10
    assert len(repr(vars(limit))) < 20_000
