#!/bin/bash
# Settings of vm, chosen with hwdiag 0.1.0 (2026-11-28T14:30:07Z).
# It sets them, shows how they are, and takes them back to exactly what they were. Nothing but bash and coreutils is
# needed. A setting counts as set only when it reads back as asked for.
# Values are data in single quotes, whatever they hold: nothing in them is meant to expand.
# shellcheck disable=SC2016,SC2317,SC2329
set -u # not -e: a setting that fails must not keep the others from being set or undone
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin LC_ALL=C TZ=UTC
unset CDPATH GLOBIGNORE
umask 077

NAME=system_optimize
HOST_NAME=vm
STATE=/var/lib/hwdiag
JOURNAL=$STATE/$NAME.journal

usage() {
  cat <<'USAGE'
Usage: system_optimize.sh apply|status|diff|undo [--only SETTING[,SETTING...]] [--force]
  apply   set what differs; what was there before is written down first, in /var/lib/hwdiag; exit status 0: all as
          wanted, 1: not all, 3: all but what the driver refused at an earlier apply as well
  status  a table; exit status 0: all as wanted, or asked for and kept where it cannot be read back, 1: not all,
          2: could not tell
  diff    what apply would change; exit status 0: nothing
  undo    put back what was there before the first apply
  --only  of these settings only (not for undo)
  --force run on another host than the one it was made for
Settings:
  vm.swappiness
  io.scheduler
  net.backlog
USAGE
}

# --- the settings: one function each --------------------------------------------------------------------------------
# setting KIND PLACE VALUE   what is wanted
# side KIND PLACE            what the kernel changes along with it: saved and restored too

# How readily the kernel swaps programs out instead of dropping file cache (0 to 200).
# Chosen because: you chose it.
# Known: A ratio of costs, not a threshold. A little cold swap is harmless; lower it where pages were read back from a disk while memory was free. With zram or zswap, 100 and more are right.
# Risk: Less file cache; at 0, programs are killed earlier when memory runs out.
# Source: https://docs.kernel.org/admin-guide/sysctl/vm.html
knob_vm_swappiness() {
  setting file /proc/sys/vm/swappiness 10
}

# Who orders the requests to a disk.
# Chosen because: you chose it.
# Known: The kernel's own choice is right: none for NVMe, mq-deadline for SATA and USB. Worth setting only where something changed it, or to none for disks that ZFS has to itself.
# Risk: Changing it resets nr_requests.
# Source: https://docs.kernel.org/admin-guide/abi-stable.html#abi-sys-block-disk-queue-scheduler
knob_io_scheduler() {
  setting disk '/sys/block/vda/queue/scheduler 536870912 ' none
  side disk '/sys/block/vda/queue/nr_requests 536870912 '
  side disk '/sys/block/vda/queue/wbt_lat_usec 536870912 '
  side disk '/sys/block/vda/queue/iosched/async_depth 536870912 '
}

# How many packets may wait for a CPU.
# Chosen because: you chose it.
# Known: Matters only where /proc/net/softnet_stat counts dropped packets.
# Risk: More delay when it is full.
# Source: https://docs.kernel.org/admin-guide/sysctl/net.html
knob_net_backlog() {
  setting file /proc/sys/net/core/netdev_max_backlog 5000
}

SETTINGS=(vm.swappiness io.scheduler net.backlog) # in the order in which they are set

# --- reading and writing --------------------------------------------------------------------------------------------

warn() { local said="$NAME.sh: $*"; printf '%s\n' "${said//[[:cntrl:]]/?}" >&2; }
die() { warn "$*"; exit 2; }

# open_state VERB: makes the folder of the journals, and waits for another run. It goes again where nothing is in it.
open_state() {
  local tool
  for tool in cat chmod mkdir mv rm rmdir stat sync tail wc; do
    command -v "$tool" >/dev/null || die "there is no $tool in $PATH"
  done
  [ "$EUID" -eq 0 ] || die "$1 needs root"
  while :; do
    (umask 077 && mkdir -p "$STATE" 2>/dev/null)
    if [ ! -d "$STATE" ] || [ -L "$STATE" ] || [ ! -O "$STATE" ]; then die "$STATE is not a folder of root's"; fi
    chmod 700 "$STATE" 2>/dev/null
    trap 'rmdir "$STATE" 2>/dev/null' EXIT
    command -v flock >/dev/null || return 0
    exec 9<"$STATE"
    flock -w 60 9 || die 'another run has been at work for a minute' # at boot, two units start at once
    # The run before may have removed the folder that was waited for.
    if [ "$(stat -c %d:%i - <&9)" = "$(stat -c %d:%i "$STATE" 2>/dev/null)" ]; then return 0; fi
  done
}

# readable_journal: whether there is one to read. It must be root's own: what it names is set, or removed.
readable_journal() {
  if [ ! -e "$JOURNAL" ] && [ ! -L "$JOURNAL" ]; then return 1; fi
  if [ -L "$JOURNAL" ] || [ ! -f "$JOURNAL" ]; then die "$JOURNAL is not a file"; fi
  [ -r "$JOURNAL" ] || return 1
  [ -O "$JOURNAL" ] || die "$JOURNAL is not root's"
  [ "$(wc -c <"$JOURNAL")" -le 10000000 ] || die "$JOURNAL is too long to be a journal"
}

