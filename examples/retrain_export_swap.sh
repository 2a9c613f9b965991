#!/usr/bin/env bash
# Train and export anew, then turn the link that `partsight run --watch` watches to the new package; or turn it back.
#
#   examples/retrain_export_swap.sh golden line3.partsight     # line3.partsight is a link, or is not there yet
#   examples/retrain_export_swap.sh --back line3.partsight
#
# `partsight` must be on the PATH. The package has every precision, so that the line finds its own; for a line that
# demands a signature, add `partsight sign` before the link is turned.
#
# Nothing changes unless every step before the last one succeeds, and the last one is atomic: the line sees the old
# package or the new one. The line's log says package_swapped, or package_refused and why; it then goes on with the old.
set -euo pipefail

turn() {  # LINK PACKAGE: a new link takes the old one's name at once
    ln -sfn "$2" "$1.turning"
    mv -T "$1.turning" "$1"
}

if [ "$#" -ne 2 ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
link=$2
if [ -e "$link" ] && [ ! -L "$link" ]; then
    echo "$link is no link: move the package elsewhere, and let 'ln -s' put a link to it in its place" >&2
    exit 1
fi
if [ "$1" = "--back" ]; then
    before=$(readlink "$link.before") || { echo "$link: there was no package before this one" >&2; exit 1; }
    turn "$link.before" "$(readlink "$link")"  # so that a second --back comes back here
    turn "$link" "$before"
    echo "$link is $before again"
    exit
fi

name=$(date -u +%Y%m%dT%H%M%SZ)
folder=$(dirname "$(realpath -m -s "$link")")/packages
partsight train "$1" --out "$folder/$name.run"
partsight export "$folder/$name.run" --out "$folder/$name.partsight"
partsight inspect "$folder/$name.partsight" > /dev/null  # whole, as it lies on this disk
if [ -L "$link" ]; then
    turn "$link.before" "$(readlink "$link")"
fi
turn "$link" "$folder/$name.partsight"
echo "$link is $folder/$name.partsight"
