#!/bin/sh
# Runs the commands for Red Hat in the documents, in a root directory without package
# repositories. Its packages are Debian's; systemd.rpm is a placeholder for the systemd that
# the package depends on. TestDNF runs it, with the root directory as argument.
set -ex
root=$1
mount -t proc proc "$root/proc"

dnf() {
  command dnf --installroot="$root" --setopt=reposdir=/nonexistent --setopt=cachedir=/var/cache/dnf --releasever=1 --assumeyes "$@"
}

dnf install ./systemd.rpm

: an installation
dnf install ./zeekwire-0.9.0-1.x86_64.rpm
chroot "$root" zeekwire --version | grep 'v0.9.0$'
echo 'name = sensor-01' >"$root/etc/zeekwire/agent.conf"

: an upgrade keeps the settings
dnf upgrade ./zeekwire-0.9.1-1.x86_64.rpm
chroot "$root" zeekwire --version | grep 'v0.9.1$'
grep -x 'name = sensor-01' "$root/etc/zeekwire/agent.conf"

: a downgrade
dnf downgrade ./zeekwire-0.9.0-1.x86_64.rpm
chroot "$root" zeekwire --version | grep 'v0.9.0$'

: a removal
dnf remove zeekwire
test ! -e "$root/usr/bin/zeekwire"
grep -x 'name = sensor-01' "$root/etc/zeekwire/agent.conf.rpmsave"
test -e "$root/var/lib/zeekwire"
