# shellcheck shell=bash
# What every script of this folder needs to know: where the project and its programs are, and whether
# this machine can build it. Sourced, never run.

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export COFFEE_SHOP_HOME=$project
# Where rustup puts cargo, though a shell opened before its installation does not look there.
PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
target=${CARGO_TARGET_DIR:-target}
# A relative folder is meant from the project, where cargo is called.
[[ $target = /* ]] || target=$project/$target
# shellcheck disable=SC2034 # for those who source this
run_folder=${COFFEE_SHOP_RUN:-$project/.run}

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Without containers the shop and its tests look into /proc.
require_linux() {
    [ "$(uname -s)" = Linux ] ||
        die "this needs Linux, and this is $(uname -s). The shop in containers does not: see docs/containers.md"
}

# Says what is missing for a build, before cargo says it in its own way after minutes.
require_rust() {
    local wanted version major minor
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$project/Cargo.toml")
    command -v cargo >/dev/null ||
        die "Rust is not installed: the shop needs cargo $wanted or newer, see https://rustup.rs"
    version=$(cd "$project" && rustc --version) || die "rustc does not run (see above)"
    version=${version#rustc }
    IFS=. read -r major minor _ <<<"$version"
    ((major > ${wanted%%.*} || minor >= ${wanted##*.})) ||
        die "Rust ${version%% *} is too old: the shop needs $wanted or newer (rustup update)"
    command -v cc >/dev/null ||
        printf '%s\n' "warning: there is no C compiler (cc), which Rust links with. If the build fails:" \
            "         on Debian or Ubuntu, apt-get install gcc libc6-dev" >&2
}

# Gets what is missing of nats-server and Postgres, and exports where they are.
get_servers() {
    require_linux
    local found
    found=$("$project/scripts/lib/get-servers") || exit 1
    eval "$found"
    export NATS_SERVER POSTGRES_BIN
}

# in_project COMMAND…: runs cargo where its configuration is, whatever folder the caller is in.
in_project() { (cd "$project" && exec "$@"); }
