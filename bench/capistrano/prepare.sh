#!/bin/bash
# Makes a server ready for Capistrano, as root on the server, beside what Slipway has prepared there: SSH, a user that deploys
# and runs the application, the folders, the service. Packages lie in $1; the public key comes as $2.
#
# The service is Slipway's own unit in everything but its names, with the same environment and the same database.
set -euo pipefail
packages=$1 key=$2
root=/var/www/arable-cap
export DEBIAN_FRONTEND=noninteractive

dpkg --force-unsafe-io --install "$packages"/*.deb
useradd --create-home --shell /bin/bash deploy
install -d -m 700 -o deploy -g deploy /home/deploy/.ssh
install -m 600 -o deploy -g deploy /dev/stdin /home/deploy/.ssh/authorized_keys <<<"$key"
echo 'deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart arable-cap' >/etc/sudoers.d/deploy

for folder in '' releases shared shared/config shared/.bundle shared/log shared/tmp shared/tmp/cache shared/tmp/pids shared/storage; do
  install -d -o deploy -g deploy "$root/$folder"
done
install -m 640 -g deploy /var/www/arable/shared/database.yml "$root/shared/config/database.yml"
install -m 640 -g deploy /var/www/arable/shared/environment "$root/shared/environment"
printf -- '---\nBUNDLE_FROZEN: "true"\nBUNDLE_WITHOUT: "development:test"\n' >"$root/shared/.bundle/config"
# shellcheck disable=SC2016 # expanded when the user comes in
printf '%s\n' 'set -a' ". $root/shared/environment" 'PATH=/opt/slipway/bin:$PATH' 'set +a' >/home/deploy/.bashrc

sed -e 's|/var/www/arable/slots/%i|/var/www/arable-cap/current|g' -e 's|arable-%i|arable-cap|g' -e 's|/var/www/arable\b|&-cap|g' \
  -e 's|arable-cap-cap|arable-cap|g' -e 's|=rails$|=deploy|' -e 's|, slot %i||' /etc/systemd/system/arable@.service \
  >/etc/systemd/system/arable-cap.service
systemctl daemon-reload
systemctl enable arable-cap
systemctl restart ssh
