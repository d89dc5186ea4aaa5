# Sourced by tests/bench/run: the workloads. Each function does one group on the system $1, which is mounted, and records
# what was asked for; it returns early when the system failed.

one_large() {
  local s=$1 file=$scratch/$1/mnt/large
  measure "$s" write mb write "$file" "$bytes" || return
  if wants read-cold read-warm random-read; then
    cold "$s" || return
    measure "$s" read-cold mb read "$file" || return
    if wants read-warm; then measure "$s" read-warm mb read "$file" || return; fi
    if wants random-read; then measure "$s" random-read ops random-read "$file" "$reads" || return; fi
  fi
  if wants random-read-cold; then
    cold "$s" && measure "$s" random-read-cold ops random-read "$file" $((reads / 10)) || return
  fi
  if wants rewrite; then measure "$s" rewrite ops rewrite "$file" "$reads" 0 || return; fi
  if wants rewrite-fsync; then measure "$s" rewrite-fsync ops rewrite "$file" $((reads / 5)) 32 || return; fi
  quietly "$s" "removing the large file" rm "$file"
}

many_small() {
  local s=$1 folder=$scratch/$1/mnt/small
  quietly "$s" mkdir mkdir "$folder" || return
  measure "$s" create ops create "$folder" "$files" || return
  if wants ls-cold stat; then
    cold "$s" && measure "$s" ls-cold ops list "$folder" && measure "$s" stat ops stat "$folder" "$files" || return
  fi
  if wants stat-cold read-files; then
    cold "$s" && measure "$s" stat-cold ops stat "$folder" "$files" || return
    measure "$s" read-files ops read-files "$folder" "$files" || return
  fi
  if wants rename unlink; then
    measure "$s" rename ops rename "$folder" "$files" && measure "$s" unlink ops unlink "$folder" "$files" || return
  fi
  quietly "$s" "removing small files" rm -rf "$folder" || return
  if wants create-fsync; then
    quietly "$s" mkdir mkdir "$folder" && measure "$s" create-fsync ops create-fsync "$folder" $((files / 5)) || return
    quietly "$s" "removing small files" rm -rf "$folder"
  fi
}


# record SYSTEM WORKLOAD VALUE
record() { if wants "$2"; then echo "$2 $1 $3" >>"$results"; fi; }

now() { local t=$EPOCHREALTIME; echo "${t/[.,]/}"; }  # microseconds

# clock SYSTEM WORKLOAD AMOUNT COMMAND...: AMOUNT a second. What a peer cannot do has no figure; Atoll can.
clock() {
  local system=$1 workload=$2 amount=$3 begin end
  shift 3
  step "$system" "$workload"
  begin=$(now)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    if [ "$system" = atoll ] || [ "$system" = local ]; then quietly "$system" "$workload" cat "$log"; broken+="$system "; fi
    [ -n "${ATOLL_BENCH_VERBOSE:-}" ] && { echo "$system: $workload failed:"; tail -n 3 "$log"; } >&2
    return 1
  fi
  end=$(now)
  record "$system" "$workload" "$(awk -v a="$amount" -v us=$((end - begin)) 'BEGIN {print a * 1e6 / (us > 0 ? us : 1)}')"
}

# A source tree: /usr/include's first files, packed once, outside of every system.
tree_files=$([ "$quick" = 1 ] && echo 500 || echo 4400)
pack_tree() {
  [ ! -e "$scratch/tree.tar" ] || return 0
  find /usr/include -type f -print0 | sort -z | sed -z -n "1,${tree_files}p" |
    tar -C / --null -T - --transform 's,^/*,,' -P -cf "$scratch/tree.tar" || return 1
  tree_files=$(tar -tf "$scratch/tree.tar" | wc -l)
}

a_git() { GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0 -c core.fsync=none "$@"; }

