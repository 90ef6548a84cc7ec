#!/bin/bash
# Whose application nginx serves on this server, as root on the server: serve.sh capistrano|slipway
#
# Either way it is Slipway's configuration of nginx; only the socket that it sends to and the folder of files differ.
set -euo pipefail
site=/etc/nginx/conf.d/slipway-arable.conf
kept=/etc/nginx/slipway-arable.kept

if [ "$1" = capistrano ]; then
  cp "$site" "$kept"
  sed -e 's|include /etc/nginx/slipway/arable\.upstream;.*|server unix:/run/arable-cap/puma.sock fail_timeout=0;|' \
    -e 's|include /etc/nginx/slipway/arable\.release\*;.*|root /var/www/arable-cap/current/public;|' "$kept" >"$site"
  [ "$(grep -c arable-cap "$site")" = 2 ] || {
    echo "the configuration of nginx is not what it was: $site" >&2
    exit 1
  }
elif [ -e "$kept" ]; then
  mv "$kept" "$site"
fi
nginx -t -q
systemctl reload nginx
