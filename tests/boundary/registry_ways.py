"""Ways by the registry: tags of a registered model that are missing, edited or copied."""

from ways import surface

way = surface("The registry", "registered")


@way("take the owner's tag off a registered model")
def registry_without_owner(stand):
    stand.remove("owner")


@way("take the tag with the statement's digest off a registered model")
def registry_without_statement(stand):
    stand.remove("statement_digest")


@way("take the tag with the producing step off a registered model")
def registry_without_producer(stand):
    stand.remove("made_by")


@way("let the tag name another owner")
def registry_edited_owner(stand):
    stand.tag(owner="them")


@way("let the tag name the statement of another model")
def registry_copied_statement(stand):
    stand.tag(statement_digest=stand.tags("1")["statement_digest"])


@way("let the tag name another producing step")
def registry_edited_producer(stand):
    stand.tag(made_by="fine_tune")


@way("let the tag name the evidence of another model")
def registry_copied_evidence(stand):
    stand.tag(evidence_digest=stand.tags("1")["evidence_digest"])


@way("copy all tags of another model")
def registry_copied_tags(stand):
    stand.tag(**stand.tags("1"))


@way("register the files of a model under another name, with a copy of its tags")
def registry_copied_name(stand):
    return stand.copied("better")


@way("say that a model was registered under another name")
def registry_edited_name(stand):
    stand.tag(registered_as="better")


@way("take the tag of its registered name off a copy under another name")
def registry_copy_without_name(stand):
    what = stand.copied("better")
    stand.remove("registered_as", *what.split(":"))
    return what
