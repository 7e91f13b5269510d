# rule DISK SECTORS MODEL ATTRIBUTE=VALUE...: a udev rule for this disk, by what tells it from others
rule() {
  local disk=$1 sectors='' model='' property value='' key='' rules=''
  { read -r sectors <"/sys/block/$disk/size"; read -r model <"/sys/block/$disk/device/model"; } 2>/dev/null
  if [ "$sectors" != "$2" ] || [ "$model" != "$3" ]; then
    warn "$disk is another disk than when this was made"
    return 1
  fi
  shift 3
  for key in ID_SERIAL ID_PATH; do
    value=
    while IFS= read -r property; do
      case $property in "$key="*) value=${property#*=} ;; esac
    done <<<"$(udevadm info --query=property --name="/dev/$disk" 2>/dev/null)"
    if [[ $value =~ ^[A-Za-z0-9._:@/+-]+$ ]]; then break; fi
    value=
  done
  if [ -z "$value" ]; then
    warn "disk $disk has no serial number and no port that a rule could name"
    return 1
  fi
  for property; do rules+=", ATTR{${property%%=*}}=\"${property#*=}\""; done
  printf '%s\n' "ACTION==\"add|change\", SUBSYSTEM==\"block\", ENV{DEVTYPE}==\"disk\", ENV{$key}==\"$value\"$rules"
}
