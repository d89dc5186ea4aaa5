#!/bin/bash
# Many short programs on a mount that keeps only one or two threads ready: threads come and go all the time, and somebody must
# always be there for the next request. Usage: busy.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

seconds=$([ "$quick" = 1 ] && echo 3 || echo 6)
clients=6

# client NUMBER: makes, reads and replaces its own files until the time is over, and counts the rounds.
client() {
  local i=0 end=$((SECONDS + seconds)) file
  while [ "$SECONDS" -lt "$end" ]; do
    file=$point/$1/$((i % 50))
    echo "$1 $i" >"$file" && [ "$(<"$file")" = "$1 $i" ] && [ -s "$file" ] || { echo "round $i" >"$scratch/bad.$1"; return; }
    i=$((i + 1))
    echo "$i" >"$scratch/rounds.$1"
  done
}
fuse_threads() { cat "/proc/$daemon/task"/*/comm | grep -c '^atoll-fuse$'; }

make_drive
for kept in 1 2; do
  mount_drive -o "workers=$kept"
  began=()
  for ((c = 1; c <= clients; c++)); do mkdir -p "$point/$c"; done
  for ((c = 1; c <= clients; c++)); do
    client "$c" &
    began+=("$!")
    mine+=("$!")
  done
  over() { local pid; for pid in "${began[@]}"; do gone "$pid" || return 1; done; }
  check "workers=$kept: nobody waits for an answer that does not come" until_true $((seconds + 20)) over || {
    say "    threads that serve: $(fuse_threads)"
    kill -KILL "$daemon"  # what waits for it ends with it
    finish
  }
  wait "${began[@]}"
  mine=()
  expect "workers=$kept: what was saved was read" '! compgen -G "$scratch/bad.*" >/dev/null' "$(cat "$scratch"/bad.* 2>/dev/null)"
  rounds=$(cat "$scratch"/rounds.* | awk '{n += $1} END {print n + 0}')
  expect "workers=$kept: there was something to serve" '[ "$rounds" -gt $((clients * 50)) ]' "$rounds rounds"
  check "workers=$kept: in the end so many threads stay" until_true 10 eval '[ "$(fuse_threads)" = "$kept" ]'
  rm -f "$scratch"/rounds.*
  unmount_drive
done
finish
