"""The tags by which tfhub-blocks knows its own things in a workspace."""

TAG = "tfhub_blocks."
# The last day, as YYYY-MM-DD. By this tag an endpoint is ours, and reap may delete it.
UNTIL_TAG = f"{TAG}until"
PROFILE_TAG = f"{TAG}profile"
