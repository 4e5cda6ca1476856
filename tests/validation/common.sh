# shellcheck shell=bash
# What the validation scripts share: options, running kingman, latencies from CSV by awk and sort, tables of errors.
# shellcheck disable=SC2034 # data, heading, ... are used by the scripts that read this file
export LC_ALL=C
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binary=
sets=()
missed=0

die() {
    echo "$*" >&2
    exit 2
}

# --build DIR, --binary FILE, --data DIR, and every --set KEY=VALUE, which is passed on.
read_options() {
    while (($#)); do
        case $1 in
        --build) binary=${2:?$usage}/src/kingman && shift 2 ;;
        --binary) binary=${2:?$usage} && shift 2 ;;
        --data) data=${2:?$usage} && shift 2 ;;
        --set) sets+=(--set "${2:?$usage}") && shift 2 ;;
        *) die "$usage" ;;
        esac
    done
    [[ -n $binary ]] || binary=$project/build/src/kingman
    [[ -x $binary ]] || die "no kingman in $binary: build it, or say --build DIR; $usage"
    binary=$(realpath "$binary")
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
}

scenario() { # model, device, engine, max_num_batched_tokens, KV blocks
    cat >"$scratch/scenario.yaml" <<YAML
model: $1
cluster: {device: $2}
engine:
  name: $3
  batching: {max_num_seqs: 256, max_num_batched_tokens: $4}
  kv: {block_size: 16, num_gpu_blocks_override: $5}
workload: {trace: trace.csv}
YAML
}

simulate() { # trace, output directory
    (cd "$project" && "$binary" run "$scratch/scenario.yaml" --set workload.trace="$1" "${sets[@]}" --output "$2" >/dev/null)
}

# A number of result.json: its members stand a line each, what is inside them on that line.
result_number() { # directory, member, key inside it (none: the member itself)
    awk -v member="\"$2\":" -v key="\"${3:-$2}\": " '$1 == member {
        at = index($0, key)
        if (at) { split(substr($0, at + length(key)), part, /[,}]/); print part[1]; found = 1 } }
        END { exit !found }' "$1/result.json"
}

# A recorded run as a kingman trace: arrivals when the client sent them.
trace_of() { # recorded CSV, trace
    {
        echo "arrival_s,prompt_tokens,output_tokens"
        awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
            { print $column["sent_s"] "," $column["input_tokens"] "," $column["output_tokens"] }' "$1" |
            sort -t, -k1,1g
    } >"$2"
}

# Both print one request a line: TTFT, TPOT (empty for one token), E2E, queueing delay, in seconds.
recorded_latencies() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        { sent = $column["sent_s"]; first = $column["first_token_s"]; last = $column["last_token_s"]; n = $column["output_tokens"]
          tpot = n < 2 ? "-" : sprintf("%.9f", (last - first) / (n - 1))
          printf "%.9f %s %.9f %.9f\n", first - sent, tpot, last - sent,
                 $column["scheduled_s"] - sent }' "$1"
}
simulated_latencies() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        $column["last_token_s"] == "" { next }
        { arrival = $column["arrival_s"]; first = $column["first_token_s"]; last = $column["last_token_s"]; n = $column["output_tokens"]
          tpot = n < 2 ? "-" : sprintf("%.9f", (last - first) / (n - 1))
          printf "%.9f %s %.9f %.9f\n", first - arrival, tpot, last - arrival,
                 $column["scheduled_s"] - arrival }' "$1"
}

# Mean, p50, p90, p99 (the smallest value with at least that share at or below) of a column, in seconds.
summary() { # file, column
    awk -v c="$2" '$c != "-" { print $c }' "$1" | sort -g | awk '{ value[NR] = $1; sum += $1 }
        function rank(q) { r = int(q * NR); if (r < q * NR) r++; return value[r < 1 ? 1 : r] }
        END { if (NR) print sum / NR, rank(0.5), rank(0.9), rank(0.99) }'
}

heading() {
    printf '\n%-34s %12s %12s %9s %8s\n' "$1" simulated recorded error target
}

# One line; counts what is beyond its target. A target of "-" is none.
compare() { # what, unit, simulated, recorded, target in %
    local line
    line=$(awk -v what="$1" -v unit="$2" -v s="$3" -v r="$4" -v target="$5" 'BEGIN {
        error = 100 * (s - r) / r
        if (unit == "ms" && r >= 1e4) { s /= 1e3; r /= 1e3; unit = "s" }
        beyond = target != "-" && (error > target + 0 || -error > target + 0)
        printf "%-34s %9.4g %-2s %9.4g %-2s %+7.1f %% %8s%s\n", what, s, unit, r, unit, error,
               target == "-" ? "-" : target " %", beyond ? "  BEYOND" : "" }')
    echo "$line"
    [[ $line != *BEYOND ]] || missed=$((missed + 1))
}

# Means have the target, 99th percentiles theirs, if given.
compare_latencies() { # simulated, recorded, target of means in %, of 99th percentiles
    local column name s r
    (($(wc -l <"$1") == $(wc -l <"$2"))) || die "$(wc -l <"$1") requests were served, $(wc -l <"$2") recorded"
    for column in 1 2 3 4; do
        name=$(echo "TTFT TPOT E2E queueing" | cut -d' ' -f$column)
        read -ra s <<<"$(summary "$1" $column)"
        read -ra r <<<"$(summary "$2" $column)"
        local targets=("$3" - - "${4:--}") i=0 statistic
        [[ $name != queueing ]] || targets=(- - - -)
        for statistic in mean p50 p90 p99; do
            compare "$name $statistic" ms "$(awk -v v="${s[$i]}" 'BEGIN { print 1e3 * v }')" \
                "$(awk -v v="${r[$i]}" 'BEGIN { print 1e3 * v }')" "${targets[$i]}"
            i=$((i + 1))
        done
    done
}

verdict() {
    echo
    if ((missed)); then
        echo "$missed beyond the target"
        exit 1
    fi
    echo "all within their targets"
}
