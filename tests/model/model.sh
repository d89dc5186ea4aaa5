#!/bin/bash
# The model test on a mounted drive: random operations beside a plain folder, across remounts, cache drops (with
# everything read back from nodes), SIGKILL after a sync, and the loss of three of six nodes. Usage: model.sh PATH_OF_ATOLL
# MODEL_OPERATIONS and MODEL_SEED (a number, or `random`) change its length and its seed; MODEL_REPLAY=FILE repeats a program that was kept.
. "$(dirname "$(readlink -f "$0")")/../mount/lib.sh"

operations=${MODEL_OPERATIONS:-$([ "$quick" = 1 ] && echo 6000 || echo 100000)}
seed=${MODEL_SEED:-1}
[ "$seed" != random ] || seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
say "seed $seed (repeat with MODEL_SEED=$seed MODEL_OPERATIONS=$operations)"
replay="MODEL_SEED=$seed MODEL_OPERATIONS=$operations"

# What `model_test --hook` calls: works on the drive of this script, whose daemon's number it keeps in a file.
hook=$scratch/hook
cat >"$hook" <<HOOK
#!/bin/bash
set -u
# The daemon is a child of this hook, not of the script: it must outlive it.
start() {
  setsid "$atoll" mount "$point" -f ${mount_options[*]} >>"$log" 2>&1 </dev/null &
  echo \$! >"$scratch/pid"
  for ((i = 0; i < 600; i++)); do [ "\$(stat -f -c %t "$point" 2>/dev/null)" = 65735546 ] && return 0; sleep 0.05; done
  echo "the drive does not mount again" >&2
  return 1
}
found() {
  local node
  for node in "$scratch"/away/*; do [ ! -d "\$node" ] || mv "\$node" "$nodes/" || return 1; done
}
# A node that has just come back is noticed by its next probe: sync may give up before.
drop() {
  local try
  for try in 1 2 3 4 5 6; do "$atoll" sync --full --timeout 120 >/dev/null && break; [ "\$try" != 6 ] || return 1; done
  "$atoll" cache drop >/dev/null
}
case \$1 in
  start) start ;;
  stop) "$atoll" umount "$point" ;;
  remount) "$atoll" umount "$point" >/dev/null && start ;;
  drop) found && drop ;;
  lose)  # three of six, others each time; what was saved must come from the rest
    found && drop && mkdir -p "$scratch/away" || exit 1
    for offset in 0 1 3; do
      node=\$(((\$2 + offset) % 6 + 1))
      mv "$nodes/\$node" "$scratch/away/\$node" || exit 1
    done ;;
  found) found ;;
  kill) kill -KILL "\$(cat "$scratch/pid")" && while [ -d "/proc/\$(cat "$scratch/pid")/fd" ] && kill -0 "\$(cat "$scratch/pid")" 2>/dev/null; do sleep 0.02; done; start ;;
esac
HOOK
chmod +x "$hook"

make_drive
"$hook" start || { fail "the drive mounts" "$(tail -n 20 "$log")"; finish; }
mkdir -p "$scratch/plain"
keep=${MODEL_KEEP:-/tmp/atoll-model-$seed.ops}
arguments=(--seed "$seed" --operations "$operations" --hook-every $((operations / 14)))
[ -z "${MODEL_REPLAY:-}" ] || arguments=(--replay "$MODEL_REPLAY" --check-every 1000000000)  # compared at its end alone, as while it was shrunk
if ! timeout 1100 "$programs/model_test" --dir "$point" --plain "$scratch/plain" "${arguments[@]}" --hook "$hook" --keep "$keep" \
    --repeat "${ATOLL_MUTANT:+ATOLL_MUTANT=$ATOLL_MUTANT }MODEL_REPLAY=FILE ATOLL_BUILD=$build $me $atoll"; then
  failed=$((failed + 1))
  say "    the whole of it: MODEL_SEED=$seed MODEL_OPERATIONS=$operations $me $atoll"
  say "    the daemon's last words:"
  tail -n 15 "$log" | sed 's/^/    | /'
fi
check "the drive unmounts afterwards" "$hook" stop
finish
