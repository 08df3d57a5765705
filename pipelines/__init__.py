"""The pipelines: one ``@dsl.pipeline`` a file, named as its file."""
