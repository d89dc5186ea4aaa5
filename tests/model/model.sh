#!/bin/bash
# The model test on a mounted drive: random operations beside a plain folder, across remounts, cache drops (with
# everything read back from nodes) and SIGKILL after a sync. Usage: model.sh PATH_OF_ATOLL
# MODEL_OPERATIONS and MODEL_SEED change its length and its seed.
. "$(dirname "$(readlink -f "$0")")/../mount/lib.sh"

operations=${MODEL_OPERATIONS:-$([ "$quick" = 1 ] && echo 6000 || echo 30000)}
seed=${MODEL_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
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
case \$1 in
  start) start ;;
  stop) "$atoll" umount "$point" ;;
  remount) "$atoll" umount "$point" >/dev/null && start ;;
  drop) "$atoll" sync --full --timeout 120 >/dev/null && "$atoll" cache drop >/dev/null ;;
  kill) kill -KILL "\$(cat "$scratch/pid")" && while [ -d "/proc/\$(cat "$scratch/pid")/fd" ] && kill -0 "\$(cat "$scratch/pid")" 2>/dev/null; do sleep 0.02; done; start ;;
esac
HOOK
chmod +x "$hook"

make_drive
"$hook" start || { fail "the drive mounts" "$(tail -n 20 "$log")"; finish; }
mkdir -p "$scratch/plain"
keep=${MODEL_KEEP:-/tmp/atoll-model-$seed.ops}
if ! timeout 900 "$programs/model_test" --dir "$point" --plain "$scratch/plain" --seed "$seed" --operations "$operations" \
    --hook "$hook" --hook-every $((operations / 10)) --keep "$keep"; then
  failed=$((failed + 1))
  say "    on a drive: MODEL_SEED=$seed MODEL_OPERATIONS=$operations $me $atoll"
  say "    the daemon's last words:"
  tail -n 15 "$log" | sed 's/^/    | /'
fi
check "the drive unmounts afterwards" "$hook" stop
finish
