# Sourced by tests/bench/run: what node daemons bear, and how a drive on twelve of them does when some are sick. The healthy
# figure and the other are measured one after the other in the same round; each row is their ratio. Atoll alone.

net=$scratch/network
net_daemons=()
net_extra=()
declare -A net_port
line_program=$(dirname "$work_program")/bench_line
objects_program=$(dirname "$work_program")/bench_objects

net_serving() { grep -q ' serving: ' "$net/node$1.log"; }
net_wait() {  # net_wait SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.02
  done
}
net_serve() {  # net_serve NUMBER: its process is in net_daemons[NUMBER]
  : >"$net/node$1.log"
  "$atoll" node serve --data "$net/node$1" --listen "127.0.0.1:${net_port[$1]:-0}" --capacity 200GiB --label "country=c$(($1 % 4))" \
    --metrics 127.0.0.1:0 2>"$net/node$1.log" &
  net_daemons[$1]=$!
  net_wait 120 net_serving "$1" || { cat "$net/node$1.log"; return 1; }
  net_port[$1]=$(grep -o 'listen=[^ ]*' "$net/node$1.log" | head -n 1 | sed 's/.*://')
}
net_end() {
  local pid
  [ ! -d "$net/mnt" ] || { mountpoint -q "$net/mnt" && "$atoll" umount "$net/mnt" --lazy >/dev/null 2>&1; }
  for pid in "${net_extra[@]}" "${net_daemons[@]}"; do
    [ -n "$pid" ] || continue
    kill -CONT "$pid" 2>/dev/null
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  net_daemons=() net_extra=() net_port=()
  if mountpoint -q "$net"; then umount "$net"; fi
  rm -rf --one-file-system "$net" "$net.img"
}
net_status() { "$atoll" status network --json | jq -r "$1"; }
rss_mib() { awk '$1 == "VmRSS:" {print $2 / 1024}' "/proc/$1/status"; }

# net_drive NODES REDUNDANCY: a mounted drive on so many daemons.
net_drive() {
  local i nodes=()
  mkdir -p "$net/mnt" || return
  for ((i = 1; i <= $1; i++)); do
    net_serve "$i" || return
    nodes+=(--node "$("$atoll" node invite --data "$net/node$i")")
  done
  "$atoll" init network --no-kit --redundancy "$2" "${nodes[@]}" || return
  "$atoll" mount network "$net/mnt" -o repair_grace_s=86400,repair_patience_s=3600
}
net_undrive() {
  "$atoll" umount "$net/mnt"
  rm -rf "$ATOLL_HOME/network" "$XDG_CONFIG_HOME/atoll/network.toml"
  net_end
}

