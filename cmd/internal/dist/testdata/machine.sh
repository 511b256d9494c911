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

installed() {
  systemctl is-active zeekwire-controller zeekwire-agent
  zeekwire --version | grep -q "$1"
  eventually connected
  eventually same
}

same() {
  nodes >after && diff before after
}

: the package is installed, and nothing runs yet
dpkg -i old.deb
test "$(systemctl is-enabled zeekwire-agent zeekwire-controller | sort -u)" = disabled
test "$(stat -c '%U:%G %a' /etc/zeekwire)" = 'root:zeekwire 750'
test "$(stat -c '%U:%G %a' /var/lib/zeekwire)" = 'zeekwire:zeekwire 750'
test -s /usr/share/man/man1/zeekwire.1.gz
dpkg --verify zeekwire

: the services start
systemd-analyze security --no-pager --threshold=40 zeekwire-agent.service
systemd-analyze security --no-pager --threshold=40 zeekwire-controller.service
printf 'name = sensor-01\nzeek = /opt/stand-in/zeek\ntls = off\n' >>/etc/zeekwire/agent.conf
echo 'tls = off' >>/etc/zeekwire/controller.conf
systemctl enable --now zeekwire-controller zeekwire-agent
eventually connected

: a cluster runs
zeekwire deploy-config cluster.cfg
nodes >before
test "$(wc -l <before)" = 2

: an upgrade, and a downgrade, keep the nodes
dpkg -i new.deb
installed v0.9.1
grep sensor-01 /etc/zeekwire/agent.conf
dpkg -i old.deb
installed v0.9.0

: a removal leaves nothing running
dpkg -r zeekwire
! pgrep -u zeekwire
! systemctl is-enabled zeekwire-agent
test -e /etc/zeekwire/agent.conf

: logs survive a purge
mkdir -p /var/lib/zeekwire/logs && touch /var/lib/zeekwire/logs/conn.log
dpkg -P zeekwire
test ! -e /etc/zeekwire
test "$(ls /var/lib/zeekwire)" = logs
