#!/bin/bash
# Whose application nginx serves on this server, as root on the server: serve.sh capistrano|slipway
#
# Either way it is Slipway's configuration of nginx; only the socket that it sends to and the folder of files differ.
set -euo pipefail
site=/etc/nginx/conf.d/slipway-arable.conf
kept=/etc/nginx/slipway-arable.kept
socket=/run/arable-cap/puma.sock
files=/var/www/arable-cap/current/public

if [ "$1" = capistrano ]; then
  [ -e "$kept" ] || cp "$site" "$kept" # it may serve already
  sed -e "s|unix:/[^ :;]*|unix:$socket|" -e "s|root /var/www/arable/[^;]*;|root $files;|" "$kept" >"$site"
  if ! grep -qF "unix:$socket" "$site" || ! grep -qF "root $files;" "$site" ||
    grep -qE '/var/www/arable/|/run/arable(-[ab])?/' "$site"; then
    echo "the configuration of nginx is not what it was: $site" >&2
    exit 1
  fi
else
  [ ! -e "$kept" ] || mv "$kept" "$site"
  if grep -qF arable-cap "$site"; then
    echo "nginx would not serve Slipway's application: $site" >&2
    exit 1
  fi
fi
nginx -t -q
systemctl reload nginx
