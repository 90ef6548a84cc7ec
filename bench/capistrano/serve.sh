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
  cp "$site" "$kept"
  sed -e "s|include /etc/nginx/slipway/arable\.upstream;.*|server unix:$socket fail_timeout=0;|" \
    -e "s|unix:/[^ :;]*|unix:$socket|" \
    -e "s|include /etc/nginx/slipway/arable\.release\*;.*|root $files;|" \
    -e "s|root /var/www/arable/[^;]*;|root $files;|" "$kept" >"$site"
  if ! grep -qF "unix:$socket" "$site" || ! grep -qF "root $files;" "$site" ||
    grep -qE '/var/www/arable/|/run/arable(-[ab])?/|slipway/arable\.' "$site"; then
    echo "the configuration of nginx is not what it was: $site" >&2
    exit 1
  fi
elif [ -e "$kept" ]; then
  mv "$kept" "$site"
fi
nginx -t -q
systemctl reload nginx
