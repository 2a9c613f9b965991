#!/usr/bin/env bash
# Let a line take the package that the plant's share names for it: a new one, or the one before.
#
#   pull_package.sh SHARE LINE LINK KEY.pub
#   pull_package.sh plant:partsight line3 line3.partsight factory.pub
#
# SHARE is a place of rclone: a mounted folder, or an object storage of its configuration. SHARE/lines/LINE is a text file
# with the name of a package, and SHARE/packages/NAME is that package. LINK is the path that `partsight run --watch`
# watches. Run it every minute, by cron or a systemd timer; `rclone` and `partsight` must be on the PATH.
#
# Nothing changes unless the package is whole and KEY has signed it; the last step is atomic. The line's log says
# package_swapped, or package_refused and why.
set -euo pipefail

if [ "$#" -ne 4 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
share=$1 line=$2 link=$3 key=$4
if [ -e "$link" ] && [ ! -L "$link" ]; then
    echo "$link is no link: move the package elsewhere, and let 'ln -s' put a link to it in its place" >&2
    exit 1
fi

name=$(timeout 60 rclone cat "$share/lines/$line")
if [[ ! $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]]; then
    echo "$share/lines/$line holds ${name@Q}; expected the name of a package, such as 2025-11-24" >&2
    exit 1
fi
folder=$(dirname "$(realpath -m -s "$link")")/packages
package=$folder/$name
if [ "$(readlink "$link" || true)" = "$package" ]; then
    exit
fi
mkdir -p "$folder"
exec 9> "$folder/.pull"
flock -n 9 || exit 0 # the run before still copies

if [ ! -d "$package" ]; then
    timeout 3600 rclone sync "$share/packages/$name" "$package.partial" # continues after an interruption
    if ! partsight verify "$package.partial" --key "$key"; then
        rm -r "$package.partial"
        exit 1
    fi
    mv -T "$package.partial" "$package"
fi
ln -sfn "$package" "$link.turning"
mv -T "$link.turning" "$link"
echo "$link is $package"
