#!/bin/sh
# Runs before the package is removed or upgraded, by dpkg and by rpm. A removal
# ends the services and all nodes.
set -e

case $1 in
remove | 0) ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null || exit 0
if [ ! -d /run/systemd/system ]; then
  systemctl disable zeekwire-agent.service zeekwire-controller.service
  exit 0
fi
systemctl disable --now zeekwire-agent.service zeekwire-controller.service

# The agent leaves nodes running when it ends, so they are still in its control
# group. Stop them, and kill those that run after 30 s.
nodes_run() {
  cat /sys/fs/cgroup/system.slice/zeekwire-agent.service/cgroup.procs \
    /sys/fs/cgroup/systemd/system.slice/zeekwire-agent.service/cgroup.procs 2>/dev/null | grep -q .
}
wait=0
while nodes_run && [ $wait -lt 30 ]; do
  [ $wait -gt 0 ] || systemctl kill --kill-whom=all zeekwire-agent.service || true
  wait=$((wait + 1))
  sleep 1
done
if nodes_run; then
  systemctl kill --kill-whom=all --signal=KILL zeekwire-agent.service || true
fi
