"""The exit statuses of commands."""

DONE, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
