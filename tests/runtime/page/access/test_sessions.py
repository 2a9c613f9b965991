"""Sessions: their tokens, and when they end."""

import pytest

from partsight.runtime.page.access import sessions as module
from partsight.runtime.page.access.accounts import Account, Role
from partsight.runtime.page.access.sessions import MAX_AGE_S, Sessions

ADA = Account("ada", Role.ADMIN, 0.0, is_active=True, revision=3)
OLGA = Account("olga", Role.OPERATOR, 0.0, is_active=True, revision=1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(60.0, clock)


def test_a_session(sessions: Sessions) -> None:
    token, other = sessions.begin(ADA), sessions.begin(ADA)
    session = sessions.find(token)
    assert session
    assert (session.name, session.role, session.revision) == ("ada", Role.ADMIN, 3)
    assert len({token, other, session.csrf}) == 3
    assert min(len(token), len(session.csrf)) >= 43  # 32 random bytes
    for wrong in ("", "x", token[:-1], "\ud7ff", token.upper()):
        assert sessions.find(wrong) is None


def test_the_token_is_not_kept(sessions: Sessions) -> None:
    token = sessions.begin(ADA)
    assert token not in repr(vars(sessions))


def test_it_ends_when_idle(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(ADA)
    clock.now += 59
    assert sessions.find(token, is_use=False)
    clock.now += 1
    assert sessions.find(token)  # is used
    clock.now += 60
    assert sessions.find(token, is_use=False)
    clock.now += 1
    assert sessions.find(token) is None
    clock.now -= 30
    assert sessions.find(token) is None


def test_it_ends_in_the_end(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(ADA)
    for _ in range(int(MAX_AGE_S / 50)):
        clock.now += 50
        assert sessions.find(token)
    clock.now += 50
    assert sessions.find(token) is None


def test_logout(sessions: Sessions) -> None:
    token, other = sessions.begin(ADA), sessions.begin(ADA)
    sessions.end(token)
    sessions.end(token)
    assert sessions.find(token) is None
    assert sessions.find(other)


def test_all_of_an_account_end(sessions: Sessions) -> None:
    tokens = [sessions.begin(ADA), sessions.begin(OLGA), sessions.begin(ADA)]
    sessions.end_all("ada")
    assert [bool(sessions.find(token)) for token in tokens] == [False, True, False]


@pytest.mark.parametrize("revisions", [{"ada": 4, "olga": 1}, {"olga": 1}])
def test_those_of_changed_accounts_end(sessions: Sessions, revisions: dict[str, int]) -> None:
    tokens = [sessions.begin(ADA), sessions.begin(OLGA), sessions.begin(ADA)]
    sessions.end_changed(lambda: {"ada": 3, "olga": 1})
    assert all(sessions.find(token) for token in tokens)
    sessions.end_changed(lambda: revisions)
    assert [bool(sessions.find(token)) for token in tokens] == [False, True, False]


def test_a_logon_during_the_check_stays(sessions: Sessions) -> None:
    """Its account may be newer than the one read."""
    tokens: list[str] = []

    def read() -> dict[str, int]:
        tokens.append(sessions.begin(ADA))
        return {}

    sessions.end_changed(read)
    assert sessions.find(tokens[0])


def test_their_number_is_bounded(sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 2)
    first, second = sessions.begin(ADA), sessions.begin(OLGA)
    clock.now += 1
    assert sessions.find(first)
    third = sessions.begin(OLGA)
    assert [bool(sessions.find(token)) for token in (first, second, third)] == [True, False, True]
