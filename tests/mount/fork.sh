#!/bin/bash
# An old computer that was replaced: it finds out, takes no changes, and keeps what it had. Usage: fork.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

hide() { mv "$nodes" "$nodes.away"; }
unhide() { mv "$nodes.away" "$nodes"; }
state_is() { "$atoll" status | first_line | finds "[ ,]$1\$"; }

kit=$scratch/kit.txt
make_drive --kit "$kit"
mount_drive
mkdir "$point/papers"
echo "told" >"$point/papers/told"
check "what was saved is protected" "$atoll" sync --full --timeout 60
unmount_drive

# The old computer's network is gone, and its owner goes on working.
hide
mount_drive
head -c 300000 /dev/urandom >"$point/papers/untold"
echo "changed" >"$point/papers/told"
check "and durable there" "$atoll" sync --local
cp "$point/papers/untold" "$scratch/untold"
unmount_drive
unhide

# Meanwhile another computer takes over.
old=$ATOLL_HOME new=$scratch/other
ATOLL_HOME=$new XDG_CONFIG_HOME=$scratch/config2
check "the kit brings the drive to another computer" "$atoll" recover --kit "$kit" "$point"
daemon=$(holder)
expect "in the state that the nodes knew" '[ "$(cat "$point/papers/told")" = told ] && [ ! -e "$point/papers/untold" ]'
echo "by the new owner" >"$point/papers/new"
check "and it goes on there" "$atoll" sync --full --timeout 60
check "umount" "$atoll" umount "$point"
daemon=

ATOLL_HOME=$old XDG_CONFIG_HOME=$scratch/config
mount_drive
check "the old computer finds out that it was replaced" until_true 60 state_is fenced
expect "reads go on" '[ "$(cat "$point/papers/told")" = changed ]'
expect "creating answers EROFS" '! touch "$point/more" 2>"$scratch/error" && grep -q "Read-only" "$scratch/error"'
expect "so do removing and renaming" '! rm "$point/papers/told" 2>"$scratch/error" && grep -q "Read-only" "$scratch/error" && ! mv "$point/papers" "$point/other" 2>/dev/null'
# write() itself ends in the kernel's cache; whoever asks for durability is told.
expect "bytes written to a file that is there do not pass for saved" '! dd if=/dev/zero of="$point/papers/told" bs=10 count=1 conv=notrunc,fsync 2>/dev/null'
check "of what is only there, too" cmp "$point/papers/untold" "$scratch/untold"
expect "status says how much was not taken over" '[ "$(status_of bytes)" -ge 300000 ] && [ "$("$atoll" status --json | grep -o "\"files\":2" | first_line)" ]' "$("$atoll" status --json)"
expect "and says so in words" '"$atoll" status | finds "Kept here: .*2 files"' "$("$atoll" status)"
check_exit 4 "sync says that another computer owns the drive" "$atoll" sync --timeout 20
unmount_drive
expect "status knows it while it is not mounted" 'state_is fenced'
hide
mount_drive
expect "and without nodes" 'state_is fenced'
expect "with everything as it was" '[ "$(cat "$point/papers/told")" = changed ]'
check "what was kept is still there" cmp "$point/papers/untold" "$scratch/untold"
unmount_drive
check_exit 6 "without nodes nothing can be taken over" "$atoll" mount --take-over "$point"
expect "and the drive here stays as it was" 'state_is fenced'
unhide

# Its owner wants the drive back here.
check "the old computer takes the drive over" "$atoll" mount --take-over "$point" "${mount_options[@]}"
daemon=$(holder)
expect "the drive is its own again" 'state_is ready && [ "$(status_of epoch)" = 3 ]' "$("$atoll" status)"
expect "it holds what the other one saved" '[ "$(cat "$point/papers/new")" = "by the new owner" ] && [ "$(cat "$point/papers/told")" = told ]'
saved="$point/Recovered from $(hostname)"
check "and what was saved only here, in a folder of its own" cmp "$saved/papers/untold" "$scratch/untold"
expect "nothing was overwritten" '[ "$(cat "$saved/papers/told")" = changed ]'
expect "nothing else is there" '[ "$(find "$saved" -type f | wc -l)" = 2 ]' "$(find "$saved")"
expect "no old folder is left behind" '[ "$(ls -A "$ATOLL_HOME" | grep -c "^[.]")" = 0 ]' "$(ls -A "$ATOLL_HOME")"
check "all of it reaches the nodes" "$atoll" sync --full --timeout 60
check "umount" "$atoll" umount "$point"
daemon=

ATOLL_HOME=$new XDG_CONFIG_HOME=$scratch/config2
mount_drive
check "the other computer finds out in its turn" until_true 60 state_is fenced
expect "and has nothing that is not there" '"$atoll" status | finds "Kept here: .*nothing"' "$("$atoll" status)"
unmount_drive
finish