# in_container: by what Docker, Podman, systemd, LXC and Kubernetes leave. Where systemd was booted it knows best: images of
# virtual machines that were made from a container's still have its marks.
in_container() {
  local paths='' variable
  if [ -d /run/systemd/system ] && [ ! -s /run/systemd/container ]; then return 1; fi
  if [ -e /.dockerenv ] || [ -e /run/.containerenv ] || [ -s /run/systemd/container ]; then return 0; fi
  if [ -n "${KUBERNETES_SERVICE_HOST-}" ]; then return 0; fi
  while IFS= read -r -d '' variable; do
    case $variable in container=?*) return 0 ;; esac
  done 2>/dev/null </proc/1/environ
  { IFS= read -r -d '' paths; } 2>/dev/null </proc/self/cgroup
  case $paths in *kubepods* | *libpod* | *docker* | *lxc* | *containerd*) return 0 ;; esac
  return 1
}

# get KIND PLACE: VALUE is what it is now. Status 1: not here; 2: unknown, WHY says why; 3: it cannot be read
get() { VALUE='' WHY=''; "get_$1" "$2"; }
# put KIND PLACE VALUE. WHY may say why it was refused. Where a value cannot be read, status 124: nobody knows whether it
# was, 125: it was not tried, 3: it is not offered here
put() { WHY=; "put_$1" "$2" "$3"; }
# has FUNCTION: some kinds have one of this name
has() { declare -F "$1" >/dev/null; }

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

get_file() {
  local line=
  if ! { IFS= read -r line <"$1" || [ -n "$line" ]; } 2>/dev/null; then
    if [ -e "$1" ]; then return 2; else return 1; fi
  fi
  case $line in *'['*']'*) line=${line#*'['} line=${line%%']'*} ;; esac # always [madvise] never
  line=${line//$'\t'/ }
  VALUE=${line%"${line##*[! ]}"}
}

put_file() { { printf '%s\n' "$2" >"$1"; } 2>/dev/null; }

# overriding PLACE VALUE: FILE is the one of somebody else that sets this place to this value at boot
overriding() {
  FILE=
  set -- "${1%% *}" "$2" # of a disk's place, the file
  case $1 in
    /proc/sys/*) in_sysctls "${1#/proc/sys/}" "$2" ;;
    /sys/block/*) says "ATTR{${1#/sys/block/*/}}=\"$2\"" /{etc,run,usr/lib}/udev/rules.d/*.rules ;;
    /sys/module/*) says " ${1##*/}=$2 " /{etc,run,usr/lib}/modprobe.d/*.conf ;;
    /sys/*) says " $1 - - - - $2 " /{etc,run,usr/lib}/tmpfiles.d/*.conf ;;
  esac
  [ -n "$FILE" ]
}

in_sysctls() {
  local key=${1//\//.} name value file words
  for file in /{etc,run,usr/local/lib,usr/lib}/sysctl.d/*.conf /etc/sysctl.conf; do
    if ! theirs "$file"; then continue; fi
    while IFS='=' read -r name value || [ -n "$name" ]; do
      name=${name//[[:space:]]/} name=${name#-}
      if [ "${name//\//.}" = "$key" ]; then
        read -ra words <<<"$value"
        if [ "${words[*]-}" = "$2" ]; then FILE=$file; fi
      fi
    done <"$file"
  done
}

# says TEXT FILE...: those that have this in a line, with single blanks
says() {
  local text=$1 file words
  shift
  for file; do
    if ! theirs "$file"; then continue; fi
    while read -ra words || [ "${#words[@]}" -gt 0 ]; do
      case " ${words[*]-} " in ' #'*) ;; *"$text"*) FILE=$file ;; esac
    done <"$file"
  done
}
theirs() { case ${1##*/} in *hwdiag*) return 1 ;; esac; [ -r "$1" ]; }

# slower_than MICROSECONDS FILE: whether waking up from this idle state takes longer
slower_than() { get_file "$2" && [ "$VALUE" -gt "$1" ] 2>/dev/null; }

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

get_pool() { VALUE=$(zpool get -H -o value "${1##* }" "${1% *}" 2>/dev/null); [ -n "$VALUE" ] || return 1; }
put_pool() { zpool set "${1##* }=$2" "${1% *}" 2>/dev/null; }

# is-enabled looks at the links; a unit's property UnitFileState stays what it was until systemd loads all units again
get_unit() {
  VALUE=$(systemctl is-enabled -- "$1" 2>/dev/null)
  case $VALUE in enabled | disabled) ;; '') return 2 ;; *) return 1 ;; esac
}
# systemd need not load all units again for that: the next boot looks at what is enabled
put_unit() {
  case $2 in enabled | disabled) systemctl -q --no-reload --now "${2%d}" -- "$1" ;; *) return 1 ;; esac
}
get_active() { if systemctl -q is-active -- "$1"; then VALUE=active; else VALUE=inactive; fi; }
put_active() { if [ "$2" = active ]; then systemctl start -- "$1"; else systemctl stop -- "$1"; fi; }


# --- which settings -------------------------------------------------------------------------------------------------

KNOB=() KIND=() PLACE=() WANTED=() SIDE=() LASTS=()

