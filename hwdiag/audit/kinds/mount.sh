# Options of a mount point, the kernel's word for access times last: rw,nosuid,nodev,relatime
get_mount() {
  local place=${1//\\/\\134} _ mounted options rest
  place=${place// /\\040} place=${place//$'\t'/\\011} place=${place//$'\n'/\\012}
  while read -r _ _ _ _ mounted options rest; do
    if [ "$mounted" = "$place" ]; then
      case ,$options, in *,noatime,*) rest=noatime ;; *,relatime,*) rest=relatime ;; *) rest=strictatime ;; esac
      options=,$options,
      options=${options/,$rest,/,}
      VALUE=${options#,}$rest
    fi
  done </proc/self/mountinfo
  [ -n "$VALUE" ]
}
# want_mount PLACE MODE: VALUE is what the options are to be, where only access times are asked for
want_mount() { if get_mount "$1"; then VALUE=${VALUE%,*},$2; else VALUE=$2; fi; }
# Of this mount point alone, with all its options: what is left out would be taken away. The file system's own options,
# and whether it is writable, stay as they are; with a source named, mount takes nothing from /etc/fstab.
put_mount() {
  [[ $2 =~ ^(rw|ro)(,(nosuid|nodev|noexec|nodiratime|nosymfollow))*,(noatime|relatime|strictatime)$ ]] || return 1
  mount -o "remount,bind,$2" -- none "$1" >/dev/null 2>&1
}
