#!/bin/bash
# Bounds: memory, staging and cache keep their limits; a file larger than staging passes through; a full staging makes
# writers wait and then answers ENOSPC; nothing accepted is lost. Scaled down to minutes. Usage: bounds.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

mib=$((1 << 20))
files=$([ "$quick" = 1 ] && echo 20000 || echo 100000)
rss() { awk '/^VmRSS/ {print $2 * 1024}' "/proc/$daemon/status"; }
peak() { awk '/^VmHWM/ {print $2 * 1024}' "/proc/$daemon/status"; }
disk() { du -s --block-size=1 "$ATOLL_HOME/default" | cut -f 1; }

# Watches the state folder's size while a command runs; the largest is left in a file, since checks run in subshells.
while_watching() {
  local pid size
  "$@" &
  pid=$!
  mine=("$pid")
  local largest=0
  while kill -0 "$pid" 2>/dev/null; do
    size=$(disk)
    [ "$size" -le "$largest" ] || largest=$size
    sleep 0.2
  done
  mine=()
  echo "$largest" >"$scratch/largest"
  wait "$pid"
}

# Beyond staging and cache: the journal, and segments of 16 MiB that are preallocated, being compacted or just shipped;
# about five at most, however large the file is.
limits=staging_max=64MiB,cache_max=32MiB,dirty_max=16MiB,write_timeout_s=4,gc_grace_s=0
make_drive
mount_drive -o "$limits"
base=$(disk)
size=$((640 * mib))
check "a file of 640 MiB is written through 64 MiB of staging" while_watching "$programs/mount_files" write "$point/large" "$size" 1
largest=$(cat "$scratch/largest")
expect "local disk stayed within staging, cache and their margin ($((largest / mib)) MiB, $((base / mib)) at first)" "[ $largest -le $((base + (64 + 32 + 224) * mib)) ]"
expect "memory does not grow with the file (peak $(($(peak) / mib)) MiB)" "[ $(peak) -lt $((420 * mib)) ]"
check "it reaches all nodes" "$atoll" sync --full --timeout 120
drop_cache
check "and reads back through a cache of 32 MiB" while_watching "$programs/mount_files" check "$point/large" "$size" 1
largest=$(cat "$scratch/largest")
expect "the cache keeps its limit while reading ($((largest / mib)) MiB on disk)" "[ $largest -le $((base + (64 + 32 + 224) * mib)) ]"
cached=$(status_of cache_bytes)
expect "cache_bytes is at most cache_max" "[ ${cached:-999999999999} -le $((34 * mib)) ]" "$cached"
expect "memory after reading: peak $(($(peak) / mib)) MiB" "[ $(peak) -lt $((480 * mib)) ]"

# No nodes: staging fills, the writer waits, then ENOSPC at write, fsync or close; what was accepted stays.
"$programs/mount_files" write "$point/before" $((4 * mib)) 2
"$atoll" sync --full --timeout 60 >/dev/null 2>&1
for node in 1 2 3 4; do mv "$nodes/$node" "$scratch/away-$node"; done
"$programs/mount_files" write "$point/accepted" $((6 * mib)) 3 >/dev/null || fail "a write that fits staging is accepted without nodes"
begin=$(now_ms)
out=$("$programs/mount_files" write "$point/toomuch" $((200 * mib)) 4)
took=$(($(now_ms) - begin))
expect "with no nodes a write beyond staging_max ends with ENOSPC" '[[ $out == *ENOSPC* ]]' "$out"
expect "after waiting within its bound ($took ms)" "[ $took -ge 1000 ] && [ $took -lt 40000 ]"
expect "local disk did not run over ($(($(disk) / mib)) MiB)" "[ $(disk) -le $((base + (64 + 32 + 224) * mib)) ]" "$(du -ah --max-depth=2 "$ATOLL_HOME/default" | sort -rh | head -n 15)"
check "what was accepted before is there" "$programs/mount_files" check "$point/accepted" $((6 * mib)) 3
check "names can still be looked up and removed" rm "$point/toomuch"
for node in 1 2 3 4; do mv "$scratch/away-$node" "$nodes/$node"; done
check "with the nodes back, all drains" "$atoll" sync --full --timeout 120
check "and writing goes on" "$programs/mount_files" write "$point/after" $((100 * mib)) 5
check "and reads right" "$programs/mount_files" check "$point/after" $((100 * mib)) 5
check "what was accepted is still right" "$programs/mount_files" check "$point/accepted" $((6 * mib)) 3
unmount_drive

# Many files.
mount_drive -o "$limits"
rm "$point/large" "$point/after"
check "$files files are made" "$programs/mount_files" create "$point/many" "$files" 0
check "and found" "$programs/mount_files" count "$point/many" "$files"
check "and listed" bash -c "[ \"\$(find '$point/many' -type f | wc -l)\" = $files ]"
expect "memory with $files files: $(($(rss) / mib)) MiB" "[ $(rss) -lt $((400 * mib)) ]"
unmount_drive
begin=$(now_ms)
mount_drive -o "$limits"
took=$(($(now_ms) - begin))
expect "mounting with $files files takes $took ms" "[ $took -lt 15000 ]"
expect "df answers at once, and finite" '[ "$(timeout 5 df --output=size -B1 "$point" | tail -n 1)" -gt 0 ]'
unmount_drive
finish