# p99 FILE: seconds that 99 of 100 cold reads of 128 KiB take, all bytes from nodes.
p99() {
  local before after line
  "$atoll" cache drop network >/dev/null || return
  before=$(net_status .counters.node_read_bytes)
  line=$("$work_program" cold-reads "$1" "$net_reads") || return
  after=$(net_status .counters.node_read_bytes)
  [ $((after - before)) -ge $((net_reads * 131072)) ] || { echo "only $((after - before)) bytes came from nodes" >&2; return 1; }
  echo "${line%% *}"
}
# protect FILE: seconds from the first byte of a new file until it is protected.
protect() {
  local begin
  begin=$(now)
  "$work_program" write "$1" "$net_bytes" >/dev/null && "$atoll" sync network --timeout 600 >/dev/null || return
  awk -v us=$(($(now) - begin)) 'BEGIN {print us / 1e6}'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {print a / b}'; }

net_bytes=$([ "$quick" = 1 ] && echo $((32 << 20)) || echo "$bytes")
net_reads=$([ "$quick" = 1 ] && echo 200 || echo 2000)
net_objects=$([ "$quick" = 1 ] && echo 2000 || echo 1000000)

# A disk in a file for a million objects: where the disk below discards what is deleted, to delete them one by one takes an
# hour, and the file goes at once. Without root the folder serves.
own_disk() {
  mkdir -p "$net" && [ "$(id -u)" = 0 ] || return 0
  truncate -s 16G "$net.img" && mkfs.ext4 -q -N $((net_objects + net_objects / 4)) -O ^has_journal "$net.img" && mount -o loop "$net.img" "$net" && return 0
  echo "fallback the objects lie on the disk itself, since none can be mounted from a file here" >&2
}

sick_nodes() {
  local file=$net/mnt/large healthy sick quick_reads slow_protect delay
  quietly atoll "twelve daemons" net_drive 12 5/12 || return
  quietly atoll write "$work_program" write "$file" $((net_reads * 131072 * 2)) && quietly atoll settle "$atoll" sync network --full --timeout 600 || return
  p99 "$file" >/dev/null  # everyone has met
  quick_reads=$(p99 "$file") && healthy=$(protect "$net/mnt/healthy") || { broken+="atoll "; return; }
  # One node answers 50 times as late as it did, one not at all.
  delay=$(net_status '[.nodes[].statistics.read_ms.median | select(. != null)] | sort | .[length / 2 | floor] * 50 | ceil')
  echo pass >"$net/line"
  "$line_program" line 127.0.0.1 "${net_port[1]}" "$net/line" >"$net/line.port" &
  net_extra+=("$!")
  net_wait 10 test -s "$net/line.port" &&
    quietly atoll "a slow line" "$atoll" node add network "atoll://127.0.0.1:$(cat "$net/line.port")/$("$atoll" node invite --data "$net/node1" --expires 0 | cut -d / -f 4)" || return
  echo "delay $((delay / 2))" >"$net/line"
  kill -STOP "${net_daemons[2]}"
  p99 "$file" >/dev/null  # everyone has met
  sick=$(p99 "$file") && slow_protect=$(protect "$net/mnt/sick") || { broken+="atoll "; return; }
  record atoll sick-read "$(ratio "$sick" "$quick_reads")"
  record atoll sick-protect "$(ratio "$slow_protect" "$healthy")"
  [ -z "${ATOLL_BENCH_VERBOSE:-}" ] || echo "healthy: $quick_reads s, $healthy s; sick (+$delay ms): $sick s, $slow_protect s" >&2
  kill -CONT "${net_daemons[2]}"
  quietly atoll "putting it away" net_undrive
}

flooded_node() {
  local file=$net/mnt/large before after calm
  quietly atoll "one daemon" net_drive 1 1/1 || return
  quietly atoll write "$work_program" write "$file" $((net_reads * 131072 * 2)) && quietly atoll settle "$atoll" sync network --full --timeout 600 || return
  p99 "$file" >/dev/null
  before=$(p99 "$file") || { broken+="atoll "; return; }
  calm=$(rss_mib "${net_daemons[1]}")
  mkfifo "$net/hold"
  "$line_program" flood 127.0.0.1 "${net_port[1]}" 10000 <"$net/hold" >"$net/flood" 2>&1 &
  net_extra+=("$!")
  exec {hold}>"$net/hold"
  net_wait 120 grep -q opened "$net/flood" || { cat "$net/flood" >&2; broken+="atoll "; return; }
  after=$(p99 "$file") || { broken+="atoll "; return; }
  record atoll flood-read "$(ratio "$after" "$before")"
  record atoll flood-rss "$(rss_mib "${net_daemons[1]}")"
  [ -z "${ATOLL_BENCH_VERBOSE:-}" ] || echo "calm: $before s, $calm MiB; flooded: $after s, $(rss_mib "${net_daemons[1]}") MiB" >&2
  exec {hold}>&-
  quietly atoll "putting it away" net_undrive
}

many_objects() {
  local begin
  own_disk && net_serve 1 && "$atoll" node invite --data "$net/node1" >/dev/null || { broken+="atoll "; return; }
  kill -TERM "${net_daemons[1]}" && wait "${net_daemons[1]}"
  quietly atoll "$net_objects objects" "$objects_program" "$net/node1" "$net_objects" || return
  drop_caches
  begin=$(now)
  quietly atoll "starting with them" net_serve 1 || return
  record atoll restart "$(awk -v us=$(($(now) - begin)) 'BEGIN {print us / 1e6}')"
  [ "$("$atoll" node tenants --data "$net/node1" --json | jq '.tenants[0].objects')" = "$net_objects" ] || { echo "atoll: restart: not all objects are there" >&2; broken+="atoll "; }
  record atoll daemon-rss "$(rss_mib "${net_daemons[1]}")"
  net_end
}

with_daemons() {
  if wants sick-read sick-protect; then sick_nodes; net_end; fi
  if wants flood-read flood-rss && runs atoll; then flooded_node; net_end; fi
  if wants restart daemon-rss && runs atoll; then many_objects; net_end; fi
}
