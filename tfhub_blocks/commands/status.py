"""What a command's exit status says."""

DONE, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
