#!/usr/bin/env bash
# Settings of vm, chosen with hwdiag 0.1.0 (2026-11-28T14:30:07Z).
# It sets them, shows how they are, and takes them back to exactly what they were. Nothing but bash and coreutils is
# needed. A setting counts as set only when it reads back as asked for.
# Values are data in single quotes, whatever they hold: nothing in them is meant to expand.
# shellcheck disable=SC2016,SC2317,SC2329
set -u # not -e: a setting that fails must not keep the others from being set or undone
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC
umask 077

NAME=system_optimize
HOST_NAME=vm
STATE=/var/lib/hwdiag
JOURNAL=$STATE/$NAME.journal

usage() {
  cat <<'USAGE'
Usage: system_optimize.sh apply|status|diff|undo [--only SETTING[,SETTING...]] [--force]
  apply   set what differs; what was there before is written down first, in /var/lib/hwdiag
  status  a table; exit status 0: all as wanted, 1: not all, 2: could not tell
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
  disk vda 536870912 ''
  setting "$DISK" /sys/block/vda/queue/scheduler none
  side "$DISK" /sys/block/vda/queue/nr_requests
  side "$DISK" /sys/block/vda/queue/wbt_lat_usec
  side "$DISK" /sys/block/vda/queue/iosched/async_depth
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

# get KIND PLACE: VALUE is what it is now. Status 1: not here; 2: may not be read; 3: nothing tells it
get() { VALUE=; "get_$1" "$2"; }
# put KIND PLACE VALUE
put() { "put_$1" "$2" "$3"; }

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

# by_default KIND PLACE VALUE: some values are only a driver's own (a queue shorter than 4 cannot be written); taking
# another scheduler and the first one again brings them back.
by_default() {
  local queue=${2%/*} scheduler other
  get "$1" "$2"
  if [ "$VALUE" = "$3" ] || [ "$1" != file ] || [ "${2##*/}" != nr_requests ]; then return; fi
  get_file "$queue/scheduler" || return
  scheduler=$VALUE other=none
  if [ "$scheduler" = none ]; then other=mq-deadline; fi
  put_file "$queue/scheduler" "$other" && put_file "$queue/scheduler" "$scheduler"
}

# overriding PLACE VALUE: FILE is the one of somebody else that sets this place to this value at boot
overriding() {
  FILE=
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


# --- which settings -------------------------------------------------------------------------------------------------

KNOB=() KIND=() PLACE=() WANTED=() SIDE=() LASTS=()

setting() { add "$1" "$2" "$3" no "${4:-no}"; }
side() { if [ "$1" != file ] || [ -e "$2" ]; then add "$1" "$2" '' yes "${3:-no}"; fi; }
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
# mine|KIND|PLACE||||BOOT|TIME|.                      undo has begun to put it back
# A line that does not end in |. was cut off, and what it announces never happened.

declare -A BEFORE=() AFTER=() MINE=() OUTLASTS=() SEEN=() HOW=()
ORDER=() GONE=0 TORN=no BOOT=
{ read -r BOOT </proc/sys/kernel/random/boot_id; } 2>/dev/null
printf -v NOW '%(%Y-%m-%dT%H:%M:%SZ)T' -1

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
  [ -n "$LINES" ] || return 0
  if ! { printf '%s' "$LINES" >>"$JOURNAL"; } 2>/dev/null; then die "cannot write to $JOURNAL: nothing more is changed"; fi
  LINES=
}
sync_state() { sync "$JOURNAL" "$STATE" 2>/dev/null || sync; }

load() {
  local event='' kind place value lasts boot end key _
  [ -e "$JOURNAL" ] || return 0
  while IFS='|' read -r event kind place value _ lasts boot _ end; do
    [ "$end" = . ] || continue
    if [ "$boot" != "$BOOT" ] && [ "$lasts" != lasts ]; then
      if [ "$event" = was ]; then GONE=$((GONE + 1)); fi
      continue
    fi
    decode "$place"; key="$kind $TEXT"
    decode "$value"
    case $event in
      was) if [ -z "${BEFORE[$key]+x}" ]; then ORDER+=("$key") BEFORE[$key]=$TEXT OUTLASTS[$key]=$lasts; fi ;;
      set) AFTER[$key]=$TEXT MINE[$key]=no ;;
      mine) MINE[$key]=yes ;;
    esac
  done <"$JOURNAL"
  if [ -n "$event" ]; then TORN=yes; fi
}

