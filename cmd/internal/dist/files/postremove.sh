#!/bin/sh
# Runs after the package was removed, upgraded or purged, by dpkg and by rpm. A
# purge, which only dpkg has, removes settings and state, but no logs.
set -e

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi

# rpm removes the files in this directory, unless they have changed.
if [ "$1" = 0 ]; then
  rmdir /etc/zeekwire 2>/dev/null || true
fi

if [ "$1" = purge ]; then
  rm -rf /etc/zeekwire
  for entry in /var/lib/zeekwire/*; do
    [ "$entry" = /var/lib/zeekwire/logs ] || rm -rf "$entry"
  done
  rmdir /var/lib/zeekwire/logs 2>/dev/null || true
  if [ -d /var/lib/zeekwire ] && ! rmdir /var/lib/zeekwire 2>/dev/null; then
    echo "zeekwire: logs remain in /var/lib/zeekwire/logs"
  fi
fi
