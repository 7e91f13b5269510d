# Access times of a mounted file system: noatime, relatime or strictatime
get_mount() {
  local place=${1//\\/\\134} a b c d mounted options rest
  place=${place// /\\040} place=${place//$'\t'/\\011} place=${place//$'\n'/\\012}
  while read -r a b c d mounted options rest; do
    if [ "$mounted" = "$place" ]; then
      case ,$options, in *,noatime,*) VALUE=noatime ;; *,relatime,*) VALUE=relatime ;; *) VALUE=strictatime ;; esac
    fi
  done </proc/self/mountinfo
  [ -n "$VALUE" ]
}
put_mount() { mount -o "remount,$2" -- "$1" >/dev/null 2>&1; }