a_tree() {
  local s=$1 folder=$scratch/$1/mnt/tree
  quietly "$s" "packing a tree" pack_tree && quietly "$s" mkdir mkdir -p "$folder/source" || return
  cat "$scratch/tree.tar" >/dev/null
  clock "$s" untar "$tree_files" tar -xf "$scratch/tree.tar" -C "$folder/source" --no-same-owner || return
  if wants git-clone git-status; then
    a_git -C "$folder/source" init -q >"$log" 2>&1 && a_git -C "$folder/source" add -A >"$log" 2>&1 &&
      a_git -C "$folder/source" commit -qm tree >"$log" 2>&1 &&
      clock "$s" git-clone "$tree_files" a_git clone -q --local "$folder/source" "$folder/clone" &&
      clock "$s" git-status "$tree_files" a_git -C "$folder/clone" status --porcelain
    runs "$s" || return
  fi
  clock "$s" rm-rf "$tree_files" rm -rf "$folder/source"
  quietly "$s" "removing the tree" rm -rf "$folder"
}

status_of() { "$atoll" status bench --json | jq -r "$1"; }

# Three of the six nodes' folders go away and come back.
take_nodes() { local i; for i in "$@"; do mv "$scratch/atoll/home/bench.nodes/$i" "$scratch/atoll/away-$i" || return; done; }
give_nodes() { local i; for i in "$@"; do mv "$scratch/atoll/away-$i" "$scratch/atoll/home/bench.nodes/$i" || return; done; }

read_from_nodes() {  # read_from_nodes WORKLOAD FILE: nothing of it is here, and the nodes were really asked
  local before after
  quietly atoll "dropping the cache" "$atoll" cache drop bench || return
  drop_caches
  before=$(status_of .counters.node_read_bytes)
  measure atoll "$1" mb read "$2" || return
  after=$(status_of .counters.node_read_bytes)
  [ $((after - before)) -ge "$bytes" ] && return 0
  echo "atoll: $1: only $((after - before)) bytes came from nodes" >&2
  broken+="atoll "
  return 1
}

write_and_protect() { "$work_program" write "$1" "$bytes" && "$atoll" sync bench --timeout 600; }

with_nodes() {
  local s=$1 file=$scratch/$1/mnt/large
  if [ "$s" = local ] && wants protect; then
    clock local protect "$((bytes / 1000000))" "$work_program" write "$file" $((3 * bytes))
    rm -f "$file"
  fi
  [ "$s" = atoll ] || return 0
  clock atoll protect "$((bytes / 1000000))" write_and_protect "$file" || return
  quietly atoll settle atoll_settle || return
  if wants read-nodes; then read_from_nodes read-nodes "$file" || return; fi
  if wants read-nodes-lossy; then
    quietly atoll "dropping the cache" "$atoll" cache drop bench && cold atoll && quietly atoll "taking nodes away" take_nodes 1 3 5 || return
    read_from_nodes read-nodes-lossy "$file"
    quietly atoll "bringing nodes back" give_nodes 1 3 5 || return
  fi
  quietly atoll "removing the large file" rm "$file"
}

daemon_pid() { pgrep -f -- "mount bench $scratch/atoll/mnt" | head -n 1; }
cpu_ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }
written_bytes() { awk '$1 == "write_bytes:" {print $2}' "/proc/$1/io"; }
fresh_atoll() {  # a drive that holds nothing but what comes next
  atoll_umount && rm -rf "$scratch/atoll" && atoll_make && atoll_mount
}

# Waits until one more segment was shipped and nothing is only here; prints the seconds since it was called.
until_protected() {
  local shipped=$1 begin i
  begin=$(now)
  for ((i = 0; i < 1200; i++)); do
    [ "$(status_of "(.staged_bytes == 0) and (.counters.segments_shipped > $shipped)")" = true ] && break
    sleep 0.02
  done
  [ "$i" -lt 1200 ] && awk -v us=$(($(now) - begin)) 'BEGIN {print us / 1e6}'
}

create_and_protect() { "$work_program" create "$1" "$files" && "$atoll" sync bench --timeout 600; }