prepare() {
  [ "$EUID" -eq 0 ] || die "$1 needs root"
  [ -n "$BOOT" ] || die 'cannot read /proc/sys/kernel/random/boot_id'
  [ -d "$STATE" ] || mkdir -p "$STATE"
  if [ ! -d "$STATE" ] || [ -L "$STATE" ] || [ ! -O "$STATE" ]; then die "$STATE is not a folder of root's"; fi
  chmod 700 "$STATE"
  if command -v flock >/dev/null; then
    exec 9>>"$STATE/lock"
    flock -w 60 9 || die 'another run has been at work for a minute' # at boot, two units start at once
  fi
  if [ -L "$JOURNAL" ]; then die "$JOURNAL is a link"; fi
  load
  # A last line that a power cut left unfinished must not swallow the next one.
  if [ "$TORN" = yes ]; then printf '\n' >>"$JOURNAL"; fi
}

# --- what it can do -------------------------------------------------------------------------------------------------

# A line of a table, without the control characters that text from outside may hold
row() { printf '%-24s %-22s %-22s %-44s %s\n' "${@//[[:cntrl:]]/?}"; }

apply() {
  local i key status failed=0 changed=0 note
  local -a found=() now=() refused=()
  local -A disturbed=()
  prepare apply
  collect
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
    if [ -n "${BEFORE[$key]+x}" ] || [ "$status" -eq 1 ] || [ "$status" -eq 2 ]; then continue; fi
    if [ "${SIDE[i]}" = yes ] || [ "$VALUE" != "${WANTED[i]}" ]; then
      line was "${KIND[i]}" "${PLACE[i]}" "$VALUE" "${WANTED[i]}" "${LASTS[i]}"
      BEFORE[$key]=$VALUE ORDER+=("$key")
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
    if ! put "${KIND[i]}" "${PLACE[i]}" "${WANTED[i]}"; then refused[i]=yes; fi
  done
  # Only what reads back now, after all of them, counts.
  for i in "${!PLACE[@]}"; do
    key="${KIND[i]} ${PLACE[i]}"
    get "${KIND[i]}" "${PLACE[i]}"
    status=$?
    if [ "$status" -eq 3 ]; then VALUE=${WANTED[i]}; fi
    if [ -n "${BEFORE[$key]+x}" ] && { [ "$status" -eq 0 ] || [ "$status" -eq 3 ]; }; then
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
        elif [ -n "${refused[i]-}" ]; then
          note=refused
        else
          note="clamped: asked ${WANTED[i]}"
        fi
        ;;
      1) note=unsupported VALUE='?' ;;
      2) note=denied VALUE='?' ;;
      3) note='asked for; nothing tells it back'; if [ -n "${refused[i]-}" ]; then note=refused; fi ;;
    esac
    case $note in refused | clamped* | unsupported | denied) failed=$((failed + 1)) ;; esac
    row "${KNOB[i]}" "${now[i]:-?}" "$VALUE" "${PLACE[i]}" "$note"
  done
  write_lines
  if [ "$failed" -gt 0 ]; then
    printf '%s changed; not all is as wanted: see above, or status\n' "$changed"
    return 1
  fi
  printf '%s changed; all that can be read back is as wanted\n' "$changed"
}

# Entries of an earlier boot are of no use any more; the others are kept.
rewrite_if_stale() {
  local key
  [ "$GONE" -gt 0 ] || return 0
  for key in ${ORDER[@]+"${ORDER[@]}"}; do
    line was "${key%% *}" "${key#* }" "${BEFORE[$key]}" '' "${OUTLASTS[$key]}"
    if [ -n "${AFTER[$key]+x}" ]; then line 'set' "${key%% *}" "${key#* }" "${AFTER[$key]}" '' "${OUTLASTS[$key]}"; fi
  done
  { printf '%s' "$LINES" >"$JOURNAL.new" && mv -f "$JOURNAL.new" "$JOURNAL"; } || die "cannot write to $JOURNAL"
  LINES=
  sync_state
}

