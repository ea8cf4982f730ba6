"""How processes of the stack are kept alive."""

from skybus.stack.child import next_patience


def test_a_service_that_is_silent_again_and_again_is_given_more_time_each_time():
    allowed = [10.0]
    for _ in range(5):
        allowed.append(next_patience(10.0, allowed[-1], lived=60))
    assert allowed == [10, 20, 40, 80, 80, 80]
    assert next_patience(10.0, 80, lived=3600) == 10
