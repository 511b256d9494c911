#!/bin/sh
# Installs, upgrades, downgrades, removes and purges the package, as root on a
# machine with systemd, while a cluster runs. TestPackage runs it in a container.
set -ex

# nodes prints the process IDs of the two nodes, once they and the agent run.
nodes() {
  test "$(zeekwire get-nodes | grep -c '"RUNNING"')" = 3 && pgrep -u zeekwire -f /opt/stand-in/program
}

# eventually runs a command until it succeeds, for at most a minute.
eventually() {
  for attempt in $(seq 60); do
    "$@" && return
    sleep 1
  done
  return 1
}

connected() {
  zeekwire get-instances | grep -q sensor-01
}

# installed fails unless this version runs, with the nodes as they were. Its commands
# are joined, because set -e ignores failures in a condition.
installed() {
  systemctl is-active zeekwire-controller zeekwire-agent &&
    zeekwire --version | grep -q "$1" &&
    eventually connected &&
    eventually same
}

# none fails if a command succeeds: set -e ignores "! command".
none() {
  if "$@"; then
    return 1
  fi
}

same() {
  nodes >after && diff before after
}

: the package is installed, and nothing runs yet
sha256sum --check --ignore-missing SHA256SUMS
# The settings differ from those of both packages: keep them, as the answer to dpkg's question is by default.
echo 'DPkg::Options { "--force-confold"; };' >/etc/apt/apt.conf.d/90keep-settings
apt-get install -y ./zeekwire_0.9.0-1_amd64.deb
test "$(systemctl is-enabled zeekwire-agent zeekwire-controller | sort -u)" = disabled
test "$(stat -c '%U:%G %a' /etc/zeekwire)" = 'root:zeekwire 750'
test "$(stat -c '%U:%G %a' /var/lib/zeekwire)" = 'zeekwire:zeekwire 750'
test -s /usr/share/man/man1/zeekwire.1.gz
dpkg --verify zeekwire

: the services start
printf 'name = sensor-01\nzeek = /opt/zeek/bin/zeek\ntls = off\n' >>/etc/zeekwire/agent.conf
echo 'tls = off' >>/etc/zeekwire/controller.conf
systemctl enable --now zeekwire-controller
systemctl enable --now zeekwire-agent
eventually connected
zeekwire get-instances

: a cluster runs
zeekwire deploy-config cluster.cfg
nodes >before
test "$(wc -l <before)" = 2

: an upgrade keeps the nodes, and what the controller and the agent know
zeekwire history >history-before
apt-get install -y ./zeekwire_0.9.1-1_amd64.deb
installed v0.9.1
grep sensor-01 /etc/zeekwire/agent.conf
zeekwire history | diff history-before -
zeekwire deploy-config cluster.cfg
eventually same

: the services are confined, as docs/howto/service.md says
for unit in zeekwire-controller zeekwire-gateway zeekwire-agent; do
  systemd-analyze security --no-pager --threshold=40 $unit.service
  systemd-analyze security --no-pager $unit.service | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/| `'$unit'` | \1 |/p' >>exposure
done

: a backup, as in docs/howto/upgrade.md
systemctl stop zeekwire-controller
tar -C / -czf backup.tar.gz etc/zeekwire var/lib/zeekwire/nodes
systemctl start zeekwire-controller
eventually connected
zeekwire history >history-before

: a downgrade keeps the nodes. It works, or the services say which version they need.
apt-get install -y --allow-downgrades ./zeekwire_0.9.0-1_amd64.deb
if installed v0.9.0; then
  echo works >downgrade
else
  journalctl -u zeekwire-agent -u zeekwire-controller | grep 'install the version that wrote it, or a later one'
  pgrep -u zeekwire -f /opt/stand-in/program | diff before -
  echo 'is refused because of the state files' >downgrade
fi
apt-get install -y ./zeekwire_0.9.1-1_amd64.deb
installed v0.9.1
zeekwire history | diff history-before -

: a removal leaves nothing running
apt-get remove -y zeekwire
none pgrep -u zeekwire
none systemctl is-enabled zeekwire-agent
test -e /etc/zeekwire/agent.conf

: logs survive a purge
mkdir -p /var/lib/zeekwire/logs && touch /var/lib/zeekwire/logs/conn.log
apt-get purge -y zeekwire
test ! -e /etc/zeekwire
test "$(ls /var/lib/zeekwire)" = logs

: the backup brings the cluster back on an empty machine
apt-get install -y ./zeekwire_0.9.1-1_amd64.deb
tar -C / -xzf backup.tar.gz
systemctl enable --now zeekwire-controller zeekwire-agent
eventually connected
zeekwire history | diff history-before -
eventually nodes
apt-get purge -y zeekwire
none pgrep -u zeekwire
rm -rf /var/lib/zeekwire /etc/zeekwire
userdel zeekwire
