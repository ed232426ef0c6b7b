#!/usr/bin/env bash
# Checks everything: format, lints, docs, tests, examples, dependencies. Installs what a fresh Debian machine lacks.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

# --- what has to be there -------------------------------------------------------------------------------------------
step "programs"
missing=()
need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}
need cc build-essential
need make build-essential
need perl perl
need pkg-config pkg-config
need nginx nginx-light
need tinyproxy tinyproxy-bin
need squid squid
need danted dante-server
need redis-server redis-server
need redis-cli redis-tools
need chromium chromium
need chromedriver chromium-driver
need openssl openssl
need kill procps
need valgrind valgrind
need node nodejs
need npm npm
# A virtual environment needs both.
python3 -c "import venv, ensurepip" 2>/dev/null || missing+=(python3-venv)
# For the feature `openssl`.
pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -q
    # nginx and the proxies are run by the tests, not as services: a policy keeps their packages from starting any.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod +x $policy
        trap '$sudo rm -f $policy' EXIT
    fi
    $sudo apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    export PATH="$HOME/.cargo/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install Rust 1.88 or newer with rustup, then run this again" >&2
    exit 1
fi
cargo --version

tools="${CARGO_TARGET_DIR:-$PWD/target}/tools"
deny="$(command -v cargo-deny || true)"
if [ -z "$deny" ]; then
    deny="$tools/bin/cargo-deny"
    if [ ! -x "$deny" ]; then
        step "installing cargo-deny"
        cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" cargo-deny --version 0.20.2
        rm -rf "$tools/build"
    fi
fi

# Fakes of Stripe that others have made, for the contract tests, which are skipped without these variables.
fakes="${XDG_CACHE_HOME:-$HOME/.cache}/marmot-tools"
export MARMOT_LOCALSTRIPE="$fakes/localstripe-1.15.10/bin/python"
if ! "$MARMOT_LOCALSTRIPE" -c "import localstripe" 2>/dev/null; then
    step "installing localstripe"
    python3 -m venv "$fakes/localstripe-1.15.10"
    "$MARMOT_LOCALSTRIPE" -m pip install --quiet --disable-pip-version-check localstripe==1.15.10
fi
export MARMOT_STRIPE_MOCK="$fakes/stripe-stateful-mock-0.0.16/node_modules/stripe-stateful-mock"
if ! node -e 'require(process.argv[1])' "$MARMOT_STRIPE_MOCK" 2>/dev/null; then
    step "installing stripe-stateful-mock"
    npm install --loglevel=error --no-audit --no-fund --prefix "$fakes/stripe-stateful-mock-0.0.16" stripe-stateful-mock@0.0.16
fi

# Clients that others have made, for the service: the same holds for these tests.
export MARMOT_CLIENTS_PYTHON="$fakes/clients-python-1/bin/python"
if ! "$MARMOT_CLIENTS_PYTHON" -c "import jsonrpcclient, websockets" 2>/dev/null; then
    step "installing clients for Python"
    python3 -m venv "$fakes/clients-python-1"
    "$MARMOT_CLIENTS_PYTHON" -m pip install --quiet --disable-pip-version-check -r examples/clients/python/requirements.txt
fi
export MARMOT_CLIENTS_JAVASCRIPT="$fakes/clients-javascript-1/node_modules"
if ! node -e 'require(process.argv[1])' "$MARMOT_CLIENTS_JAVASCRIPT/rpc-websockets" 2>/dev/null; then
    step "installing clients for Node"
    mkdir -p "$fakes/clients-javascript-1"
    cp examples/clients/javascript/package.json "$fakes/clients-javascript-1"
    npm install --loglevel=error --no-audit --no-fund --no-package-lock --prefix "$fakes/clients-javascript-1"
fi

# --- what is checked ------------------------------------------------------------------------------------------------
step "format"
cargo fmt --all -- --check

step "lints"
cargo clippy --all-features --all-targets -- -D warnings
for features in "" "static-curl" "static-curl,gzip" "static-curl,brotli,script" "static-curl,stripe" "static-curl,queue" "static-curl,redis" "static-curl,worker" "static-curl,server" "static-curl,zstd,json,tracing"; do
    echo "library with features: ${features:-none}"
    cargo clippy --lib --no-default-features --features "$features" -- -D warnings
done

step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

step "tests, all features"
cargo test --all-features

step "tests, smallest set of features"
cargo test --lib --no-default-features --features static-curl

step "tests, default features"
cargo test --lib --test it

step "tests of descriptors, a libcurl that waits with select()"
# As programs get it that use the crate: without the flags of .cargo/config.toml.
CFLAGS="" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/select" cargo test --test it -- descriptors::

step "tests of TLS and proxies, OpenSSL"
# A folder of its own, so that the features do not take turns in compiling the same one.
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/openssl" cargo test --no-default-features \
    --features static-curl,http2,openssl,gzip,brotli,zstd,json,text-decoding --test it -- tls:: proxies::

step "examples"
# First built, so that the time limits are those of the programs alone.
cargo build --quiet --all-features --examples
cargo build --quiet --all-features
for example in examples/*.rs; do
    name="$(basename "$example" .rs)"
    echo "-- $name"
    timeout 120 cargo run --quiet --all-features --example "$name"
done
echo "-- demo"
timeout 60 cargo run --quiet --all-features -- demo >/dev/null

step "memory"
# libcurl, the callbacks and the hand-over between threads under valgrind: no error, nothing lost.
binary="$(cargo test --no-run --test it --message-format=json 2>/dev/null | grep -o '"executable":"[^"]*/it-[^"]*"' | tail -n 1 | cut -d'"' -f4)"
timeout 900 valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --suppressions=tests/valgrind.supp --fair-sched=yes \
    "$binary" --test-threads=2 basics:: handler:: redirects::

step "dependencies"
"$deny" --all-features --exclude marmot-bench check bans licenses sources
# The list of advisories comes from the network, which a build machine may lack.
if ! "$deny" --all-features --exclude marmot-bench check advisories; then
    if "$deny" --all-features fetch db >/dev/null 2>&1; then
        exit 1
    fi
    echo "the list of advisories cannot be fetched here: not checked"
fi

step "all is well"
