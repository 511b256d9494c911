#!/bin/sh
# Makes a secure cluster of three machines with the installed package, as
# docs/howto/install.md says, and attacks it. It runs as root on the first machine,
# 10.0.0.1, and reaches the others, 10.0.0.2 and 10.0.0.3, by ssh. TestSecureCluster runs
# it in three containers with systemd.
set -ex
PS4="+\$(date +%T) "

eventually() {
  for attempt in $(seq 60); do
    "$@" && return
    sleep 1
  done
  return 1
}

# none fails if a command succeeds: set -e ignores "! command".
none() {
  if "$@"; then
    return 1
  fi
}

# refused runs a command, which must fail with a text.
refused() {
  text=$1
  shift
  none "$@" >refusal 2>&1
  cat refusal
  grep "$text" refusal
}

connected() {
  test "$(zeekwire get-instances | grep -o 'sensor-[0-9]' | sort -u | tr '\n' ' ')" = "$1"
}

running() {
  test "$(zeekwire get-nodes | grep -c '"RUNNING"')" = "$1"
}

: the package is installed, and the path of Zeek is set
cat >prepare <<'END'
set -ex
apt-get install -y /root/test/zeekwire_0.9.1-1_amd64.deb
echo 'zeek = /opt/zeek/bin/zeek' >> /etc/zeekwire/agent.conf
END
for address in 10.0.0.1 10.0.0.2 10.0.0.3; do
  eventually ssh root@$address true
  ssh root@$address sh -s <prepare
done

: five commands make a cluster
zeekwire bootstrap --start --agent sensor-1=10.0.0.1 --agent sensor-2=10.0.0.2 --agent sensor-3=10.0.0.3
cp sensor-3.join copy.join
zeekwire join --start sensor-1.join
ssh root@10.0.0.2 zeekwire join --start - < sensor-2.join
ssh root@10.0.0.3 zeekwire join --start - < sensor-3.join
eventually connected 'sensor-1 sensor-2 sensor-3 '
zeekwire deploy-config cluster.cfg
eventually running 6

: the installed client needs no flags, and finds nothing open
zeekwire status
zeekwire status --json | grep '"warnings": \[\]'
zeekwire status --json | grep -c '"connected": true' | grep 3

: systemd runs the services, now and after a restart of the machine, as their user and confined
cat >look <<'END'
set -ex
for unit in $*; do
  test "$(systemctl is-active zeekwire-$unit)" = active
  test "$(systemctl is-enabled zeekwire-$unit)" = enabled
  pid=$(systemctl show -P MainPID zeekwire-$unit)
  test "$(stat -c %U:%G /proc/$pid)" = zeekwire:zeekwire
  grep '^NoNewPrivs:.*1$' /proc/$pid/status
  grep '^Seccomp:.*2$' /proc/$pid/status
  systemd-analyze security --no-pager --threshold=40 zeekwire-$unit.service
done
# Its keys are for the user of the services and for root alone.
for file in /var/lib/zeekwire/tls/*.pem /var/lib/zeekwire/authority/ca-key.pem; do
  case $file in */ca.pem | */revoked.pem | *'*'*) continue ;; esac
  test -e $file || continue
  test "$(stat -c '%U %a' $file)" = 'zeekwire 600'
