#!/bin/bash
# A computer told most nodes of more than the one that takes over can see, and is lost: the fork is seen, listed and brought
# into the drive. Usage: forked.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

kit=$scratch/kit.txt
own=()
for i in 1 2 3 4 5 6; do own+=(--node "dir:$scratch/n$i"); done
hide() { for i in "$@"; do mv "$scratch/n$i" "$scratch/n$i.away"; done; }
unhide() { for i in "$@"; do mv "$scratch/n$i.away" "$scratch/n$i"; done; }
objects() { find "$scratch/n$1/objects" -type f | wc -l; }
has_fork() { "$atoll" status | finds "Fork:"; }

make_drive --kit "$kit" "${own[@]}" --redundancy 3/6
mount_drive
echo "base" >"$point/base"
check "what was saved is full" "$atoll" sync --full --timeout 60
check "all nodes have it" until_true 60 eval '[ "$(objects 1)" = "$(objects 6)" ]'
unmount_drive
hide 1
mount_drive
head -c 200000 /dev/urandom >"$point/more"
cp "$point/more" "$scratch/more"
check "the old computer tells five nodes of more" until_true 60 "$atoll" sync --timeout 60
unmount_drive
export ATOLL_HOME=$scratch/other XDG_CONFIG_HOME=$scratch/config2

unhide 1
hide 2 3 4 5 6
check "it is lost, and another one recovers from the sixth node" "$atoll" recover --kit "$kit" --json
unhide 2 3 4 5 6
mount_drive
check "the fork is seen" until_true 120 has_fork
expect "the drive is as the sixth node knew it" '[ "$(cat "$point/base")" = base ] && [ ! -e "$point/more" ]'
echo "by the owner" >"$point/theirs"
check "and goes on" until_true 60 "$atoll" sync --full --timeout 60
expect "fork list tells of it while the drive is mounted" '[ "$("$atoll" fork list | grep -c "^1-.*on 5 nodes")" = 1 ]' "$("$atoll" fork list 2>&1)"
: >"$scratch/said"
expect "and bring says that it is in use" '! "$atoll" fork bring >"$scratch/said" 2>&1 && grep -q "in use" "$scratch/said"' "$(cat "$scratch/said")"
unmount_drive
check_exit 2 "a fork that is none: exit 2" "$atoll" fork bring --head 7-7
check "fork bring brings it into the drive" "$atoll" fork bring
mount_drive
expect "what the lost computer saved is in a folder of its own" 'cmp "$point/Recovered from epoch 1/more" "$scratch/more"' "$(find "$point")"
expect "and nothing else is in it" '[ "$(find "$point/Recovered from epoch 1" -type f | wc -l)" = 1 ]'
expect "what the owner saved is there" '[ "$(cat "$point/theirs")" = "by the owner" ] && [ "$(cat "$point/base")" = base ]'
check "all of it reaches the nodes" until_true 60 "$atoll" sync --full --timeout 60
expect "the fork is resolved" '! has_fork' "$("$atoll" status)"
check "and space is given back" "$atoll" gc --wait
check "nothing tells of it any more" until_true 120 eval '"$atoll" fork list | finds "no state of this drive"'
unmount_drive
finish
