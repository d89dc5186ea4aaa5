#!/bin/bash
# Another redundancy for a drive in use, with the daemon killed amid the encoding anew, and a node that was just added.
# Usage: redundancy.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

folders=()
for i in 1 2 3 4 5; do folders+=(--node "dir:$scratch/node$i"); done
make_drive "${folders[@]}" --redundancy 2/4
mount_drive
mkdir "$point/tree" "$scratch/plain"
for i in 1 2 3 4 5 6; do
  head -c 3000000 /dev/urandom >"$scratch/plain/$i"
  cp "$scratch/plain/$i" "$point/tree/"
  sync_full
done
same() { drop_cache && diff -r "$scratch/plain" "$point/tree"; }
check_exit 6 "3/6 needs six nodes" "$atoll" redundancy set 3/6
output=$("$atoll" node add "dir:$scratch/node6" 2>&1)
expect "with the sixth it is suggested" '[[ $output == *"For 6 nodes, 3/6 is suggested"* ]]' "$output"
check "and set" "$atoll" redundancy set 3/6
output=$("$atoll" redundancy)
expect "what lies otherwise is told" '[[ $output == *"still lie as 2/4"* ]]' "$output"
# Amid it, if this machine is slow; else after it.
until_true 20 bash -c "[[ \"\$(\"$atoll\" status --json)\" == *'\"n\":6,\"segments\"'* ]]"
kill_drive
mount_drive
check "after a kill the drive is whole" same
settled() { [ "$("$atoll" redundancy --json | grep -o '"others":[^]]*]')" = '"others":[]' ]; }
check "all is encoded anew" until_true 60 settled
sync_full
for i in 1 2 3; do mv "$scratch/node$i" "$scratch/away$i"; done
check "any three nodes may go now" same
for i in 1 2 3; do mv "$scratch/away$i" "$scratch/node$i"; done
until_true 30 bash -c "[ \"\$(\"$atoll\" node list | grep -c '^ *ok')\" = 6 ]"
check "every shard is there and whole" "$atoll" check --read-data
unmount_drive
finish
