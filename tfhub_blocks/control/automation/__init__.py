"""CI/CD: the workflow files of a team's repository, and what their jobs call."""
