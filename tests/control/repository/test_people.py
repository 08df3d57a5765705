"""Names that are of one person."""

import pytest

from tfhub_blocks.control.repository.people import is_same_person, local_names, login_name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada", "ada"),
        ("ada", "Ada@Example.org"),
        ("ada@work.example", "ada@home.example"),
        ("ada+git@example.org", "ada@example.org"),
        ("1234+ada@users.noreply.github.com", "ada"),
        ("CORP\\ada", "ada@corp.example"),
        (" ada ", "ada"),
    ],
)
def test_names_of_one_person(one, other):
    assert is_same_person(one, other)
    assert is_same_person(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("ada", "bob"), ("ada", "adam"), ("", ""), ("@x", "@x"), ("a", "")]
)
def test_names_of_two_persons_or_of_nobody(one, other):
    assert not is_same_person(one, other)


def test_whoever_is_root_has_no_name(monkeypatch, tmp_path):
    settings = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.chdir(tmp_path)
    settings.write_text("")
    assert (login_name(), local_names()) == ("root", ())
    settings.write_text("[user]\nemail = ada@example.org\n")
    monkeypatch.setenv("LOGNAME", "ada")
    assert local_names() == ("ada", "ada@example.org")