undo() {
  local i key kind place pass put left=0 failed=0 restored=0 work=()
  local -A differed=()
  prepare undo
  if [ "$GONE" -gt 0 ]; then
    printf '%s settings were gone by themselves: this host was started again since they were set\n' "$GONE"
  fi
  LINES=
  for key in ${ORDER[@]+"${ORDER[@]}"}; do
    kind=${key%% *} place=${key#* }
    look "$key"
    case ${HOW[$key]} in
      0 | 1) ;; # what is not here may come back with another setting, as a scheduler's own do
      3) SEEN[$key]=${AFTER[$key]-unknown} ;; # nothing tells it: put back what the driver does by default
      *) row '' "${BEFORE[$key]}" '?' "$place" denied; failed=$((failed + 1)); continue ;;
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
  # In reverse order. What one setting resets of another (a scheduler its queue's length) is put right by another round.
  for pass in 1 2 3; do
    put=no
    for ((i = ${#work[@]} - 1; i >= 0; i--)); do
      key=${work[i]} kind=${key%% *} place=${key#* }
      if [ "$pass" -gt 1 ]; then look "$key"; fi
      case ${HOW[$key]} in 1 | 2) continue ;; 3) if [ "$pass" -gt 1 ]; then continue; fi ;; esac
      if [ "${SEEN[$key]}" = "${BEFORE[$key]}" ]; then continue; fi
      put=yes
      put "$kind" "$place" "${BEFORE[$key]}" 2>/dev/null
      if [ "$pass" -eq 2 ]; then by_default "$kind" "$place" "${BEFORE[$key]}"; fi
    done
    if [ "$put" = no ]; then break; fi
  done
  for key in ${work[@]+"${work[@]}"}; do
    place=${key#* }
    if [ "$put" = yes ]; then look "$key"; fi
    case ${HOW[$key]} in
      3) row '' default '?' "$place" 'reset to the default; nothing tells it back'; continue ;;
      1) row '' "${BEFORE[$key]}" '?' "$place" 'not here any more'; continue ;;
    esac
    if [ "${SEEN[$key]}" != "${BEFORE[$key]}" ]; then
      row '' "${BEFORE[$key]}" "${SEEN[$key]}" "$place" 'could not be restored'
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
  rm -f "$JOURNAL" "$JOURNAL.new" && sync "$STATE" 2>/dev/null
  printf '%s restored, %s left alone; nothing more to undo\n' "$restored" "$left"
}

# look KEY: what is SEEN there now, and the status of HOW it was read
look() {
  get "${1%% *}" "${1#* }"
  HOW[$1]=$? SEEN[$1]=$VALUE
}

status() {
  local i key state worst=0
  load 2>/dev/null
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
      2) state=denied VALUE='?'; if [ "$worst" -eq 0 ]; then worst=2; fi ;;
      3) state='nothing tells it' VALUE='?'; if [ "$worst" -eq 0 ]; then worst=2; fi ;;
    esac
    row "${KNOB[i]}" "$VALUE" "${WANTED[i]}" "${PLACE[i]}" "$state"
  done
  return "$worst"
}

differences() {
  local i changes=0
  load 2>/dev/null
  collect
  for i in "${!PLACE[@]}"; do
    if [ "${SIDE[i]}" = yes ]; then continue; fi
    get "${KIND[i]}" "${PLACE[i]}"
    case $? in
      0) if [ "$VALUE" = "${WANTED[i]}" ]; then continue; fi ;;
      1) VALUE='(not here)' ;;
      2) VALUE='(denied)' ;;
      3) if [ "${AFTER["${KIND[i]} ${PLACE[i]}"]-}" = "${WANTED[i]}" ]; then continue; fi; VALUE='(not told)' ;;
    esac
    if [ "$changes" -eq 0 ]; then row Setting Now 'Will be' Where ''; fi
    row "${KNOB[i]}" "$VALUE" "${WANTED[i]}" "${PLACE[i]}" ''
    changes=$((changes + 1))
  done
  [ "$changes" -eq 0 ]
}

# What tells the host that this was made for from another one. Empty: not known, and so not compared.
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
  if [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ]; then DIFFERENCE+="${DIFFERENCE:+, }$1 $3 in place of $2"; fi
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
  if [ -n "${known["socket "]-}${known["core "]-}" ]; then online=0; fi # one that does not tell
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
