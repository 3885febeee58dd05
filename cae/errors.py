"""What ends a command with one message instead of a traceback."""


class UserError(Exception):
    """What a user can put right: the message names the file, the key and the remedy."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM stopped the work after it was saved: the message is where it stands."""
