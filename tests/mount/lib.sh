# Sourced by the scripts of tests/mount and tests/model: a drive in a temporary folder, mounted and unmounted, with the
# bookkeeping of checks. Nothing outlives the script: its mounts are detached and its processes, known by number, ended.
#
#   . "$(dirname "$(readlink -f "$0")")/lib.sh"     sets scratch, home, point (the mount point), nodes (the nodes' folder)
#   make_drive [INIT ARGUMENTS]; mount_drive [-o ...]; ...; unmount_drive
#   check TITLE COMMAND...   prints `ok TITLE` or `FAIL TITLE` with what the command printed and how to repeat it
#   finish                   ends the script with 0 or 1
#
# Called with the path of the `atoll` program as $1; ATOLL_BUILD names the build folder, ATOLL_QUICK=1 asks for brevity.
set -u -o pipefail
export LC_ALL=C.UTF-8
unset CDPATH

me=$(readlink -f "$0")
here=$(dirname "$me")
root=${ATOLL_SOURCE:-$(cd "$here/../.." && pwd)}
build=${ATOLL_BUILD:-$root/build/dev}
atoll=$(readlink -f "${1:-$build/fs/atoll}" 2>/dev/null)
quick=${ATOLL_QUICK:-0}
programs=$build/tests/mount
if [ ! -x "$atoll" ]; then echo "FAIL no atoll program at ${1:-$build/fs/atoll}; build it or name it as the argument"; exit 1; fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/atoll-mount.XXXXXX") || exit 1
scratch=$(readlink -f "$scratch")
chmod 755 "$scratch"
point=$scratch/mnt
export ATOLL_HOME=$scratch/home
export XDG_CONFIG_HOME=$scratch/config XDG_RUNTIME_DIR=$scratch/run
nodes=$ATOLL_HOME/default.nodes
mkdir -p "$point" "$ATOLL_HOME" "$XDG_CONFIG_HOME" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"

failed=0
daemon=       # process number of the mounted drive's daemon
mine=()       # other processes that this script started and has not waited for
log=$scratch/daemon.log
passphrase_options=()

# --- checks ----------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
ok() { say "ok $1"; }
fail() {
  say "FAIL $1"
  [ -z "${2:-}" ] || printf '%s\n' "$2" | tail -n 30 | sed 's/^/    | /'
  say "    repeat: ATOLL_BUILD=$build $me $atoll${replay:+   # $replay}"
  failed=$((failed + 1))
}
check() {
  local title=$1 out status=0
  shift
  out=$("$@" 2>&1) || status=$?
  if [ "$status" = 0 ]; then ok "$title"; else fail "$title" "$* -> exit $status
$out"; fi
  return "$status"
}
# check_exit CODES TITLE COMMAND...: the command must end with this code, or one of those ("1 4"). What it printed is left in $output.
check_exit() {
  local want=$1 title=$2 status=0
  shift 2
  output=$("$@" 2>&1 </dev/null) || status=$?
  if [[ " $want " == *" $status "* ]]; then ok "$title"; else fail "$title" "$* -> exit $status, expected $want
$output"; return 1; fi
}
expect() { if eval "$2"; then ok "$1"; else fail "$1" "not true: $2${3:+
$3}"; return 1; fi; }
fallback() { say "fallback $1"; }
finish() { [ "$failed" = 0 ]; exit; }

# Who writes into a pipe that its reader has left is ended for it, and under pipefail that fails the whole: these read to the end.
finds() { grep "$@" >/dev/null; }  # as grep -q does
first_line() { sed -n 1p; }        # as head -n 1 does

# --- processes and waiting -------------------------------------------------------------------------------------------