setting() {
  VALUE=$3
  if has "want_$1"; then "want_$1" "$2" "$3"; fi # what is wanted of a part, in terms of the whole
  add "$1" "$2" "$VALUE" no "${4:-no}"
}
side() {
  case $1 in file | disk) if [ ! -e "${2%% *}" ]; then return; fi ;; esac
  add "$1" "$2" '' yes "${3:-no}"
}
add() {
  local n=${#PLACE[@]}
  KNOB[n]=$CURRENT KIND[n]=$1 PLACE[n]=$2 WANTED[n]=$3 SIDE[n]=$4 LASTS[n]=$5
}

collect() {
  local CURRENT
  for CURRENT in "${SETTINGS[@]}"; do
    case ,$ONLY, in ,, | *,"$CURRENT",*) "knob_${CURRENT//./_}" ;; esac
  done
}

# --- the journal ----------------------------------------------------------------------------------------------------
# was|KIND|PLACE|BEFORE|REQUESTED|LASTS|BOOT|TIME|.   written and synced before a change; LASTS: outlives a reboot
# set|KIND|PLACE|READ BACK||LASTS|BOOT|TIME|.         after it
# no|KIND|PLACE|REQUESTED||lasts|BOOT|TIME|.          it was refused, where it cannot be read back: nothing to undo
# void|KIND|PLACE||||BOOT|TIME|.                      it was not tried after all: nothing to undo
# mine|KIND|PLACE||||BOOT|TIME|.                      undo has begun to put it back
# A line that does not end in |. was cut off, and what it announces never happened.

declare -A BEFORE=() AFTER=() MEANT=() MINE=() OUTLASTS=() LIVE=() SEEN=() HOW=() REFUSED=() VOID=()
ORDER=() GONE=0 AGAIN=0 STALE=no FOREIGN=0 TORN=no BOOT=
{ read -r BOOT </proc/sys/kernel/random/boot_id; } 2>/dev/null
printf -v NOW '%(%Y-%m-%dT%H:%M:%SZ)T' -1

# fits KIND PLACE VALUE: whether hwdiag sets such a place. Other lines of a journal are not touched.
fits() {
  if [[ ! $1 =~ ^[a-z]+$ ]] || [[ $3 == -* && ! $3 =~ ^-[0-9]+$ ]]; then return 1; fi
  case "$1 $2" in
    *[[:cntrl:]]* | */../*) return 1 ;;
    'file /sys/devices/system/cpu/cpufreq/policy'*/scaling_governor) ;;
    'file /sys/devices/system/cpu/cpufreq/policy'*/energy_performance_preference) ;;
    'file /sys/devices/system/cpu/cpu'*/cpufreq/scaling_governor) ;;
    'file /sys/devices/system/cpu/cpu'*/cpufreq/energy_performance_preference) ;;
    'file /sys/devices/system/cpu/cpufreq/boost') ;;
    'file /sys/devices/system/cpu/intel_pstate/no_turbo') ;;
    'file /sys/devices/system/cpu/cpu'*/cpuidle/state*/disable) ;;
    'file /proc/sys/vm/swappiness') ;;
    'file /proc/sys/vm/vfs_cache_pressure') ;;
    'file /proc/sys/vm/dirty_bytes') ;;
    'file /proc/sys/vm/dirty_ratio') ;;
    'file /proc/sys/vm/dirty_background_bytes') ;;
    'file /proc/sys/vm/dirty_background_ratio') ;;
    'file /sys/kernel/mm/transparent_hugepage/enabled') ;;
    'file /sys/kernel/mm/transparent_hugepage/defrag') ;;
    'file /proc/sys/vm/zone_reclaim_mode') ;;
    'file /proc/sys/kernel/numa_balancing') ;;
    'file /proc/sys/vm/overcommit_memory') ;;
    'file /proc/sys/vm/nr_hugepages') ;;
    'disk /sys/block/'*'/queue/scheduler '*) ;;
    'disk /sys/block/'*'/queue/nr_requests '*) ;;
    'disk /sys/block/'*'/queue/wbt_lat_usec '*) ;;
    'disk /sys/block/'*'/queue/iosched/async_depth '*) ;;
    'disk /sys/block/'*'/queue/read_ahead_kb '*) ;;
    'mount /'*) ;;
    'unit fstrim.timer') ;;
    'active fstrim.timer') ;;
    'file /sys/module/zfs/parameters/zfs_arc_max') ;;
    'file /sys/module/zfs/parameters/zfs_prefetch_disable') ;;
    'pool '[A-Za-z0-9]*' autotrim') ;;
    'file /proc/sys/net/core/rmem_max') ;;
    'file /proc/sys/net/core/wmem_max') ;;
    'file /proc/sys/net/ipv4/tcp_rmem') ;;
    'file /proc/sys/net/ipv4/tcp_wmem') ;;
    'file /proc/sys/net/ipv4/tcp_slow_start_after_idle') ;;
    'file /proc/sys/net/core/netdev_max_backlog') ;;
    *) return 1 ;;
  esac
}

