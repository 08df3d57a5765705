"""The tags by which tfhub-blocks recognizes its own resources in a workspace."""

# decision 47

TAG = "tfhub_blocks."
# The last day, as YYYY-MM-DD. An endpoint with this tag was deployed by tfhub-blocks, so reap may
# delete it.
UNTIL_TAG = f"{TAG}until"
PROFILE_TAG = f"{TAG}profile"
# The data asset of a job's open input and the rule that chooses its version, as NAME:RULE.
OPEN_TAG = f"{TAG}open"
# The step that deletes endpoints past their end date, and the pipeline of its schedule's jobs.
REAP_STEP = "reap_endpoints"