now_ms() { local t=${EPOCHREALTIME/./}; echo $((t / 1000)); }
# until_true SECONDS COMMAND...: repeats until it succeeds.
until_true() {
  local end=$(($(now_ms) + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(now_ms)" -lt "$end" ] || return 1
    sleep 0.05
  done
}
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:\s*Z' "/proc/$1/status" 2>/dev/null; }
mounted() { grep -q " ${1:-$point} [^-]*- fuse" /proc/self/mountinfo; }

# The daemon's number: the process that holds the drive's lock file.
holder() {
  local entry
  for entry in /proc/[0-9]*/fd; do
    if readlink "$entry"/* 2>/dev/null | finds -xF "$ATOLL_HOME/${1:-default}/lock"; then
      entry=${entry%/fd}
      echo "${entry#/proc/}"
      return
    fi
  done
  return 1
}

# --- a drive ---------------------------------------------------------------------------------------------------------

make_drive() { "$atoll" init "$@" >"$scratch/init.log" 2>&1 </dev/null || { fail "a drive can be made" "$(cat "$scratch/init.log")"; finish; }; }

# Mounts in the background with -f and waits until it answers; `daemon` is set. Fails with the daemon's last words.
try_mount() {
  "$atoll" mount "$point" -f "${mount_options[@]}" "$@" >>"$log" 2>&1 </dev/null &
  daemon=$!
  local end=$(($(now_ms) + 30000))
  until [ "$(stat -f -c %t "$point" 2>/dev/null)" = 65735546 ]; do  # FUSE answers; a dead mount is in the table as well
    if gone "$daemon"; then wait "$daemon"; mount_status=$?; daemon=; return 1; fi
    [ "$(now_ms)" -lt "$end" ] || return 1
    sleep 0.03
  done
}
mount_options=()
[ "$(id -u)" != 0 ] || mount_options=(-o allow_other)
mount_drive() { try_mount "$@" || { fail "the drive mounts" "$(tail -n 30 "$log")"; finish; }; }

# Unmounts through `atoll umount` and waits for the daemon's end; its exit code is left in daemon_status.
unmount_drive() {
  local status=0
  "$atoll" umount "$point" "$@" >"$scratch/umount.log" 2>&1 || status=$?
  if [ "$status" = 0 ] && [ -n "$daemon" ]; then
    until_true 20 gone "$daemon" || { fail "the daemon ends after umount" "$(tail -n 20 "$log")"; return 1; }
    wait "$daemon" 2>/dev/null
    daemon_status=$?
    daemon=
  fi
  [ "$status" = 0 ] || fail "umount works" "$(cat "$scratch/umount.log")"
  return "$status"
}
kill_drive() {  # SIGKILL, and the dead mount point detached as the next mount would do
  kill -KILL "$daemon" 2>/dev/null
  wait "$daemon" 2>/dev/null
  daemon=
}
sync_full() {  # waits for nodes that have just come back to be noticed
  until_true 60 "$atoll" sync --full --timeout "${1:-120}" || { fail "everything reaches all nodes" "$("$atoll" sync --full --timeout 10 2>&1; "$atoll" status 2>&1)"; return 1; }
}
drop_cache() { "$atoll" cache drop >"$scratch/drop.log" 2>&1 || { fail "the cache can be dropped" "$(cat "$scratch/drop.log")"; return 1; }; }
# status_of KEY: a number or word from `status --json`, wherever it stands (the keys are unique).
status_of() { "$atoll" status --json 2>/dev/null | tr -d ' \n' | grep -o "\"$1\":\"\?[^,\"}]*" | first_line | sed 's/^[^:]*:"\{0,1\}//'; }
node_bytes() { du -s --block-size=1 --apparent-size "$nodes" | cut -f 1; }

# --- leaving ---------------------------------------------------------------------------------------------------------

leave() {
  local status=$? pid
  trap - EXIT INT TERM
  for pid in "${mine[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  if mounted || [ -n "$daemon" ]; then
    [ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null
    pid=$(holder) && kill -KILL "$pid" 2>/dev/null
  fi
  local at
  while IFS= read -r at; do
    umount -l "$at" 2>/dev/null || fusermount3 -uz "$at" 2>/dev/null
  done < <(awk -v f="$scratch/" '{gsub(/\\040/, " ", $5); if (index($5, f) == 1) print $5}' /proc/self/mountinfo | sort -r)
  cd / || true
  if [ -n "${ATOLL_KEEP:-}" ]; then say "kept: $scratch"; else
    chmod -R u+rwX "$scratch" 2>/dev/null
    rm -rf --one-file-system "$scratch"
  fi
  exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
