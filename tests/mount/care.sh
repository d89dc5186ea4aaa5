#!/bin/bash
# A drive that its owner takes nodes from: status, drain and remove through the control socket of a mounted drive, with the
# daemon killed amid it. Usage: care.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

folders=()
for i in 1 2 3 4 5 6 7 8; do folders+=(--node "dir:$scratch/node$i"); done
make_drive "${folders[@]}" --redundancy 3/6
check_exit 3 "a drive that is not mounted loses no node" "$atoll" node remove "dir:$scratch/node1"
expect "and it is said that it is not mounted" '[[ $output == *"is not mounted"* ]]' "$output"

mount_drive
mkdir "$point/tree" "$scratch/plain"
for i in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/urandom >"$scratch/plain/$i"; done
cp "$scratch/plain"/* "$point/tree/"
sync_full
same() { drop_cache && diff -r "$scratch/plain" "$point/tree"; }

"$atoll" status >"$scratch/status" 2>&1
check "status tells the margin of the worst segment" grep -q "has least: 3 shards more than it needs" "$scratch/status"
check "and the risk of a year, and for how long nobody is needed" grep -Eq "Risk: .* % a year that anything is lost; safe while away: " "$scratch/status"
expect "and so does status --json" '[ "$(status_of worst_margin)" = 3 ] && [ -n "$(status_of yearly_loss)" ]'

check "a node is to be emptied" "$atoll" node drain "dir:$scratch/node1"
kill_drive
mount_drive
check "after a kill the drive is whole" same
check "and the node is emptied, as was asked" "$atoll" node drain default "dir:$scratch/node1" --wait
"$atoll" status >"$scratch/status" 2>&1
check "which status says" grep -q "is empty: it may go" "$scratch/status"
check "it leaves the drive" "$atoll" node remove "dir:$scratch/node1"
expect "and is not listed any more" '! "$atoll" node list | finds "$scratch/node1\$\|$scratch/node1 "'
rm -r "$scratch/node1"
check "nothing rests on it" same

# Killed while a removal runs: whatever it had come to, it can be asked for again.
"$atoll" node remove "dir:$scratch/node2" >/dev/null 2>&1 </dev/null &
remover=$!
mine+=("$remover")
until_true 60 eval '"$atoll" status --json | finds "\"leaving\":true"' || true
kill_drive
wait "$remover" 2>/dev/null
mount_drive
check "after a kill amid a removal the drive is whole" same
if "$atoll" node list | finds "$scratch/node2"; then check "and the removal can be repeated" "$atoll" node remove "dir:$scratch/node2"; fi
expect "the node is gone" '! "$atoll" node list | finds "$scratch/node2"'
rm -r "$scratch/node2"
check "the drive is whole without it" same
check_exit 6 "a node that the promise of 3/6 needs cannot go" "$atoll" node remove "dir:$scratch/node3"
expect "and the promise is named" '[[ $output == *"6 shards on nodes of their own, and 5 nodes would be left"* ]]' "$output"
check_exit 1 "a node that is none of the drive's cannot go either" "$atoll" node remove "dir:$scratch/node9"
sync_full
unmount_drive
mount_drive
check "all is there after another mount" same
unmount_drive
finish
