#!/bin/bash
# A drive whose state folder lies on a small file system of its own (a loop device) that fills up, is remounted read-only
# and is shut down under load. Bytes are right or refused, and what a flush acknowledged is there afterwards.
# Usage: disk.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

disk=$ATOLL_HOME
image=$scratch/image
image_mib=512
# mkfs.xfs refuses less than 300 MiB; what is accepted must still fit below the reserve.
reserve="disk_reserve=16MiB,staging_max=256MiB,write_timeout_s=2"

# Makes the file system in the image and mounts it where drives live.
fresh_disk() {  # fresh_disk ext4|xfs [OPTIONS]
  rm -rf "${XDG_CONFIG_HOME:?}"/*
  rm -f "$image" && truncate -s "${image_mib}M" "$image" || return 1
  case $1 in
    ext4) mkfs.ext4 -q -F "$image" ;;
    xfs) mkfs.xfs -q -f "$image" ;;
  esac || return 1
  mount -o loop${2:+,$2} "$image" "$disk"
}
drop_disk() { until_true 10 umount "$disk"; }

if [ "$(id -u)" != 0 ] || ! fresh_disk ext4 2>"$scratch/loop.log"; then
  fallback "no loop device can be mounted here ($(head -n 1 "$scratch/loop.log")); crash.faults fails each call to a disk in memory instead"
  say "ok the machine was asked for a loop device"
  finish
fi
drop_disk

content() { yes "file $1" 2>/dev/null | head -c 65536; }
# Files 1..COUNT of 64 KiB, each flushed; prints the number of those that were acknowledged.
write_files() {  # write_files FOLDER COUNT
  local i=0
  mkdir -p "$1" 2>/dev/null
  while [ $i -lt "$2" ]; do
    i=$((i + 1))
    dd if=<(content "$i") of="$1/$i" bs=64K conv=fsync iflag=fullblock status=none 2>/dev/null || { echo $((i - 1)); return 1; }
    [ -z "${3:-}" ] || echo "$i" >"$3"
  done
  echo $i
}
# Whether files 1..COUNT are there and right.
verify_files() {  # verify_files FOLDER COUNT
  local i
  for ((i = 1; i <= $2; i++)); do
    cmp -s "$1/$i" <(content "$i") || { echo "file $i of $2 is not what was flushed"; return 1; }
  done
}
# Remounts the drive on a sound disk.
restart() {
  unmount_forced
  mount_drive -o "$reserve"
}
unmount_forced() {
  [ -z "$daemon" ] || { kill -KILL "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; }
  daemon=
  umount -l "$point" 2>/dev/null || true
}

for kind in ext4 xfs; do
  fresh_disk "$kind" "$([ "$kind" = xfs ] || echo errors=remount-ro)" || { fail "an $kind can be made" "$(cat "$scratch/loop.log")"; continue; }
  mkdir -p "$scratch/nodes.$kind"
  make_drive --redundancy 1/1 --node "dir:$scratch/nodes.$kind"
  mount_drive -o "$reserve"
  first=$(write_files "$point/before" 40)
  expect "$kind: a sound disk takes flushed files" '[ "$first" = 40 ]'

  # Full: everything else on it is taken by somebody else.
  fallocate -l "$(($(df --output=avail -B1 "$disk" | tail -n 1) - 65536))" "$disk/hog"
  second=$(write_files "$point/full" 400)
  check "$kind, full: what was flushed before reads back" verify_files "$point/before" 40
  check "$kind, full: what was accepted reads back" verify_files "$point/full" "$second"
  rm -f "$disk/hog"
  restart
  check "$kind, room again: what was flushed is there after a kill" verify_files "$point/before" 40
  check "$kind, room again: so is what was flushed while it filled up" verify_files "$point/full" "$second"
  third=$(write_files "$point/after" 20)
  expect "$kind, room again: the drive takes files" '[ "$third" = 20 ]'

  # Shut down under load, as when a cable is pulled.
  : >"$scratch/acknowledged"
  write_files "$point/load" 100000 "$scratch/acknowledged" >/dev/null 2>&1 &
  mine+=($!)
  loader=$!
  until_true 20 test -s "$scratch/acknowledged"
  if [ "$kind" = xfs ]; then xfs_io -x -c shutdown "$disk"; else xfs_io -x -c shutdown "$disk" || mount -o remount,abort "$disk"; fi >"$scratch/shutdown.log" 2>&1
  until_true 60 gone "$loader" || fail "$kind, shut down: writers get an error and no hang"
  acknowledged=$(cat "$scratch/acknowledged")
  acknowledged=${acknowledged:-0}
  expect "$kind, shut down under load: some files had been acknowledged" '[ "$acknowledged" -ge 1 ]'
  if dd if=/dev/zero of="$point/late" bs=4K count=1 conv=fsync status=none 2>/dev/null; then
    fail "$kind, shut down: a flush is refused"
  else ok "$kind, shut down: a flush is refused"; fi
  unmount_forced
  drop_disk || fail "$kind: the dead disk can be unmounted"
  mount -o "loop$([ "$kind" = xfs ] || echo ,errors=remount-ro)" "$image" "$disk" || { fail "$kind: the disk comes back"; continue; }
  mount_drive -o "$reserve"
  check "$kind, shut down: everything acknowledged is there" verify_files "$point/load" "$acknowledged"
  check "$kind, shut down: so is what was older" verify_files "$point/before" 40

  # Read-only from one moment to the next. The kernel refuses that under open files, unless ext4 does it to itself.
  device=$(findmnt -n -o SOURCE "$disk")
  trigger=/sys/fs/ext4/${device#/dev/}/trigger_fs_error
  if mount -o remount,ro "$disk" 2>/dev/null || { [ -w "$trigger" ] && echo "a test" >"$trigger"; }; then
    if dd if=/dev/zero of="$point/late" bs=4K count=1 conv=fsync status=none 2>/dev/null; then
      fail "$kind, read-only: a flush is refused"
    else ok "$kind, read-only: a flush is refused"; fi
    check "$kind, read-only: what was flushed reads back" verify_files "$point/before" 40
    unmount_forced
    drop_disk || fail "$kind: the disk can be unmounted"
    [ "$kind" != ext4 ] || e2fsck -fy "$image" >"$scratch/fsck.log" 2>&1
    mount -o loop "$image" "$disk" || { fail "$kind: the disk comes back"; continue; }
    mount_drive -o "$reserve"
  else
    fallback "$kind: the kernel makes no disk read-only under open files; the shutdown refuses the same"
    restart
  fi
  check "$kind: at the end everything acknowledged is there" verify_files "$point/load" "$acknowledged"
  fourth=$(write_files "$point/end" 10)
  expect "$kind: and the drive takes files" '[ "$fourth" = 10 ]'
  unmount_drive
  drop_disk || fail "$kind: the disk can be unmounted"
done
finish
