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

# --- progress: the bar of `kingman run`, on a terminal's stderr; nothing anywhere else -------------------------------------------

# progress_begin LABEL, then progress DONE ALL as it goes (ALL 0: unknown, the time passed alone), then progress_end.
progress_begin() {
    progress_label=$1 progress_start=$SECONDS
}

progress() {
    [[ -t 2 ]] || return 0
    local done=$1 all=$2 passed=$((SECONDS - progress_start)) cells=30 full left='--:--'
    if ((all == 0)); then
        printf '\r%s  %d:%02d\033[K' "$progress_label" $((passed / 60)) $((passed % 60)) >&2
        return
    fi
    full=$((cells * done / all))
    if ((done > 0)); then
        left=$((passed * (all - done) / done))
        left=$(printf '%d:%02d' $((left / 60)) $((left % 60)))
    fi
    printf '\r%s  [%s%s] %3d %%  %s left\033[K' "$progress_label" "$(printf '%*s' "$full" '' | tr ' ' '#')" \
        "$(printf '%*s' $((cells - full)) '' | tr ' ' '.')" $((100 * done / all)) "$left" >&2
}

progress_end() {
    [[ ! -t 2 ]] || printf '\r\033[K' >&2
}

# counted LABEL [ALL]: pass lines on; a bar beneath, by the "12/345" that a line begins with (ninja, ctest), or by their number of ALL.
counted() {
    local line all=${2:-0} lines=0
    progress_begin "$1"
    while IFS= read -r line; do
        lines=$((lines + 1))
        progress_end
        printf '%s\n' "$line"
        if [[ $line =~ ^[[:space:]\[]*([0-9]+)/([0-9]+) ]]; then
            progress "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        elif ((all)); then
            progress "$lines" "$all"
        fi
    done
    progress_end
}

# watched LABEL SECONDS COMMAND...: as quiet; a bar while it runs, by the last "12/345" that it printed, or by the SECONDS that it is to
# take (0: unknown).
watched() {
    local label=$1 takes_s=$2 status=0 log pid last # the command sees these: no name of its own
    shift 2
    if [[ ! -t 2 ]]; then
        quiet "$@"
        return
    fi
    log=$(mktemp)
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT # a command in the background does not hear Ctrl-C
    progress_begin "$label"
    while kill -0 "$pid" 2>/dev/null; do
        last=$(tail -c 4096 "$log" | tr '\r' '\n' | grep -E '^[ []*[0-9]+/[0-9]+' | tail -n 1) || true
        if ((takes_s)); then
            progress "$((SECONDS - progress_start < takes_s ? SECONDS - progress_start : takes_s))" "$takes_s"
        elif [[ $last =~ ([0-9]+)/([0-9]+) ]]; then
            progress "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        else
            progress 0 0
        fi
        sleep 0.2
    done
    wait "$pid" || status=$?
    trap - INT
    progress_end
    ((status == 0)) || cat "$log" >&2
    rm -f "$log"
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
