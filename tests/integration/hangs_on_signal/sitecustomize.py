"""Makes a service hang when the test asks for it: its event loop runs an expression that Python tries for ever."""

import re
import signal


def hang_for_ever(*_):
    re.match("^((((([a-z_]+)+)+)+)+)+[0-9]$", "a" * 60)


signal.signal(signal.SIGUSR1, hang_for_ever)