done
for file in /var/lib/zeekwire/tls/*.pem /var/lib/zeekwire/authority/*.pem /etc/zeekwire/c* /etc/zeekwire/agent.conf; do
  test -e $file || continue
  if setpriv --reuid=nobody --regid=nogroup --clear-groups cat $file; then exit 1; fi
done
END
ssh root@10.0.0.1 sh -s controller agent <look
ssh root@10.0.0.2 sh -s agent <look
ssh root@10.0.0.3 sh -s agent <look
ssh root@10.0.0.3 test ! -e /var/lib/zeekwire/authority

: a join file is valid once, also on another machine
refused 'has been used, and is valid once' zeekwire join --config-dir other/etc --state-dir other/state copy.join
refused 'has been used, and is valid once' ssh root@10.0.0.2 zeekwire join --config-dir /root/other/etc --state-dir /root/other/state - <copy.join
refused 'this machine has joined already' ssh root@10.0.0.3 zeekwire join - <copy.join
refused 'this machine has a cluster already' zeekwire bootstrap --agent sensor-4
test ! -e other/state/tls/agent.pem

: clients without a certificate are refused
refused . zeekwire get-instances -c none --controller 10.0.0.1 --set client.peering_attempts=1
refused . ssh root@10.0.0.2 zeekwire get-instances --controller 10.0.0.1 --set ssl.enable=yes --set client.peering_attempts=1

: a join file is valid for an hour
zeekwire invite sensor-4
past=$(date -u -d '1 minute ago' +%FT%TZ)
perl -0pi -e 's/("name": "sensor-4".*?"expires": ")[^"]*/${1}'$past'/s' /var/lib/zeekwire/authority/register.json
refused 'has expired, an hour after it was made' ssh root@10.0.0.2 zeekwire join --config-dir /root/other/etc --state-dir /root/other/state - <sensor-4.join

: a person gets a certificate in the same way
zeekwire invite --client --read-only alice
ssh root@10.0.0.3 useradd --create-home alice
ssh root@10.0.0.3 runuser -l alice -c "'cat >alice.join && zeekwire join alice.join'" <alice.join
ssh root@10.0.0.3 runuser -l alice -c "'zeekwire status'" | grep sensor-2
ssh root@10.0.0.3 runuser -l alice -c "'stat -c %U:%a .config/zeekwire/tls/client.pem'" | grep '^alice:600$'
refused 'may only read' ssh root@10.0.0.3 runuser -l alice -c "'zeekwire restart worker-2'"

: a revoked certificate ends the connection of its holder, and is refused
zeekwire revoke sensor-3 alice
eventually connected 'sensor-1 sensor-2 '
refused . ssh root@10.0.0.3 runuser -l alice -c "'zeekwire status --set client.peering_attempts=1'"
ssh root@10.0.0.3 systemctl restart zeekwire-agent
systemctl restart zeekwire-controller
eventually connected 'sensor-1 sensor-2 '
eventually sh -c "journalctl -u zeekwire-controller | grep 'certificate has been revoked'"
connected 'sensor-1 sensor-2 '
zeekwire certificates | grep 'sensor-3 .*revoked'

: the machine joins again
rm sensor-3.join
zeekwire invite sensor-3
ssh root@10.0.0.3 zeekwire join --replace --start - < sensor-3.join
eventually connected 'sensor-1 sensor-2 sensor-3 '
zeekwire status --instance sensor-3 | grep "last_error\|state"
ssh root@10.0.0.3 journalctl -u zeekwire-agent | tail -20
zeekwire restart --instance sensor-3
eventually running 6

: the confined services renew their certificates, and the nodes keep running
nodes=$(ssh root@10.0.0.2 pgrep -u zeekwire -f /opt/stand-in/program)
perl -pi -e 's/"lifetime_ns": \d+/"lifetime_ns": 30000000000/' /var/lib/zeekwire/authority/register.json
zeekwire bootstrap --replace
rm sensor-2.join
zeekwire invite sensor-2
ssh root@10.0.0.2 zeekwire join --replace --start - < sensor-2.join
systemctl restart zeekwire-controller
renewed() {
  ssh root@$1 journalctl -u $2 | grep 'certificate renewed.*file=/var/lib/zeekwire/tls/'
}
eventually renewed 10.0.0.2 zeekwire-agent
eventually renewed 10.0.0.1 zeekwire-controller
ssh root@10.0.0.2 stat -c %U:%a /var/lib/zeekwire/tls/agent.pem | grep '^zeekwire:600$'
eventually connected 'sensor-1 sensor-2 sensor-3 '
test "$(ssh root@10.0.0.2 pgrep -u zeekwire -f /opt/stand-in/program)" = "$nodes"

: a removal leaves nothing
for address in 10.0.0.1 10.0.0.2 10.0.0.3; do
  ssh root@$address 'apt-get purge -y zeekwire && ! pgrep -u zeekwire && test ! -e /etc/zeekwire && test ! -e /var/lib/zeekwire/tls'
done