by_itself() {
  local mnt=$scratch/atoll/mnt pid before seconds size=$bytes
  local overhead='(.stored_bytes / .logical_bytes / (.redundancy.n / .redundancy.k) - 1) * 100'
  if wants close-to-protected create-to-protected; then
    quietly atoll settle atoll_settle || return
    before=$(status_of .counters.segments_shipped)
    quietly atoll "one small file" "$work_program" create "$mnt" 1 && seconds=$(until_protected "$before") || return
    record atoll close-to-protected "$seconds"
    quietly atoll "removing it" rm "$mnt/file-0" || return
    if wants create-to-protected; then
      mkdir -p "$mnt/small"
      clock atoll create-to-protected "$files" create_and_protect "$mnt/small" || return
    fi
  fi
  # In virtual time, so that it is the same in every round.
  if wants requests && [ "$round" = 1 ]; then
    quietly atoll "a day of small saves" "$sim_program" --seed 1 --editor-day || return
    record atoll requests "$(sed -n 's/.*at most \([0-9]*\) requests.*/\1/p' "$log")"
  fi
  if wants expansion-small metadata; then
    quietly atoll "a fresh drive" fresh_atoll && mkdir "$mnt/small" && quietly atoll create "$work_program" create "$mnt/small" "$files" &&
      quietly atoll settle atoll_settle || return
    record atoll expansion-small "$(status_of "$overhead")"
    record atoll metadata "$(status_of "(([.nodes[].used_bytes] | add) - .stored_bytes) / .redundancy.n / $files")"
  fi
  if wants expansion-large cpu-per-GiB rss; then
    quietly atoll "a fresh drive" fresh_atoll || return
    pid=$(daemon_pid)
    before=$(cpu_ticks "$pid")
    quietly atoll write "$work_program" write "$mnt/large" "$size" && quietly atoll settle atoll_settle || return
    record atoll cpu-per-GiB "$(awk -v t=$(($(cpu_ticks "$pid") - before)) -v hz="$(getconf CLK_TCK)" -v b="$size" 'BEGIN {print t / hz / b * 2^30}')"
    record atoll expansion-large "$(status_of "$overhead")"
    if wants rss; then
      quietly atoll write "$work_program" write "$mnt/large" $((4 * size)) && quietly atoll settle atoll_settle &&
        drop_caches && quietly atoll read "$work_program" read "$mnt/large" || return
      record atoll rss "$(awk '$1 == "VmHWM:" {print $2 / 1024}' "/proc/$pid/status")"
    fi
  fi
  if wants local-bytes; then
    # Without nodes, all that the process writes it writes here.
    quietly atoll "a fresh drive" fresh_atoll && quietly atoll "taking nodes away" take_nodes 1 2 3 4 5 6 || return
    quietly atoll unmount atoll_umount && quietly atoll mount atoll_mount || return
    pid=$(daemon_pid)
    before=$(written_bytes "$pid")
    quietly atoll write "$work_program" write "$mnt/large" "$((size / 2))" || return
    record atoll local-bytes "$(awk -v w=$(($(written_bytes "$pid") - before)) -v b=$((size / 2)) 'BEGIN {print w / b}')"
    quietly atoll "bringing nodes back" give_nodes 1 2 3 4 5 6 || return
  fi
}

# A drive grows: what its operations, its memory and its mount cost when it holds so many (empty) files. Once, whatever the
# number of rounds: a million files take minutes.
growing() {
  local mnt=$scratch/atoll/mnt count pid begin
  for count in "${scale_sizes[@]}"; do
    wants "scale-create-$count" "scale-lookup-$count" "scale-list-$count" "scale-mount-$count" "scale-rss-$count" "scale-index-$count" || continue
    quietly atoll "a fresh drive" fresh_atoll && measure atoll "scale-create-$count" ops touch "$mnt" "$count" &&
      quietly atoll settle atoll_settle && quietly atoll unmount atoll_umount || return
    drop_caches
    record atoll "scale-index-$count" "$(awk -v b="$(cat "$ATOLL_HOME"/bench/index* | wc -c)" -v n="$count" 'BEGIN {print b / n}')"
    begin=$(now)
    quietly atoll mount atoll_mount || return
    record atoll "scale-mount-$count" "$(awk -v us=$(($(now) - begin)) 'BEGIN {print us / 1e6}')"
    # The process that looks names up would know the folders already when it is asked for lists.
    measure atoll "scale-list-$count" ops list-some "$mnt" "$count" && cold atoll || return
    measure atoll "scale-lookup-$count" ops look-up "$mnt" "$count" "$reads" &&
      quietly atoll "listing again" "$work_program" list-some "$mnt" "$count" || return
    pid=$(daemon_pid)
    record atoll "scale-rss-$count" "$(rss_mib "$pid")"
  done
}
