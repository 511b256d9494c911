#!/bin/sh
# Runs after the package was installed or upgraded, by dpkg and by rpm.
set -e

systemd-sysusers zeekwire.conf
# In the root of an image without /proc, systemd makes the directories when the
# services start.
systemd-tmpfiles --create zeekwire.conf || true

# Without systemd, as in the root of an image, there is nothing to restart. An
# upgrade restarts services that run. Nodes keep running meanwhile.
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart zeekwire-controller.service zeekwire-agent.service zeekwire-gateway.service
fi
