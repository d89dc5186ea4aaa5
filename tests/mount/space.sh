#!/bin/bash
# Space comes back: after overwriting one file many times, and after creating and deleting many, the nodes hold at most
# 1.5 times the live data times n/k once `gc --wait` returns, and local disk is given back. Usage: space.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

megabytes=$([ "$quick" = 1 ] && echo 20 || echo 100)
times=$([ "$quick" = 1 ] && echo 10 || echo 50)
files=$([ "$quick" = 1 ] && echo 10000 || echo 100000)

# Objects on the nodes against what is live, with 8 MiB for heads, checkpoints and journal.
slack=$((8 << 20))
within() {  # within TITLE LIVE_BYTES
  local used most
  used=$(node_bytes)
  most=$(($2 * 2 * 3 / 2 + slack))
  expect "$1: $((used >> 20)) MiB on the nodes for $(($2 >> 20)) MiB of data, at most $((most >> 20))" "[ $used -le $most ]" "$("$atoll" status --json 2>&1)"
}

make_drive
mount_drive -o gc_grace_s=0
# Something that must survive all of it.
"$programs/mount_files" tree "$scratch/plain" 120 5 || fail "the sample can be made"
cp -a "$scratch/plain" "$point/kept"
live=$(du -s --block-size=1 "$point/kept" | cut -f 1)

bytes=$((megabytes << 20))
check "one file of $megabytes MiB is overwritten $times times" "$programs/mount_files" overwrite "$point/file" "$bytes" "$times"
sync_full 300
check "gc --wait returns" timeout 300 "$atoll" gc --wait
within "after overwriting" $((bytes + live))
check "it holds what was written last" "$programs/mount_files" check "$point/file" "$bytes" $((times - 1))

check "$files files are created and removed" bash -c "'$programs/mount_files' create '$point/many' $files 100 && '$programs/mount_files' remove '$point/many' $files"
sync_full 300
check "gc --wait returns again" timeout 300 "$atoll" gc --wait
within "after creating and removing $files files" $((bytes + live))

rm "$point/file"
sync_full
check "gc --wait returns once more" timeout 300 "$atoll" gc --wait
within "after removing the large file" "$live"

# Pieces of many segments die: compaction.
for i in 1 2 3 4 5 6 7 8; do "$programs/mount_files" write "$point/piece-$i" $((8 << 20)) "$i"; done
sync_full
rm "$point"/piece-[1-7]
sync_full
check "gc --wait compacts" timeout 300 "$atoll" gc --wait
within "after removing seven of eight files" $((live + (8 << 20)))
check "the eighth is whole" "$programs/mount_files" check "$point/piece-8" $((8 << 20)) 8

state=$(du -s --block-size=1 "$ATOLL_HOME/default" | cut -f 1)
drop_cache
local_after=$(du -s --block-size=1 "$ATOLL_HOME/default" | cut -f 1)
expect "the state folder is small after a cache drop ($((state >> 20)) -> $((local_after >> 20)) MiB)" "[ $local_after -lt $((200 << 20)) ]"
check "what was kept reads back from the nodes" diff -r --no-dereference "$scratch/plain" "$point/kept"
unmount_drive

# A kill in the middle of collecting loses nothing.
for round in 1 2 3; do
  mount_drive -o gc_grace_s=0
  "$programs/mount_files" overwrite "$point/file" $((16 << 20)) 3
  "$atoll" sync --full --timeout 60 >/dev/null 2>&1
  "$atoll" gc --wait >/dev/null 2>&1 &
  mine=($!)
  sleep "0.$((RANDOM % 5))"
  kill_drive
  wait "${mine[0]}" 2>/dev/null
  mine=()
done
mount_drive -o gc_grace_s=0
sync_full
drop_cache
check "killed while collecting, the last file is whole" "$programs/mount_files" check "$point/file" $((16 << 20)) 2
check "and what was kept too" diff -r --no-dereference "$scratch/plain" "$point/kept"
rm -rf "$point/file" "$point/piece-8"
sync_full
check "gc --wait finishes what the kills left" timeout 300 "$atoll" gc --wait
within "after the kills" "$live"
unmount_drive
finish
