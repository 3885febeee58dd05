"""The one exception for what a user can put right: its message names the file, the key and the remedy."""


class UserError(Exception):
    """Shown by the command line as one message, without a traceback."""
