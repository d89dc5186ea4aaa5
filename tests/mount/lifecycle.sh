#!/bin/bash
# Beginning and ending: the ways to unmount, a busy mount, a daemon that died, a second mount, signals, and bad input,
# each with its exit code and nothing changed. Usage: lifecycle.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

put() { "$programs/mount_files" write "$point/$1" "${2:-300000}" 7; }
# Without fsync and left to the flush at the end.
put_lazily() { head -c 300000 /dev/zero | tr '\0' "$2" >"$point/$1"; }
has() { [ "$(stat -c %s "$point/$1" 2>&1)" = 300000 ] && [ "$(tr -d "$2" <"$point/$1" | wc -c)" = 0 ]; }
ended() { until_true "$1" gone "$daemon" && { wait "$daemon"; daemon_status=$?; daemon=; }; }

check_exit 3 "mounting what does not exist: exit 3" "$atoll" mount nosuch "$point"
check_exit 3 "the status of what does not exist: exit 3" "$atoll" status nosuch
check_exit 2 "an unknown command: exit 2" "$atoll" frobnicate
check_exit 2 "an unknown option: exit 2" "$atoll" status --frobnicate
check_exit 0 "--help: exit 0" "$atoll" --help
check_exit 0 "version --json: exit 0" "$atoll" version --json
make_drive
check_exit "1 4" "making a drive twice is refused and changes nothing" "$atoll" init
expect "the state folder is for its owner only" '[ "$(stat -c %a "$ATOLL_HOME/default")" = 700 ]'
expect "status works on a drive that is not mounted" '[ "$("$atoll" status --json 2>/dev/null | tr -d " \n" | grep -c "\"schema\"")" = 1 ]'
check_exit 3 "sync of what is not mounted: exit 3" "$atoll" sync
check_exit 3 "umount of what is not mounted: exit 3" "$atoll" umount "$point"

# Without -f: the command returns when the drive is there, and the daemon goes on.
check "atoll mount returns with the drive mounted" "$atoll" mount "$point" "${mount_options[@]}"
expect "and it is mounted" 'mounted && stat -f "$point" >/dev/null'
put_lazily by-umount a
check_exit 0 "atoll umount: exit 0" "$atoll" umount "$point"
expect "it returns after the process is gone and the lock is free" '! holder >/dev/null && ! mounted'

# Each way to end flushes what was written a moment ago.
n=0
for way in "atoll umount" umount "fusermount3 -u" TERM INT; do
  n=$((n + 1))
  mount_drive
  has "$(case $n in 1) echo by-umount ;; *) echo "file-$((n - 1))" ;; esac)" a || fail "what was written before the last unmount ($n) is there"
  put_lazily "file-$n" a
  begin=$(now_ms)
  case $way in
    "atoll umount") "$atoll" umount "$point" >/dev/null ;;
    umount) umount "$point" ;;
    "fusermount3 -u") fusermount3 -u "$point" ;;
    TERM|INT) kill -"$way" "$daemon" ;;
  esac || fail "$way works"
  if ended 12; then ok "$way ends the daemon ($(($(now_ms) - begin)) ms)"; else fail "$way ends the daemon within 10 s" "$(tail -n 5 "$log")"; kill_drive; fi
  expect "after $way the mount is gone" '! mounted'
  expect "after $way the daemon's exit status is 0" '[ "${daemon_status:-1}" = 0 ]'
done
mount_drive
expect "what was written before the last signal is there" 'has file-5 a'

# Nodes that are gone do not hold up the end.
put durable
for node in 1 2 3 4; do mv "$nodes/$node" "$scratch/away-$node"; done
put staged
begin=$(now_ms)
out=$("$atoll" umount "$point" 2>&1) || fail "umount works without nodes" "$out"
took=$(($(now_ms) - begin))
expect "umount does not wait for nodes ($took ms)" "[ $took -lt 10000 ]"
expect "and says how much exists only on this computer" '[[ $out == *[0-9]* ]]' "$out"
wait "$daemon"; daemon=
mount_drive
check "what was staged is there after the remount" "$programs/mount_files" check "$point/staged" 300000 7
for node in 1 2 3 4; do mv "$scratch/away-$node" "$nodes/$node"; done
check "uploads go on where they were" until_true 40 "$atoll" sync --full --timeout 30

# Busy.
( cd "$point" && exec sleep 300 ) &
mine=($!)
until_true 5 test "$(readlink "/proc/${mine[0]}/cwd")" = "$point"
sleep 0.1
check_exit 4 "a busy mount: exit 4" "$atoll" umount "$point"
expect "naming who holds it" '[[ $output == *${mine[0]}* || $output == *sleep* ]]' "$output"
expect "and the drive works on" 'has file-5 a && put still-here'
check_exit 4 "a second mount of the same drive: exit 4" timeout 30 "$atoll" mount "$scratch/run"
mkdir "$scratch/mnt2"
check_exit 4 "a second mount elsewhere: exit 4" timeout 30 "$atoll" mount "$scratch/mnt2"
expect "which leaves the first alone" 'has file-5 a'
check_exit 0 "umount --lazy detaches a busy mount" "$atoll" umount --lazy "$point"
expect "at once" '! mounted'
kill -KILL "${mine[0]}"; wait "${mine[0]}" 2>/dev/null; mine=()
ended 15 || { fail "the daemon ends when the last user goes" "$(tail -n 5 "$log")"; kill_drive; }

