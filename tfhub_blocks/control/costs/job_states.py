"""The states in which a run or a job has ended."""

from tfhub_blocks.control.project.run_records import FINAL

# decision 83

# In these, the SDK of Azure ML counts a job as ended too: it runs no step any more.
NOT_RESPONDING = "NotResponding"
PAUSED = "Paused"
ENDED = FINAL | {NOT_RESPONDING, PAUSED}
