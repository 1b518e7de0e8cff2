"""The one exception that users are meant to read."""


class UserError(Exception):
    """Bad input, said in one line: the file, the line or key, what is wrong and what would be right."""