# A dead daemon leaves a dead mount point, which the next mount detaches.
mount_drive
put acknowledged
kill_drive
expect "after SIGKILL the mount point is dead" '! stat -f "$point" >/dev/null 2>&1'
mount_drive
check "the next mount detaches it and has what was flushed" "$programs/mount_files" check "$point/acknowledged" 300000 7
expect "only one mount is there" '[ "$(grep -c " $point " /proc/self/mountinfo)" = 1 ]'
# A next mount while the former is ending waits for the lock.
"$atoll" umount "$point" >/dev/null 2>&1 &
other=$!
wait "$other"
wait "$daemon"; daemon=
mount_drive
unmount_drive

# Bad mount points.
echo x >"$scratch/file"
check_exit "1 2" "a mount point that is a file" "$atoll" mount "$scratch/file"
check_exit "1 2" "a mount point that does not exist" "$atoll" mount "$scratch/nowhere"
mkdir "$scratch/full"; echo x >"$scratch/full/file"
check_exit "1 2" "a mount point that is not empty" "$atoll" mount "$scratch/full"
check_exit 2 "an unknown -o key" "$atoll" mount "$point" -o frobnicate=1
check_exit 2 "a value out of range" "$atoll" mount "$point" -o staging_max=1
expect "none of these left a mount" '! grep -q " $scratch/" /proc/self/mountinfo'

# A damaged drive.
state=$ATOLL_HOME/default
copy() { rm -rf "$scratch/copy"; cp -a "$state" "$scratch/copy"; }
put_back() { rm -rf "$state"; cp -a "$scratch/copy" "$state"; }
copy
index=$(find "$state" -maxdepth 2 -name 'index*.db' | first_line)
for harm in truncated garbage missing; do
  find "$state" -maxdepth 2 -name 'index*.db-*' -delete
  case $harm in
    truncated) truncate -s 1000 "$index" ;;
    garbage) head -c 65536 /dev/urandom >"$index" ;;
    missing) rm -f "$index" ;;
  esac
  if try_mount; then
    check "with its index $harm the drive is rebuilt whole" "$programs/mount_files" check "$point/acknowledged" 300000 7
    unmount_drive
  else
    fail "with its index $harm the drive mounts" "$(tail -n 5 "$log")"
  fi
  put_back
done
if [ -f "$state/local.key" ]; then
  head -c 32 /dev/urandom >"$state/local.key"
  check_exit 7 "with the wrong key: exit 7" timeout 30 "$atoll" mount "$point"
  put_back
  rm "$state/local.key"
  check_exit 7 "without its key: exit 7" timeout 30 "$atoll" mount "$point"
  put_back
else
  fallback "no local.key in the state folder: the wrong key is not tried"
fi
sed -i 's/"format": *[0-9]*/"format": 999/' "$state/volume"
check_exit 1 "a state folder of a newer version is refused by name" timeout 30 "$atoll" mount "$point"
expect "saying so" '[[ $output == *newer* || $output == *format* || $output == *version* ]]' "$output"
put_back
# A cut in the middle of the journal: an error or the whole drive, never a silent loss of what was flushed.
journal=$(find "$state/journal" -type f -size +8k | sort | first_line)
if [ -n "$journal" ]; then
  dd if=/dev/urandom of="$journal" bs=512 count=1 seek=8 conv=notrunc status=none
  find "$state" -maxdepth 2 -name 'index*.db*' -delete
  if try_mount; then
    check "with the journal damaged in the middle nothing that was flushed is silently gone" "$programs/mount_files" check "$point/acknowledged" 300000 7
    unmount_drive
  else
    expect "a journal damaged in the middle is refused with an error" '[ "${mount_status:-1}" != 0 ]'
  fi
  put_back
fi
mount_drive
check "put back, the drive is whole" "$programs/mount_files" check "$point/acknowledged" 300000 7
unmount_drive

# A passphrase.
echo "correct horse" >"$scratch/right"; echo "wrong" >"$scratch/wrong"
check_exit 0 "a drive with a passphrase is made" "$atoll" init locked --passphrase-file "$scratch/right"
check_exit 7 "without a terminal and a passphrase: exit 7, no waiting" timeout 30 "$atoll" mount locked "$point"
check_exit 7 "with a wrong passphrase: exit 7" timeout 60 "$atoll" mount locked "$point" --passphrase-file "$scratch/wrong"
check_exit 0 "with the right one it mounts" timeout 60 "$atoll" mount locked "$point" --passphrase-file "$scratch/right"
check_exit 0 "and unmounts" "$atoll" umount "$point"
# The kit is written once, for its owner.
check_exit 0 "a recovery kit is written" "$atoll" init withkit --kit "$scratch/kit"
expect "for its owner only" '[ "$(stat -c %a "$scratch/kit")" = 600 ]'
cp "$scratch/kit" "$scratch/kit.before"
"$atoll" init another --kit "$scratch/kit" >/dev/null 2>&1 </dev/null && fail "an existing kit is not overwritten"
check "and stays as it was" cmp "$scratch/kit" "$scratch/kit.before"
finish