encode() {
  CODE=${1//%/%25} CODE=${CODE//|/%7C} CODE=${CODE//$'\n'/%0A}
}
decode() {
  TEXT=${1//%0A/$'\n'} TEXT=${TEXT//%7C/|} TEXT=${TEXT//%25/%}
}

# line EVENT KIND PLACE VALUE REQUESTED LASTS: adds to LINES
line() {
  local place=$3 value=$4 requested=$5
  case $3$4$5 in
    *[%\|$'\n']*)
      encode "$3"; place=$CODE
      encode "$4"; value=$CODE
      encode "$5"; requested=$CODE
      ;;
  esac
  LINES+="$1|$2|$place|$value|$requested|$6|$BOOT|$NOW|."$'\n'
}

write_lines() {
  local lines=$LINES
  LINES=
  if [ -z "$lines" ] || { printf '%s' "$lines" >>"$JOURNAL"; } 2>/dev/null; then return; fi
  [ "$VERB" = undo ] || die "cannot write to $JOURNAL: nothing more is changed"
  warn "cannot write to $JOURNAL: put back all the same; if that is interrupted, run undo again"
}
sync_state() { sync "$JOURNAL" "$STATE" 2>/dev/null || sync; }

load() {
  local event='' kind place value requested lasts boot end key
  readable_journal || return 0
  while IFS='|' read -r event kind place value requested lasts boot _ end; do
    [ "$end" = . ] || continue
    decode "$place"; place=$TEXT
    decode "$requested"; requested=$TEXT
    decode "$value"
    if ! fits "$kind" "$place" "$TEXT"; then
      if [ "$FOREIGN" -lt 5 ]; then warn "$JOURNAL names what hwdiag never sets: ${kind:0:20} ${place:0:200}"; fi
      FOREIGN=$((FOREIGN + 1))
      continue
    fi
    key="$kind $place"
    case $event in
      was)
        if [ -z "${BEFORE[$key]+x}" ]; then
          ORDER+=("$key") BEFORE[$key]=$TEXT MEANT[$key]=$requested OUTLASTS[$key]=$lasts
        fi
        VOID[$key]=no
        ;;
      set) AFTER[$key]=$TEXT MINE[$key]=no VOID[$key]=no REFUSED[$key]= ;;
      no)
        REFUSED[$key]=$TEXT lasts=no
        if [ -z "${AFTER[$key]+x}" ]; then VOID[$key]=yes; fi
        ;;
      void) if [ -z "${AFTER[$key]+x}" ]; then VOID[$key]=yes; fi ;;
      mine) MINE[$key]=yes ;;
    esac
    if [ "$boot" = "$BOOT" ] || [ "$lasts" = lasts ]; then LIVE[$key]=yes; fi
  done <"$JOURNAL"
  if [ -n "$event" ]; then TORN=yes; fi
  drop_gone
}

