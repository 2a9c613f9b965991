#!/usr/bin/env bash
# Move the frames that a line kept for review to the plant.
#
#   collect_frames.sh KEPT PLANT
#   collect_frames.sh kept /mnt/plant/frames/line3
#   collect_frames.sh kept plant.example:/srv/partsight/frames/line3
#
# KEPT is the folder of the sink images:, while the line runs. PLANT is a folder for this line alone. Frames that people
# have reviewed on the line's page stay there. `rsync` must be on the PATH. Run it by cron or a systemd timer.
#
# A frame is moved when it has arrived, as a whole and with its record; it comes once, even after an interruption.
set -euo pipefail

if [ "$#" -ne 2 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi

# Of pictures that exist now: the sink writes a record before its picture, so that each of them has its record.
find "$1" -maxdepth 1 -type f \( -name '*.png' -o -name '*.jpg' \) -printf '%f\n' | sort |
    sed 's/\(.*\)\.\(png\|jpg\)$/\1.json\n&/' |
    rsync --times --remove-source-files --ignore-missing-args --timeout=60 --mkpath --files-from=- "$1" "$2"
