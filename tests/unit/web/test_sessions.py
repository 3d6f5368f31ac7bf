from harness.web.sessions import LIFETIME_S, Sessions


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_the_right_token_begins_a_session_that_ends_by_itself():
    clock = Clock()
    sessions = Sessions(token="secret", clock=clock)
    session = sessions.begin("secret")
    assert session is not None
    assert sessions.find(session.key) is session
    assert "secret" not in session.key
    clock.at = LIFETIME_S - 1
    assert sessions.find(session.key) is session
    clock.at = LIFETIME_S
    assert sessions.find(session.key) is None


def test_nobody_else_gets_one():
    for token, shown in (("secret", "Secret"), ("secret", ""), ("secret", "secret\udc80"), (None, ""), (None, "None")):
        assert Sessions(token=token).begin(shown) is None
    sessions = Sessions(token="secret")
    assert sessions.find(None) is sessions.find("") is sessions.find("guess") is None


def test_guessing_is_stopped_for_a_minute_the_right_token_included():
    clock = Clock()
    sessions = Sessions(token="secret", clock=clock)
    for _ in range(10):
        assert not sessions.must_wait
        sessions.begin("wrong")
    assert sessions.must_wait
    assert sessions.begin("secret") is None
    clock.at = 61
    assert sessions.begin("secret") is not None


def test_a_session_that_was_left_is_over_and_old_ones_make_room():
    sessions = Sessions(token="secret")
    first = sessions.begin("secret")
    assert first is not None
    left = sessions.begin("secret")
    assert left is not None
    sessions.end(left)
    assert sessions.find(left.key) is None
    for _ in range(200):
        sessions.begin("secret")
    assert sessions.find(first.key) is None


def test_a_form_is_of_one_session():
    sessions = Sessions(token="secret")
    one, other = sessions.begin("secret"), sessions.begin("secret")
    assert sessions.is_ours(one, sessions.csrf(one))
    assert not sessions.is_ours(other, sessions.csrf(one))
    assert not sessions.is_ours(None, sessions.csrf(one))
    assert not sessions.is_ours(one, "")
    assert not Sessions(token="secret").is_ours(None, sessions.csrf(None))
