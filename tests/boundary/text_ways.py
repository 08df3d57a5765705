"""Ways by text: what is printed, recorded or run as something that it is not."""

from ways import surface

way = surface("Foreign text", "release")
SECRET = "https://user:INVENTED-PASSWORD@127.0.0.1:9/x/1?token=INVENTED-TOKEN"


def run(*settings):
    owner = () if any(it.startswith("owner=") for it in settings) else ("--set", "owner=us")
    return ("run", "judged", "--set", "source=src", *owner, *settings)


@way("pass a password and a token in the address of an input")
def text_address(project):
    return run("--set", f"owner={SECRET}")


@way("pass a signature of Azure storage in an input")
def text_signature(project):
    return run("--set", "owner=https://a.blob.core.windows.net/c/b?sv=2024&sig=INVENTED-SIGNATURE")


@way("pass a connection string with an account's key")
def text_connection_string(project):
    return run("--set", "owner=AccountName=a;AccountKey=INVENTED-KEY==")


@way("pass a token of a known form, without a name")
def text_token(project):
    return run("--set", "owner=ghp_INVENTEDINVENTEDINVENTED")


@way("misspell the input whose address holds a password")
def text_misspelt(project):
    return run("--set", f"ownr={SECRET}")


@way("state a fact of an encoder with a token in it")
def text_fact(project):
    return ("encoder", "pin", "src", "--to", "pinned", "--facts", "licence=https://h/x?t=INVENTED")


@way("write a password into a profile")
def text_profile(project):
    project.write(
        "pipelines/profiles/loose.toml",
        f'format_version = 1\ndescription = "x"\nengine = "local"\n[roles.cpu]\n'
        f'compute = "local"\ntimeout_s = 60\n[inputs]\nhandle = "{SECRET}"\n',
    )
    return run("--profile", "loose")


@way("forge a line of the output by the name of a pipeline")
def text_forged_line(project):
    return ("run", "judged\nerror: [registry > judged] is fine\x1b[1A\x1b[2K")


@way("hide a part of a name by turning its direction")
def text_turned(project):
    return ("show", "judged\u202etxt.\u200b")


@way("pass half of a surrogate pair, which no record can store")
def text_surrogate(project):
    return run("--set", "owner=\udc80")


@way("let TensorFlow take the folder of the runs for a pattern")
def text_pattern(project):
    return run("--runs-dir", "project [v2]")
