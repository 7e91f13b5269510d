# Files of disks: PLACE is the file, the disk's sectors and its model, since names change from boot to boot
declare -A DISKS=()
same_disk() {
  local disk=${1#/sys/block/} meant=${1#* } sectors='' model=''
  disk=${disk%%/*}
  case ${DISKS["$disk $meant"]-} in yes) return 0 ;; no) return 1 ;; esac
  { read -r sectors <"/sys/block/$disk/size"; read -r model <"/sys/block/$disk/device/model"; } 2>/dev/null
  if [ "$sectors $model" = "$meant" ]; then
    DISKS["$disk $meant"]=yes
    return 0
  fi
  if [ -n "$sectors" ]; then warn "$disk is another disk than when this was made: left alone"; fi
  DISKS["$disk $meant"]=no
  return 1
}
get_disk() { same_disk "$1" && get_file "${1%% *}"; }
put_disk() { same_disk "$1" && put_file "${1%% *}" "$2"; }

# reset_disk PLACE VALUE: some values are only a driver's own (a queue shorter than 4 cannot be written); taking another
# scheduler and the first one again brings them back.
reset_disk() {
  local file=${1%% *} scheduler other
  get_disk "$1"
  if [ "$VALUE" = "$2" ] || [ "${file##*/}" != nr_requests ]; then return; fi
  get_file "${file%/*}/scheduler" || return
  scheduler=$VALUE other=none
  if [ "$scheduler" = none ]; then other=mq-deadline; fi
  put_file "${file%/*}/scheduler" "$other" && put_file "${file%/*}/scheduler" "$scheduler"
}
