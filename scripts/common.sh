# Shared by the scripts beside it; sourced, not run. Leaves the shell in the repository's root.
# shellcheck shell=bash disable=SC2034

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
jobs=$(nproc 2>/dev/null || echo 2)

die() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

say() {
    echo "== $*"
}

# quiet COMMAND...: show its output only if it fails.
quiet() {
    local output status=0
    output=$("$@" 2>&1) || status=$?
    ((status == 0)) || printf '%s\n' "$output" >&2
    return "$status"
}

# need_packages NAME...: install the Debian packages that are missing, or say which ones they are and exit 2.
need_packages() {
    local missing=() package
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        # Not a Debian: whatever is missing will be named by CMake or the shell.
        return 0
    fi
    for package in "$@"; do
        if [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) != *"install ok installed" ]]; then
            missing+=("$package")
        fi
    done
    ((${#missing[@]})) || return 0

    local as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        # Without a terminal to ask for a password on, only a sudo that asks for none will do.
        if command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            die "missing packages: ${missing[*]} (as root: apt-get install ${missing[*]})"
        fi
    fi
    say "installing ${missing[*]}"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null; }; then
        die "could not install ${missing[*]} (as root: apt-get install ${missing[*]})"
    fi
}

build_packages=(build-essential cmake ninja-build pkg-config libgsl-dev libcjson-dev libyaml-dev)
