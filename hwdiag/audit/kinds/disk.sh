# disk NAME SECTORS MODEL    whether it is still the disk that was meant: names change from boot to boot
declare -A DISKS=()
disk() {
  local sectors='' model=''
  DISK=${DISKS[$1]-}
  if [ -n "$DISK" ]; then return; fi
  { read -r sectors <"/sys/block/$1/size"; read -r model <"/sys/block/$1/device/model"; } 2>/dev/null
  DISK='file'
  if [ "$sectors" != "$2" ] || [ "$model" != "$3" ]; then
    warn "$1 is another disk than when this was made: left alone"
    DISK='other'
  fi
  DISKS[$1]=$DISK
}
get_other() { return 1; }