# What was set before the last boot is gone, unless something set it again, as what make_persistent.sh installs does.
drop_gone() {
  local key meant i kept=() were=() set_to=() mine=()
  for key in ${ORDER[@]+"${ORDER[@]}"}; do
    meant=${AFTER[$key]-${MEANT[$key]}}
    if [ -z "${LIVE[$key]-}" ]; then
      STALE=yes
      if ! get "${key%% *}" "${key#* }" || [ "$VALUE" != "$meant" ] || [ "$VALUE" = "${BEFORE[$key]}" ]; then
        if [ "${VOID[$key]-no}" = yes ]; then continue; fi
        if [ -n "$meant" ] && [ "$meant" != "${BEFORE[$key]}" ]; then GONE=$((GONE + 1)); fi
        continue
      fi
      AGAIN=$((AGAIN + 1)) AFTER[$key]=$meant MINE[$key]=no
    fi
    kept+=("$key") were+=("${BEFORE[$key]}") set_to+=("${AFTER[$key]+x}${AFTER[$key]-}") mine+=("${MINE[$key]-no}")
  done
  [ "$STALE" = yes ] || return 0
  ORDER=(${kept[@]+"${kept[@]}"}) BEFORE=() AFTER=() MINE=() # unset would expand what is in a key
  for i in "${!ORDER[@]}"; do
    key=${ORDER[i]}
    BEFORE[$key]=${were[i]} MINE[$key]=${mine[i]}
    if [ -n "${set_to[i]}" ]; then AFTER[$key]=${set_to[i]#x}; fi
  done
}

prepare() {
  [ -n "$BOOT" ] || die 'cannot read /proc/sys/kernel/random/boot_id'
  open_state "$1"
  load
  # A last line that a power cut left unfinished must not swallow the next one.
  if [ "$TORN" = yes ]; then printf '\n' 2>/dev/null >>"$JOURNAL"; fi
}

# --- what it can do -------------------------------------------------------------------------------------------------

# A line of a table, without the control characters that text from outside may hold
row() {
  local place=$4
  case $place in /sys/block/*) place=${place%% *} ;; esac # not the disk's sectors and model
  set -- "$1" "$2" "$3" "$place" "$5"
  printf '%-24s %-22s %-22s %-44s %s\n' "${@//[[:cntrl:]]/?}"
}

apply() {
  local i key status failed=0 changed=0 unavailable=0 note
  local -a found=() now=() refused=() words=()
  local -A disturbed=()
  prepare apply
  collect
  if in_container; then warn "this is a container: its end takes $JOURNAL with it, so undo before that"; fi
  if [ "$GONE" -gt 0 ]; then
    printf '%s settings of an earlier boot were gone by themselves: their journal entries are dropped\n' "$GONE"
  fi
  rewrite_if_stale
  for i in "${!PLACE[@]}"; do
    key="${KIND[i]} ${PLACE[i]}"
    get "${KIND[i]}" "${PLACE[i]}"
    status=$?
    if [ "$status" -eq 3 ]; then VALUE=default; fi
    found[i]=$status now[i]=$VALUE
    if [ "${SIDE[i]}" = yes ]; then disturbed[$key]=yes; fi
    # What was there before the first apply stays written down.
    if [ -n "${BEFORE[$key]+x}" ] && [ "${VOID[$key]-no}" = no ]; then continue; fi
    if [ "$status" -eq 1 ] || [ "$status" -eq 2 ]; then continue; fi
    if [ "${SIDE[i]}" = yes ] || [ "$VALUE" != "${WANTED[i]}" ]; then
      line was "${KIND[i]}" "${PLACE[i]}" "$VALUE" "${WANTED[i]}" "${LASTS[i]}"
      BEFORE[$key]=$VALUE VOID[$key]=no ORDER+=("$key")
    fi
  done
  if [ -n "$LINES" ]; then
    write_lines
    sync_state # before anything is changed
  fi
  for i in "${!PLACE[@]}"; do
    key="${KIND[i]} ${PLACE[i]}"
    case "${SIDE[i]}${found[i]}" in no0 | no3) ;; *) continue ;; esac
    VALUE=${now[i]}
    if [ -n "${disturbed[$key]+x}" ]; then get "${KIND[i]}" "${PLACE[i]}"; fi # an earlier one may have changed it
    if [ "$VALUE" = "${WANTED[i]}" ]; then continue; fi
    put "${KIND[i]}" "${PLACE[i]}" "${WANTED[i]}"
    case $? in 0) ;; 124) refused[i]=perhaps words[i]=${WHY-} ;; 125) refused[i]=untried words[i]=${WHY-} ;; *) refused[i]=yes words[i]=${WHY-} ;; esac
  done
  # Only what reads back now, after all of them, counts.
  for i in "${!PLACE[@]}"; do
    key="${KIND[i]} ${PLACE[i]}"
    get "${KIND[i]}" "${PLACE[i]}"
    status=$?
    if [ "$status" -eq 3 ]; then VALUE=${WANTED[i]}; fi
    if [ "$status" -eq 3 ] && [ "${refused[i]-}" = yes ]; then
      line no "${KIND[i]}" "${PLACE[i]}" "${WANTED[i]}" '' lasts
    elif [ "$status" -eq 3 ] && [ "${refused[i]-}" = perhaps ]; then
      : # undo resets it
    elif [ "$status" -eq 3 ] && [ "${refused[i]-}" = untried ]; then
      line void "${KIND[i]}" "${PLACE[i]}" '' '' "${LASTS[i]}"
    elif [ -n "${BEFORE[$key]+x}" ] && { [ "$status" -eq 0 ] || [ "$status" -eq 3 ]; }; then
      if [ "${AFTER[$key]-}" != "$VALUE" ] || [ "${MINE[$key]-yes}" = yes ]; then # not the same again and again
        line 'set' "${KIND[i]}" "${PLACE[i]}" "$VALUE" '' "${LASTS[i]}"
      fi
    fi
    if [ "${SIDE[i]}" = yes ]; then continue; fi
    case $status in
      0)
        if [ "$VALUE" = "${WANTED[i]}" ]; then
          if [ "$VALUE" = "${now[i]}" ]; then continue; fi
          note='set' changed=$((changed + 1))
        elif [ "${found[i]}" -ne 0 ]; then
          note='not set: its value was not known before'
        elif [ -n "${refused[i]-}" ]; then
          note="refused${words[i]:+: ${words[i]}}"
        else
          note="clamped: asked ${WANTED[i]}"
        fi
        ;;
      1) note=unsupported VALUE='?' ;;
      2) note=${WHY:+unknown: $WHY}; note=${note:-denied} VALUE='?' ;;
      3)
        case ${refused[i]-} in
          '') note='asked for; it cannot be read back' ;;
          perhaps | untried) note="unknown: ${words[i]}" VALUE='?' ;;
          *) note="refused: ${words[i]}" VALUE='?' ;;
        esac
        if [ "${refused[i]-}" = yes ] && [ "${REFUSED[$key]-}" = "${WANTED[i]}" ]; then note="still $note"; fi
        ;;
    esac
    case $note in
      'still refused'*) unavailable=$((unavailable + 1)) ;;
      refused* | clamped* | not\ set* | unsupported | denied | unknown*) failed=$((failed + 1)) ;;
    esac
    if [ "$status" -eq 3 ]; then now[i]='?'; fi
    row "${KNOB[i]}" "${now[i]:-?}" "$VALUE" "${PLACE[i]}" "$note"
  done
  write_lines
  if [ "$failed" -gt 0 ]; then
    printf '%s changed; not all is as wanted: see above, or status\n' "$changed"
    return 1
  fi
  if [ "$unavailable" -gt 0 ]; then
    printf '%s changed; %s refused as at an earlier apply, the rest is as wanted\n' "$changed" "$unavailable"
    return 3
  fi
  printf '%s changed; all that can be read back is as wanted\n' "$changed"
}

# Entries of an earlier boot are of no use any more; the others are kept, as of this boot.
rewrite_if_stale() {
  local key
  [ "$STALE" = yes ] || return 0
  for key in "${!REFUSED[@]}"; do
    if [ -n "${REFUSED[$key]}" ]; then line no "${key%% *}" "${key#* }" "${REFUSED[$key]}" '' lasts; fi
  done
  for key in ${ORDER[@]+"${ORDER[@]}"}; do
    if [ "${VOID[$key]-no}" = yes ]; then continue; fi
    line was "${key%% *}" "${key#* }" "${BEFORE[$key]}" "${MEANT[$key]}" "${OUTLASTS[$key]}"
    if [ -n "${AFTER[$key]+x}" ]; then line 'set' "${key%% *}" "${key#* }" "${AFTER[$key]}" '' "${OUTLASTS[$key]}"; fi
  done
  rm -f "$JOURNAL.new"
  if ! (set -C; printf '%s' "$LINES" >"$JOURNAL.new") 2>/dev/null; then die "cannot write to $JOURNAL.new"; fi
  sync "$JOURNAL.new" 2>/dev/null || sync
  mv -f "$JOURNAL.new" "$JOURNAL" || die "cannot write to $JOURNAL"
  LINES=
  sync_state
}

undo() {
  local i key kind place pass put left=0 failed=0 restored=0 work=()
  local -A differed=() refused=() never=()
  prepare undo
  if [ "$GONE" -gt 0 ]; then
    printf '%s settings were gone by themselves: this host was started again since they were set\n' "$GONE"
  fi
  if [ "$AGAIN" -gt 0 ]; then
    printf '%s settings of an earlier boot are in force again: something sets them at each boot' "$AGAIN"
    printf ' (what make_persistent.sh installed, it also uninstalls)\n'
  fi
  LINES=
  for key in ${ORDER[@]+"${ORDER[@]}"}; do
    kind=${key%% *} place=${key#* }
    if [ "${VOID[$key]-no}" = yes ]; then continue; fi
    look "$key"
    case ${HOW[$key]} in
      0 | 1) ;; # what is not here may come back with another setting, as a scheduler's own do
      3) SEEN[$key]=${AFTER[$key]-unknown} ;; # it cannot be read: put back what the driver does by default
      *) row '' "${BEFORE[$key]}" '?' "$place" "${WHY:-denied}"; failed=$((failed + 1)); continue ;;
    esac
    if [ "${HOW[$key]}" -eq 1 ] || [ "${SEEN[$key]}" = "${BEFORE[$key]}" ]; then
      : # yet putting back another one may change it
    elif [ -n "${AFTER[$key]+x}" ] && [ "${SEEN[$key]}" != "${AFTER[$key]}" ] && [ "${MINE[$key]-no}" = no ]; then
      row '' "${BEFORE[$key]}" "${SEEN[$key]}" "$place" "changed since by somebody, left alone (was set to ${AFTER[$key]})"
      left=$((left + 1))
      continue
    else
      differed[$key]=yes
    fi
    work+=("$key")
    line mine "$kind" "$place" '' '' "${OUTLASTS[$key]-no}"
  done
  write_lines
  # In reverse order. A setting may reset another (a scheduler its queue's length), which another round puts right.
  for pass in 1 2 3; do
    put=no
    for ((i = ${#work[@]} - 1; i >= 0; i--)); do
      key=${work[i]} kind=${key%% *} place=${key#* }
      if [ "$pass" -gt 1 ]; then look "$key"; fi
      case ${HOW[$key]} in 1 | 2) continue ;; 3) if [ "$pass" -gt 1 ]; then continue; fi ;; esac
      if [ "${SEEN[$key]}" = "${BEFORE[$key]}" ]; then continue; fi
      put=yes
      refused[$key]=
      put "$kind" "$place" "${BEFORE[$key]}" 2>/dev/null
      case $?:${AFTER[$key]-} in
        0:*) ;;
        3:) never[$key]=yes ;; # nobody knew whether it was set: what is not offered was not
        *) refused[$key]="refused${WHY:+: $WHY}" ;;
      esac
      if [ "$pass" -eq 2 ] && has "reset_$kind"; then "reset_$kind" "$place" "${BEFORE[$key]}"; fi
    done
    if [ "$put" = no ]; then break; fi
  done
  for key in ${work[@]+"${work[@]}"}; do
    place=${key#* }
    if [ "$put" = yes ]; then look "$key"; fi
    case ${HOW[$key]} in
      3)
        if [ -n "${refused[$key]-}" ]; then
          row '' default '?' "$place" "could not be reset: ${refused[$key]}"
          failed=$((failed + 1))
        elif [ -n "${never[$key]-}" ]; then
          row '' default '?' "$place" 'nothing to reset: it is not offered here'
        else
          row '' default '?' "$place" 'reset to the default; it cannot be read back'
        fi
        continue
        ;;
      1) row '' "${BEFORE[$key]}" '?' "$place" 'not here any more'; continue ;;
    esac
    if [ "${SEEN[$key]}" != "${BEFORE[$key]}" ]; then
      row '' "${BEFORE[$key]}" "${SEEN[$key]:-?}" "$place" "could not be restored${refused[$key]:+: ${refused[$key]}}"
      failed=$((failed + 1))
    elif [ -n "${differed[$key]+x}" ]; then
      row '' "${BEFORE[$key]}" "${SEEN[$key]}" "$place" restored
      restored=$((restored + 1))
    fi
  done
  if [ "$failed" -gt 0 ]; then
    printf '%s restored, %s could not be: the journal is kept, run undo again\n' "$restored" "$failed"
    return 1
  fi
  if [ "$FOREIGN" -gt 0 ]; then
    printf '%s restored; %s lines of the journal are of something else: left alone, and the journal is kept\n' \
      "$restored" "$FOREIGN"
    return 1
  fi
  if ! rm -f "$JOURNAL" "$JOURNAL.new"; then
    printf '%s restored, %s left alone; %s could not be removed: run undo again\n' "$restored" "$left" "$JOURNAL"
    return 1
  fi
  sync "$STATE" 2>/dev/null
  printf '%s restored, %s left alone; nothing more to undo\n' "$restored" "$left"
}

# look KEY: what is SEEN there now, and the status of HOW it was read
look() {
  get "${1%% *}" "${1#* }"
  HOW[$1]=$? SEEN[$1]=$VALUE
}

status() {
  local i key state how worst=0
  load
  collect
  row Setting Now Wanted Where State
  for i in "${!PLACE[@]}"; do
    if [ "${SIDE[i]}" = yes ]; then continue; fi
    key="${KIND[i]} ${PLACE[i]}"
    get "${KIND[i]}" "${PLACE[i]}"
    case $? in
      0)
        if [ "$VALUE" = "${WANTED[i]}" ]; then
          state='as wanted'
        else
          state='not applied'
          if [ -n "${AFTER[$key]+x}" ]; then state=drifted; fi
          if overriding "${PLACE[i]}" "$VALUE"; then state="overridden by $FILE"; fi
          worst=1
        fi
        ;;
      1) state=unsupported worst=1 VALUE='?' ;;
      2) state=${WHY:+unknown: $WHY}; state=${state:-denied} VALUE='?'; if [ "$worst" -eq 0 ]; then worst=2; fi ;;
      3)
        state='cannot be read' how=2
        if [ "${REFUSED[$key]-}" = "${WANTED[i]}" ] && [ "${AFTER[$key]-}" != "${WANTED[i]}" ]; then
          state='refused when it was asked for' how=1
        elif [ "${AFTER[$key]-}" = "${WANTED[i]}" ] && [ "${MINE[$key]-no}" = no ]; then
          "held_${KIND[i]}" "${PLACE[i]}" "${WANTED[i]}"
          how=$? state=$WHY
        fi
        VALUE='?'
        if [ "$how" -eq 1 ] || [ "$worst" -eq 0 ]; then worst=$how; fi
        ;;
    esac
    row "${KNOB[i]}" "$VALUE" "${WANTED[i]}" "${PLACE[i]}" "$state"
  done
  return "$worst"
}

differences() {
  local i key changes=0
  load
  collect
  for i in "${!PLACE[@]}"; do
    if [ "${SIDE[i]}" = yes ]; then continue; fi
    get "${KIND[i]}" "${PLACE[i]}"
    case $? in
      0) if [ "$VALUE" = "${WANTED[i]}" ]; then continue; fi ;;
      1) VALUE='(not here)' ;;
      2) VALUE='(denied)' ;;
      3)
        key="${KIND[i]} ${PLACE[i]}"
        # Asked for since boot; or refused before, and apply would change nothing.
        if [ "${AFTER[$key]-}" = "${WANTED[i]}" ] || [ "${REFUSED[$key]-}" = "${WANTED[i]}" ]; then continue; fi
        VALUE='(not reported)'
        ;;
    esac
    if [ "$changes" -eq 0 ]; then row Setting Now 'Will be' Where ''; fi
    row "${KNOB[i]}" "$VALUE" "${WANTED[i]}" "${PLACE[i]}" ''
    changes=$((changes + 1))
  done
  [ "$changes" -eq 0 ]
}

# Distinguishes the host that this was made for from another one. Empty: not known, and so not compared.
ARCH=x86_64
MACHINE=9624f557e621290b5b65ae7d24eb5eedec00d3db63295315efed12efa96e9f4d # SHA-256 of "hwdiag:" and /etc/machine-id, which a cloned disk has too
CPU='AMD EPYC'
FAMILY=25/17/1
SOCKETS=1
CORES=2
THREADS=2
NODES=1
MEMORY_KIB=24684084
PRODUCT=''

# first_line FILE: TOLD is its first line with single spaces, empty where it cannot be read
first_line() {
  TOLD=
  { IFS= read -r TOLD || true; } 2>/dev/null <"$1" || true
  TOLD=${TOLD//$'\t'/ }
  while [[ $TOLD == *'  '* ]]; do TOLD=${TOLD//  / }; done
  TOLD=${TOLD# } TOLD=${TOLD% }
}

# other NAME THERE HERE: notes a difference where both are known
other() {
  if [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ]; then DIFFERENCE+="${DIFFERENCE:+, }$1 $3 instead of $2"; fi
}

machine_here() { # sets TOLD
  local id=
  first_line /etc/machine-id
  if [ -n "$TOLD" ]; then id=$(printf 'hwdiag:%s' "$TOLD" | sha256sum); fi
  TOLD=${id%% *}
}

cpu_here() { # sets TOLD to the model's name, and STEPPING to family/model/stepping or implementer/part, of the first CPU
  local first second third rest family='' model='' stepping='' implementer=''
  TOLD='' STEPPING=''
  while read -r first second third rest; do
    case "$first $second" in
      'model name') TOLD=$rest ;;
      'cpu family') family=$rest ;;
      'model :') model=$third ;;
      'stepping :') stepping=$third ;;
      'CPU implementer') implementer=$rest ;;
      'CPU part') STEPPING=$implementer/$rest ;;
      ' ') if [ -n "$TOLD$STEPPING" ]; then break; fi ;;
    esac
  done 2>/dev/null </proc/cpuinfo || true
  if [ -n "$family" ]; then STEPPING=$family/$model/$stepping; fi
  while [[ $TOLD == *'  '* ]]; do TOLD=${TOLD//  / }; done
}

topology_here() { # sets sockets and cores (both empty where CPUs are offline), threads and nodes
  local cpu node part online=0
  local -A known=()
  sockets=0 cores=0 threads=0 nodes=0
  for cpu in /sys/devices/system/cpu/cpu[0-9]*/topology; do
    online=$((online + 1))
    first_line "$cpu/physical_package_id"
    if [ -z "${known["socket $TOLD"]-}" ]; then known["socket $TOLD"]=1 sockets=$((sockets + 1)); fi
    first_line "$cpu/core_cpus_list"
    if [ -z "$TOLD" ]; then first_line "$cpu/thread_siblings_list"; fi
    if [ -z "${known["core $TOLD"]-}" ]; then known["core $TOLD"]=1 cores=$((cores + 1)); fi
  done
  if [ -n "${known["socket "]-}${known["core "]-}" ]; then online=0; fi # one that does not say
  first_line /sys/devices/system/cpu/present
  for part in ${TOLD//,/ }; do
    threads=$((threads + ${part#*-} - ${part%-*} + 1))
  done
  if [ "$threads" -ne "$online" ] || [ "$online" -eq 0 ]; then sockets='' cores=''; fi
  if [ "$threads" -eq 0 ]; then threads=''; fi
  for node in /sys/devices/system/node/node[0-9]*; do
    first_line "$node/cpumap"
    if [ -n "${TOLD//[0,]/}" ]; then nodes=$((nodes + 1)); fi
  done
  if [ "$nodes" -eq 0 ]; then nodes=1; fi
}

product_here() { # sets TOLD: PRODUCT itself where one of the names that firmware gives is in it
  local file named=''
  for file in /sys/class/dmi/id/product_name /sys/class/dmi/id/board_name /proc/device-tree/model; do
    first_line "$file" # the device tree's ends with a NUL
    if [ -n "$TOLD" ]; then
      if [[ $PRODUCT == *"$TOLD"* ]]; then
        TOLD=$PRODUCT
        return
      fi
      named=${named:-$TOLD}
    fi
  done
  TOLD=$named
}

# hardware_differs: DIFFERENCE says in what this host is another one; status 1 where it is in nothing
hardware_differs() {
  local STEPPING TOLD sockets cores threads nodes apart
  DIFFERENCE=
  cpu_here
  other 'the CPU' "$CPU" "$TOLD"
  if [ "$FAMILY" != "$STEPPING" ] && [[ $FAMILY != "$STEPPING",* ]]; then other 'CPU family' "$FAMILY" "$STEPPING"; fi
  topology_here
  other sockets "$SOCKETS" "$sockets"
  other cores "$CORES" "$cores"
  other CPUs "$THREADS" "$threads"
  other 'NUMA nodes' "$NODES" "$nodes"
  first_line /proc/meminfo
  TOLD=${TOLD#MemTotal: } TOLD=${TOLD%% *}
  if [[ $TOLD$MEMORY_KIB =~ ^[0-9]+$ ]] && [ -n "$TOLD" ] && [ -n "$MEMORY_KIB" ]; then
    apart=$((TOLD > MEMORY_KIB ? TOLD - MEMORY_KIB : MEMORY_KIB - TOLD))
    # kernels reserve more or less of it from boot to boot
    if [ $((apart * 10)) -gt $((TOLD > MEMORY_KIB ? TOLD : MEMORY_KIB)) ]; then
      other 'MiB of memory' $((MEMORY_KIB / 1024)) $((TOLD / 1024))
    fi
  fi
  product_here
  other 'the product' "$PRODUCT" "$TOLD"
  [ -n "$DIFFERENCE" ]
}

# On another machine these settings were not asked for, and names of devices mean something else.
require_host() {
  local machine='' DIFFERENCE='' why=''
  command -v sha256sum >/dev/null || die "cannot tell this host from another: there is no sha256sum in $PATH"
  machine_here
  machine=$TOLD
  if hardware_differs; then why=" (here: $DIFFERENCE)"; fi
  if [ -n "$MACHINE" ] && [ "$machine" = "$MACHINE" ] && [ -z "$DIFFERENCE" ]; then return; fi
  if [ "$FORCE" = yes ]; then
    warn "forced: made for $HOST_NAME ($ARCH)$why"
  elif [ -z "$MACHINE" ]; then
    die "made from a snapshot that does not name its machine: if this is $HOST_NAME ($ARCH), run it with --force$why"
  else
    die "made for $HOST_NAME ($ARCH), not for this host; --force runs it all the same$why"
  fi
}

VERB='' ONLY='' FORCE=no LINES=''
while [ $# -gt 0 ]; do
  case $1 in
    apply | status | diff | undo) if [ -n "$VERB" ]; then die "one of apply, status, diff, undo"; fi; VERB=$1 ;;
    --only) ONLY=${2-}; if [ -z "$ONLY" ]; then die '--only takes names of settings'; fi; shift ;;
    --force) FORCE=yes ;;
    --help | -h) usage; exit 0 ;;
    *) die "unknown argument $1 (allowed: apply, status, diff, undo, --only, --force, --help)" ;;
  esac
  shift
done
if [ -z "$VERB" ]; then usage >&2; exit 2; fi
IFS=, read -ra asked <<<"$ONLY"
for one in ${asked[@]+"${asked[@]}"}; do
  case " ${SETTINGS[*]} " in *" $one "*) ;; *) die "there is no setting $one here" ;; esac
done
require_host
case $VERB in
  apply) apply ;;
  status) status ;;
  diff) differences ;;
  undo) undo ;;
esac
