# Sourced by tests/bench/run: how each system is made, mounted, unmounted and brought to rest. NAME_settle waits until
# nothing goes on in the background. Everything of a system lies in $scratch/NAME, its mount point is $scratch/NAME/mnt.

all_systems=(local bindfs gocryptfs securefs rclone glusterfs atoll)

# has SYSTEM: whether what it needs is installed
has() {
  case $1 in
    local|atoll) return 0 ;;
    glusterfs) command -v glusterd >/dev/null && command -v gluster >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

local_make() { mkdir -p "$scratch/local/mnt"; }
local_mount() { :; }
local_umount() { :; }
local_settle() { :; }

# A bare pass-through: what FUSE alone costs, with the high-level library.
bindfs_make() { mkdir -p "$scratch"/bindfs/{below,mnt}; }
bindfs_mount() { bindfs "$scratch/bindfs/below" "$scratch/bindfs/mnt"; }
bindfs_umount() { detach bindfs; }
bindfs_settle() { :; }

gocryptfs_make() {
  mkdir -p "$scratch"/gocryptfs/{cipher,mnt} && echo bench >"$scratch/gocryptfs/password" &&
    gocryptfs -q -init -scryptn 10 -passfile "$scratch/gocryptfs/password" "$scratch/gocryptfs/cipher" 2>&1
}
gocryptfs_mount() {
  gocryptfs -q -passfile "$scratch/gocryptfs/password" "$scratch/gocryptfs/cipher" "$scratch/gocryptfs/mnt" 2>&1 |
    grep -v syslog
  mountpoint -q "$scratch/gocryptfs/mnt"
}
gocryptfs_umount() { detach gocryptfs; }
gocryptfs_settle() { :; }

securefs_make() {
  mkdir -p "$scratch"/securefs/{cipher,mnt} && securefs create --pass bench -r 1 "$scratch/securefs/cipher"
}
securefs_mount() {
  securefs mount -b --pass bench "$scratch/securefs/cipher" "$scratch/securefs/mnt" || return 1
  appears securefs
}
securefs_umount() { detach securefs; }
securefs_settle() { :; }

# Its write-back cache is what lets it be a file system at all; it counts a file as written when that cache has it.
rclone_make() {
  mkdir -p "$scratch"/rclone/{below,mnt,cache} && {
    printf '[crypt]\ntype = crypt\nremote = %s\npassword = %s\n' "$scratch/rclone/below" "$(rclone obscure bench)"
  } >"$scratch/rclone/conf"
}
rclone_mount() {
  rclone --config "$scratch/rclone/conf" mount --daemon --vfs-cache-mode full --vfs-write-back 1s \
    --cache-dir "$scratch/rclone/cache" --log-level ERROR crypt: "$scratch/rclone/mnt" && appears rclone
}
rclone_umount() { detach rclone; }
rclone_settle() {
  # Without its remote control: what waits to be written back has a dirty mark in the cache's metadata.
  local i
  for i in {1..1200}; do
    grep -rqsF '"Dirty":true' "$scratch/rclone/cache/vfsMeta" || return 0
    sleep 0.25
  done
  return 1
}

# Six bricks on this disk, any two of which may be lost: the nearest peer that codes files over many disks. Its service
# keeps all its state below $scratch and speaks inside a network namespace of its own, since it refuses loopback.
glusterfs_host=192.0.2.1  # of RFC 5737: nobody's
in_namespace() { nsenter --net="/run/netns/atoll-bench-$$" "$@"; }
glusterfs_make() {
  [ "$(id -u)" = 0 ] || { echo "glusterfs needs root"; return 1; }
  local i bricks=()
  mkdir -p "$scratch"/glusterfs/{mnt,state,run,log}
  ip netns add "atoll-bench-$$" && in_namespace ip addr add "$glusterfs_host/32" dev lo &&
    in_namespace ip link set lo up || return 1
  for i in 1 2 3 4 5 6; do mkdir -p "$scratch/glusterfs/brick$i" && bricks+=("$glusterfs_host:$scratch/glusterfs/brick$i"); done
  printf 'volume management\n    type mgmt/glusterd\n    option working-directory %s\n    option run-directory %s\n    option transport-type socket\nend-volume\n' \
    "$scratch/glusterfs/state" "$scratch/glusterfs/run" >"$scratch/glusterfs/glusterd.vol"
  in_namespace glusterd --volfile "$scratch/glusterfs/glusterd.vol" --log-file "$scratch/glusterfs/log/glusterd.log" \
    --pid-file "$scratch/glusterfs/run/glusterd.pid" || return 1
  for i in {1..100}; do in_namespace gluster --mode=script volume info >/dev/null 2>&1 && break; sleep 0.2; done
  in_namespace gluster --mode=script volume create bench disperse 6 redundancy 2 transport tcp "${bricks[@]}" force &&
    in_namespace gluster --mode=script volume start bench
}
glusterfs_mount() {
  in_namespace glusterfs --volfile-server="$glusterfs_host" --volfile-id=bench --log-file="$scratch/glusterfs/log/mount.log" "$scratch/glusterfs/mnt" &&
    appears glusterfs
}
glusterfs_umount() { detach glusterfs; }
glusterfs_settle() { :; }
glusterfs_end() {
  in_namespace gluster --mode=script volume stop bench force >/dev/null 2>&1
  local pid
  pid=$(cat "$scratch/glusterfs/run/glusterd.pid" 2>/dev/null) && kill "$pid" 2>/dev/null
  for pid in $(pgrep -f -- "$scratch/glusterfs"); do [ "$pid" = $$ ] || kill "$pid" 2>/dev/null; done
  ip netns del "atoll-bench-$$" 2>/dev/null
}

atoll_make() {
  mkdir -p "$scratch"/atoll/{mnt,home,config,run} && chmod 700 "$scratch/atoll/run" && "$atoll" init bench
}
atoll_mount() { "$atoll" mount bench "$scratch/atoll/mnt"; }
atoll_umount() { "$atoll" umount "$scratch/atoll/mnt"; }
atoll_settle() { "$atoll" sync bench --full --timeout 300; }

# Waits until something is mounted there.
appears() {
  local i
  for i in {1..200}; do mountpoint -q "$scratch/$1/mnt" && return 0; sleep 0.05; done
  return 1
}

# Unmounts, and waits until the process behind it is gone: its cache must not warm what comes next.
detach() {
  local point=$scratch/$1/mnt pids i
  pids=$(pgrep -f -- "$point" | grep -vx $$)
  { umount "$point" || fusermount3 -u "$point" || fusermount -u "$point"; } 2>/dev/null || return 1
  for i in {1..400}; do
    # shellcheck disable=SC2086
    [ -z "$pids" ] || ! kill -0 $pids 2>/dev/null && return 0
    sleep 0.05
  done
  echo "$1 did not end" >&2
  return 1
}
