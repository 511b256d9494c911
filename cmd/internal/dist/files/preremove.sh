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
  systemctl disable zeekwire-agent.service zeekwire-controller.service zeekwire-gateway.service
  exit 0
fi
systemctl disable --now zeekwire-agent.service zeekwire-controller.service zeekwire-gateway.service

# The agent leaves nodes running when it ends, so they are still in its control
# groups. Stop them, and kill those that run after 30 s. The kernel shows processes
# of other containers as 0, for which kill would signal this script and dpkg.
nodes() {
  find /sys/fs/cgroup -path '*/zeekwire-agent.service/*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | grep -vx 0
}
end_nodes() {
  left=$(nodes) || true
  [ -z "$left" ] || kill -s "$1" $left 2>/dev/null || true # some may have ended
}
end_nodes TERM
wait=0
while [ -n "$(nodes)" ] && [ $wait -lt 30 ]; do
  wait=$((wait + 1))
  sleep 1
done
end_nodes KILL
