#!/bin/sh
# Boots the three containers in a directory, on a network of their own, until the first
# one ends. It runs in a network namespace.
#
#	machines.sh DIR       boot all three
#	machines.sh DIR NAME  boot one, in a control group of its own
set -e

# groups prints the directories of this process in the hierarchies of control groups that
# systemd uses.
groups() {
  while IFS=: read -r number controllers path; do
    case $number:$controllers in
    0:) tree=/sys/fs/cgroup/unified && [ -d $tree ] || tree=/sys/fs/cgroup ;;
    *:name=systemd) tree=/sys/fs/cgroup/systemd ;;
    *) continue ;;
    esac
    echo "$tree${path%/}"
  done </proc/self/cgroup
}

if [ -n "$2" ]; then
  for group in $(groups); do
    mkdir -p "$group/$2"
    echo $$ >"$group/$2/cgroup.procs"
  done
  exec systemd-nspawn --quiet --register=no --keep-unit --network-bridge=machines --boot --directory "$1/$2"
fi

ip link set lo up
ip link add machines type bridge
ip link set machines up
sh "$0" "$1" sensor-2 </dev/null >/dev/null 2>&1 &
second=$!
sh "$0" "$1" sensor-3 </dev/null >/dev/null 2>&1 &
third=$!
sh "$0" "$1" sensor-1 </dev/null &
first=$!
trap 'kill $first' TERM
wait $first || wait $first || true # the trap interrupts the first wait
kill $second $third || true        # which shuts them down
wait
for group in $(groups); do
  find "$group/sensor-1" "$group/sensor-2" "$group/sensor-3" -depth -type d -exec rmdir {} + || true
done
