# Installs Azurite $2 into $1. Called by `make azurite`, with npm and node first in PATH.
set -eu
folder=$1
version=$2
echo "Installing Azurite into $folder (once)"
rm -rf "$folder"
mkdir "$folder"
npm install --loglevel=error --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
    --prefix "$folder" "azurite@$version" || {
    rm -rf "$folder"
    echo "error: [make > azurite] npm could not install azurite $version. Let npm reach its registry (npm view azurite version), and run make test again." >&2
    exit 2
}
touch "$folder/$version"
