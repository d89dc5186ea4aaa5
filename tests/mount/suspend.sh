#!/bin/bash
# Suspend: what the kernel does to processes when a computer sleeps, done to the daemon and to a program that has files
# open on the drive, with a dirty mapping, a lock and a stream of writes. Usage: suspend.sh PATH_OF_ATOLL
# The kernel's freezer (a cgroup) is what suspend itself uses; where it is not there, SIGSTOP stands in for it.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# The daemon and the programs are two groups. A program that waits in the kernel for an answer of a daemon that already
# sleeps cannot be frozen (Linux: request_wait_answer), so that a suspend which takes the daemon first may leave programs
# awake in that wait, or is given up by the kernel; the other order freezes both. The drive has to survive either.
root=/sys/fs/cgroup/freezer
if [ -w "$root" ] && mkdir "$root/atoll-test-$$-daemon" "$root/atoll-test-$$-programs" 2>/dev/null; then
  group() { echo "$root/atoll-test-$$-$1"; }
  enter() { echo "$2" >"$(group "$1")/cgroup.procs"; }
  freeze() { echo FROZEN >"$(group "$1")/freezer.state"; }
  frozen() { [ "$(cat "$(group "$1")/freezer.state")" = FROZEN ]; }
  thaw() { echo THAWED >"$(group "$1")/freezer.state"; }
  forget_groups() {
    local g p
    for g in daemon programs; do
      thaw "$g"
      while read -r p; do echo "$p" >"$root/cgroup.procs"; done <"$(group "$g")/cgroup.procs"
      rmdir "$(group "$g")"
    done
  }
else
  fallback "no freezer here: processes are stopped by SIGSTOP instead"
  declare -A member
  enter() { member[$1]=$2; }
  freeze() { gone "${member[$1]}" || kill -STOP "${member[$1]}"; }
  frozen() { gone "${member[$1]}" || grep -q '^State:\s*T' "/proc/${member[$1]}/status"; }
  thaw() { kill -CONT "${member[$1]}" 2>/dev/null; }
  forget_groups() { :; }
fi
sleep_programs_first() { freeze programs && until_true 20 frozen programs && freeze daemon && until_true 20 frozen daemon; }
sleep_daemon_first() { freeze daemon && until_true 20 frozen daemon && freeze programs; }
wake_up() { thaw daemon && thaw programs; }

make_drive
mount_drive
enter daemon "$daemon"

# A program as desktops have them: a file open for writing, numbered lines in it, each flushed now and then.
cat >"$scratch/program.sh" <<'END'
exec 9>>"$1/open file"
flock 9
for ((i = 1; i <= $2; i++)); do
  echo "line $i" >&9 || exit 1
  [ $((i % 50)) != 0 ] || sync "$1/open file" || exit 1
  if [ "$i" = 400 ]; then  # waits with the file open and the lock held
    : >"$3.waiting"
    until [ -e "$3.go" ]; do read -rt 0.05 <> <(:) || :; done
  fi
done
END
lines=20000
bash "$scratch/program.sh" "$point" "$lines" "$scratch/program" 2>"$scratch/program.err" &
program=$!
mine+=("$program")
enter programs "$program"

until_true 20 test -e "$scratch/program.waiting" || fail "the program gets going" "$(cat "$scratch/program.err")"
dd if=/dev/urandom of="$scratch/random" bs=1M count=8 status=none
cp "$scratch/random" "$point/random" && "$atoll" cache drop >/dev/null
check "the computer goes to sleep with files open on the drive" sleep_programs_first
wake_up
check "what was saved before is there after waking up" cmp "$scratch/random" "$point/random"
: >"$scratch/program.go"

# Asleep in the middle of writes: ten times, wherever they happen to be, in both orders.
for ((round = 1; round <= 10 && failed == 0; round++)); do
  [ "$round" != 2 ] || expect "the program is in the middle of its work" '! gone "$program"'
  if [ $((round % 2)) = 0 ]; then first=daemon; else first=programs; fi
  check "round $round: the computer goes to sleep while a program writes, the $first first" "sleep_${first}_first"
  wake_up
done
wake_up
wait "$program"
check "the program with the open file ends well" test $? = 0
seq -f 'line %.0f' "$lines" >"$scratch/expected"
check "its file holds every line once, in order" cmp "$scratch/expected" "$point/open file"
check "others get the lock now" flock -n "$point/open file" true
check "everything reaches the nodes afterwards" "$atoll" sync --full --timeout 60
forget_groups
unmount_drive
finish
