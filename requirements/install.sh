# Makes the virtual environment at $1 from the hashed lock. Called by `make setup`.
set -eu
venv=$1

works() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

fail() {
    echo "error: [make > setup] $1" >&2
    exit 2
}

python=
for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python; do
    if works "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || echo "no python3")
    fail "$found on this machine. Expected Python 3.11, 3.12 or 3.13. Install one of them, or name it: make PYTHON=/path/to/python3.11"
fi

if [ -x "$venv/bin/python" ] && ! works "$venv/bin/python"; then
    rm -rf "$venv" # made by a Python that is gone or too old
fi
if [ ! -x "$venv/bin/pip" ]; then
    "$python" -m venv "$venv" || fail "$python could not make a virtual environment. Expected its venv module. On Debian and Ubuntu: apt-get install python3-venv"
fi

rm -f "$venv/installed.lock"
echo "Installing $(grep -c '^[a-z0-9].*==' requirements/dev.lock) locked packages into $venv (once, a few minutes)"
# The lock is complete, so nothing is left to resolve: --no-deps saves the reading of metadata.
# uv unpacks and compiles on all cores; pip takes over where uv does not reach the registry that
# only pip is configured for.
install() {
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r "$1"
}
only_uv=$(mktemp)
trap 'rm -f "$only_uv"' EXIT
awk '/^uv==/ { found = 1 } found { print } found && !/\\$/ { exit }' requirements/dev.lock > "$only_uv"
install "$only_uv" || fail "pip could not install uv from the lock. Expected each package with its hash from the registry. See the message of pip above"
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --compile-bytecode --no-deps --require-hashes \
    -r requirements/dev.lock || {
    echo "warning: [make > setup] uv could not install the lock (see above), so pip does" >&2
    install requirements/dev.lock || fail "pip could not install the lock. Expected each package with its hash from the registry. See the message of pip above"
}
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
cp pyproject.toml "$venv/installed.toml"
cp requirements/dev.lock "$venv/installed.lock"
