"""The one exception that a user can mend: the command line prints its sentence and exits with code 2."""


class BadInput(ValueError):
    """Something the user gave cannot be used; the message names what is wrong and the remedy."""
