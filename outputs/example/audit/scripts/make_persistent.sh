#!/bin/bash
# Keeps settings of vm over a reboot, chosen with hwdiag 0.1.0 (2026-11-28T14:30:07Z).
# It writes files of its own names only, and enables its own units; uninstall removes exactly those. What is set now is
# not changed: that is for system_optimize.sh and gpu_optimize.sh, which must lie beside this file where units need them.
# shellcheck disable=SC2016,SC2317,SC2329
set -u # not -e: a file that cannot be written must not keep the others from being written or removed
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin LC_ALL=C TZ=UTC
unset CDPATH GLOBIGNORE
umask 022

NAME=make_persistent
HOST_NAME=vm
STATE=/var/lib/hwdiag
JOURNAL=$STATE/$NAME.journal

usage() {
  cat <<'USAGE'
Usage: make_persistent.sh install|status|uninstall [--force]
  install    write the files and enable the units, remove those of an earlier choice; what is set now stays as it is
  status     a table; exit status 0: all as chosen and in force at the next boot, 1: not all, 2: could not tell
  uninstall  remove what install wrote, but for files that somebody changed; what is set now stays until the next boot
  --force    on another host than the one it was made for
USAGE
}

# --- the files: a function each, which prints the content; status 3: not all of it is known --------------------------

file_etc_udev_rules_d_99_hwdiag_rules() {
  local some=no all=yes
  echo '# Disks are named by serial number, or by the port they are at: sda may be another one tomorrow.'
  if rule vda 536870912 '' queue/scheduler=none; then some=yes; else all=no; fi
  if [ "$some" = no ]; then return 1; elif [ "$all" = no ]; then return 3; fi
}

file_etc_sysctl_d_99_zz_hwdiag_conf() {
  cat <<'HWDIAG_END'
# Written by make_persistent.sh of hwdiag, which also removes it: 'make_persistent.sh uninstall'.
vm.swappiness = 10
net.core.netdev_max_backlog = 5000
HWDIAG_END
}

FILES=( # function, file, mode; of a copy, the checksum of the script that this one was made with
  file_etc_udev_rules_d_99_hwdiag_rules /etc/udev/rules.d/99-hwdiag.rules 644 ''
  file_etc_sysctl_d_99_zz_hwdiag_conf /etc/sysctl.d/99-zz-hwdiag.conf 644 ''
)
UNITS=()

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

# --- the journal ----------------------------------------------------------------------------------------------------
# dir|PATH|          a folder that was made for a file
# file|PATH|SHA-256  a file, written after its line was synced
# unit|NAME|         a unit that was enabled

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

declare -A OURS=() LISTED=()
KEPT=() FOREIGN=0

# fits KIND PATH: whether install ever writes such a file, folder or unit. Other lines of a journal are not touched.
fits() {
  case "$1 $2" in
    'file /etc/udev/rules.d/99-hwdiag.rules') ;;
    'file /etc/sysctl.d/99-zz-hwdiag.conf') ;;
    'file /etc/tmpfiles.d/hwdiag.conf') ;;
    'file /etc/modprobe.d/hwdiag-zfs.conf') ;;
    'file /etc/security/limits.d/99-hwdiag.conf') ;;
    'file /usr/libexec/hwdiag/system_optimize.sh') ;;
    'file /usr/libexec/hwdiag/gpu_optimize.sh') ;;
    'file /etc/systemd/system/hwdiag-system.service') ;;
    'file /etc/systemd/system/hwdiag-gpu.service') ;;
    'file /etc/systemd/system/hwdiag-gpu-again.service') ;;
    'file /etc/systemd/system/hwdiag-gpu-again.timer') ;;
    'dir /etc/udev/rules.d') ;;
    'dir /etc/udev') ;;
    'dir /etc/sysctl.d') ;;
    'dir /etc/tmpfiles.d') ;;
    'dir /etc/modprobe.d') ;;
    'dir /etc/security/limits.d') ;;
    'dir /etc/security') ;;
    'dir /usr/libexec/hwdiag') ;;
    'dir /usr/libexec') ;;
    'dir /etc/systemd/system') ;;
    'dir /etc/systemd') ;;
    'unit hwdiag-system.service') ;;
    'unit hwdiag-gpu.service') ;;
    'unit hwdiag-gpu-again.service') ;;
    'unit hwdiag-gpu-again.timer') ;;
    *) return 1 ;;
  esac
}

load() {
  local kind path sum end
  readable_journal || return 0
  while IFS='|' read -r kind path sum end; do
    [ "$end" = . ] || continue
    if ! fits "$kind" "$path"; then
      if [ "$FOREIGN" -lt 5 ]; then warn "$JOURNAL names what install never writes: ${kind:0:20} ${path:0:200}"; fi
      FOREIGN=$((FOREIGN + 1))
      continue
    fi
    if [ -z "${LISTED["$kind|$path"]-}" ]; then KEPT+=("$kind|$path"); fi
    LISTED["$kind|$path"]=yes
    OURS["$path"]="${OURS["$path"]-} $sum "
  done <"$JOURNAL"
}

note() {
  if [ -n "${LISTED["$1|$2"]-}" ] && [[ ${OURS["$2"]-} == *" $3 "* ]]; then return; fi
  if ! { printf '%s|%s|%s|.\n' "$1" "$2" "$3" >>"$JOURNAL"; } 2>/dev/null; then die "cannot write to $JOURNAL: stopped"; fi
  sync "$JOURNAL" "$STATE" 2>/dev/null || sync
  LISTED["$1|$2"]=yes OURS["$2"]="${OURS["$2"]-} $3 "
}

prepare() {
  open_state "$1"
  load
  if [ -s "$JOURNAL" ] && [ -n "$(tail -c 1 "$JOURNAL")" ]; then printf '\n' 2>/dev/null >>"$JOURNAL"; fi
}

# sum_of FILE: SUM is its checksum, empty where it cannot be read
sum_of() { SUM=$(sha256sum -- "$1" 2>/dev/null) || SUM=; SUM=${SUM%% *}; SUM=${SUM#\\}; }
# is_ours PATH: whether it is as install wrote it
is_ours() {
  [ -f "$1" ] && [ ! -L "$1" ] || return 1
  sum_of "$1"
  case ${OURS["$1"]-} in *" $SUM "*) return 0 ;; *) return 1 ;; esac
}
# is_chosen KIND PATH: whether this choice has it too
is_chosen() {
  local i
  if [ "$1" = unit ]; then [[ " ${UNITS[*]-} " == *" $2 "* ]]; return; fi
  for ((i = 0; i < ${#FILES[@]}; i += 4)); do
    if [ "$2" = "${FILES[i + 1]}" ]; then return 0; fi
  done
  return 1
}

row() { printf '%-52s %s\n' "${1//[[:cntrl:]]/?}" "${2//[[:cntrl:]]/?}"; }

make_folders() {
  local folder=$1 missing=()
  while [ ! -d "$folder" ]; do missing+=("$folder"); folder=${folder%/*}; done
  local i
  for ((i = ${#missing[@]} - 1; i >= 0; i--)); do
    note dir "${missing[i]}" ''
    mkdir -m 755 "${missing[i]}" || return 1
  done
}

# write_new FILE COMMAND...: what the command prints, into a file that was not there: a link of that name is not followed
write_new() {
  local file=$1
  shift
  rm -f -- "$file" 2>/dev/null
  (set -C; "$@" >"$file")
}

# --- what it can do -------------------------------------------------------------------------------------------------

install() {
  local i failed unit state
  prepare install
  if in_container; then die 'this is a container: settings of the host cannot be kept from here, run it on the host'; fi
  say_before
  take_back others
  failed=$((LEFT + FAILED))
  for ((i = 0; i < ${#FILES[@]}; i += 4)); do
    install_file "${FILES[@]:i:4}" || failed=1
  done
  reload
  for unit in ${UNITS[@]+"${UNITS[@]}"}; do
    state=$(systemctl is-enabled -- "$unit" 2>/dev/null)
    if [ "$state" = enabled ]; then continue; fi
    note unit "$unit" "${state:-none}"
    if systemctl -q enable -- "$unit" 2>/dev/null && [ "$(systemctl is-enabled -- "$unit" 2>/dev/null)" = enabled ]; then
      row "$unit" enabled
    else
      row "$unit" 'could not be enabled'
      failed=1
    fi
  done
  [ "$failed" -eq 0 ] || { echo 'not all could be made persistent: see above'; return 1; }
}

install_file() { # FUNCTION PATH MODE CHECKSUM
  local path=$2 new=$STATE/new made sum state
  if { [ -e "$path" ] || [ -L "$path" ]; } && ! is_ours "$path"; then
    row "$path" 'belongs to somebody else: left alone'
    return 1
  fi
  write_new "$new" "$1"
  made=$?
  sum_of "$new" # of the copy, which nobody else can change any more
  sum=$SUM
  if [ "$made" -ne 0 ] && [ "$made" -ne 3 ] || [ -z "$sum" ] || { [ -n "$4" ] && [ "$sum" != "$4" ]; }; then
    row "$path" 'could not be made'
    if [ "$made" -eq 0 ] && [ -n "$4" ]; then row '' 'the script beside this one is not the one that it was made with'; fi
    rm -f "$new"
    return 1
  fi
  if ! make_folders "${path%/*}"; then row "$path" refused; rm -f "$new"; return 1; fi
  note file "$path" "$sum"
  if write_new "$path.hwdiag-new" cat "$new" && chmod "$3" "$path.hwdiag-new" &&
    { sync "$path.hwdiag-new" 2>/dev/null || sync; } && mv -f "$path.hwdiag-new" "$path" && sum_of "$path" &&
    [ "$SUM" = "$sum" ]; then
    state=written
  else
    rm -f "$path.hwdiag-new"
    made=1 state='could not be written'
  fi
  rm -f "$new"
  if [ "$made" -eq 3 ]; then state='written, but for what is named above'; fi
  row "$path" "$state"
  return "$made"
}

# github.com/NVIDIA/nvidia-container-toolkit/issues/48: systemd takes devices away that it does not know.
say_before() {
  local tool
  if ! has_units; then return; fi
  for tool in nvidia-container-runtime nvidia-container-cli nvidia-ctk; do
    if command -v "$tool" >/dev/null; then
      warn "systemctl daemon-reload follows: containers that run now may lose their GPUs" \
        '("Failed to initialize NVML: Unknown Error", nvidia-container-toolkit issue 48) until they are started again'
      return
    fi
  done
}

has_units() {
  [ -d /run/systemd/system ] || return 1
  case " ${UNITS[*]-} ${KEPT[*]-} " in *.service* | *.timer*) ;; *) return 1 ;; esac
}

reload() {
  if has_units; then systemctl daemon-reload; fi
  if [ -d /run/udev ]; then udevadm control --reload; fi
}

status() {
  local i kind path worst=0 state unit
  load
  for ((i = 0; i < ${#FILES[@]}; i += 4)); do
    path=${FILES[i + 1]}
    if [ ! -e "$path" ]; then
      state='not installed' worst=1
    elif [ ! -r "$path" ]; then
      state=denied
      if [ "$worst" -eq 0 ]; then worst=2; fi
    else
      is_wanted "${FILES[@]:i:4}"
      case $? in
        0) state='as wanted'; if overriding "$path"; then state="overridden by $FILE" worst=1; fi ;;
        3) state='as wanted, but for a disk that cannot be named' worst=1 ;;
        *) state=drifted worst=1; if is_ours "$path"; then state='of an earlier choice, install writes it again'; fi ;;
      esac
    fi
    row "$path" "$state"
  done
  for unit in ${UNITS[@]+"${UNITS[@]}"}; do
    state=$(systemctl is-enabled -- "$unit" 2>/dev/null)
    if [ "$state" = enabled ]; then
      state='as wanted'
    else
      state="not enabled (${state:-not installed})" worst=1
    fi
    row "$unit" "$state"
  done
  for i in ${KEPT[@]+"${KEPT[@]}"}; do
    kind=${i%%|*} path=${i#*|}
    if [ "$kind" != file ] || is_chosen file "$path" || [ ! -e "$path" ]; then continue; fi
    row "$path" 'of an earlier choice, still in force: install or uninstall removes it'
    worst=1
  done
  return "$worst"
}

# is_wanted FUNCTION PATH MODE CHECKSUM: whether this choice would write the same. Status 3: but for what is not known
is_wanted() {
  local text status
  if [ -n "$4" ]; then sum_of "$2"; [ "$SUM" = "$4" ]; return; fi
  text=$("$1" 2>/dev/null)
  status=$?
  if [ "$text" = "$(cat "$2")" ]; then return "$status"; fi
  return 1
}

# overriding PATH: FILE sorts after our sysctl file and sets one of its keys to another value
overriding() {
  local name value file key others
  case $1 in /etc/sysctl.d/*) ;; *) return 1 ;; esac
  FILE=
  while IFS='=' read -r key value; do
    case $key in '' | '#'*) continue ;; esac
    key=${key//[[:space:]]/}
    read -r value <<<"$value"
    for file in /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf; do
      if [ ! -r "$file" ] || [[ ! ${file##*/} > ${1##*/} ]]; then continue; fi
      while IFS='=' read -r name others || [ -n "$name" ]; do
        name=${name//[[:space:]]/} name=${name#-}
        read -r others <<<"$others"
        if [ "${name//\//.}" = "$key" ] && [ "$others" != "$value" ]; then FILE=$file; fi
      done <"$file"
    done
  done <"$1"
  [ -n "$FILE" ]
}

# take_back all|others: removes what install wrote, all of it or what this choice has not. LEFT files were changed since
# by somebody, FAILED could not be removed.
take_back() {
  local i kind path
  LEFT=0 FAILED=0
  for ((i = ${#KEPT[@]} - 1; i >= 0; i--)); do
    kind=${KEPT[i]%%|*} path=${KEPT[i]#*|}
    if [ "$1" = others ] && { [ "$kind" = dir ] || is_chosen "$kind" "$path"; }; then continue; fi
    case $kind in
      unit)
        if [ "$(systemctl is-enabled -- "$path" 2>/dev/null)" != enabled ]; then
          if [ "$1" = all ]; then row "$path" 'was not enabled any more'; fi
        elif systemctl -q disable -- "$path" 2>/dev/null; then
          row "$path" disabled
          case $path in *.timer) systemctl -q stop -- "$path" ;; esac # what it starts is removed, too
        else
          row "$path" 'could not be disabled'
          FAILED=$((FAILED + 1))
        fi
        ;;
      file)
        rm -f "$path.hwdiag-new"
        if [ ! -e "$path" ] && [ ! -L "$path" ]; then continue; fi
        if ! is_ours "$path"; then
          row "$path" 'changed since by somebody: left alone'
          LEFT=$((LEFT + 1))
        elif rm -f "$path"; then
          row "$path" removed
        else
          row "$path" 'could not be removed'
          FAILED=$((FAILED + 1))
        fi
        ;;
      dir) rmdir "$path" 2>/dev/null ;;
    esac
  done
}

uninstall() {
  prepare uninstall
  say_before
  if [ "${#KEPT[@]}" -eq 0 ] && [ "$FOREIGN" -eq 0 ]; then
    rm -f "$JOURNAL"
    echo 'nothing is installed'
    return 0
  fi
  take_back all
  rm -f "$STATE/new"
  reload
  if [ "$FAILED" -ne 0 ]; then echo 'not all could be removed: the journal is kept, run uninstall again'; fi
  if [ "$LEFT" -ne 0 ]; then
    echo "$LEFT files are still in force, since somebody changed them: remove them by hand, then run uninstall again"
  fi
  if [ "$FOREIGN" -ne 0 ]; then echo "$FOREIGN lines of the journal are of something else: left alone, and the journal is kept"; fi
  [ $((FAILED + LEFT + FOREIGN)) -eq 0 ] || return 1
  if ! rm -f "$JOURNAL"; then
    echo "all that was installed is gone, but $JOURNAL could not be removed"
    return 1
  fi
  sync "$STATE" 2>/dev/null
  echo 'all that was installed is gone; what is set now stays until the next boot, or undo where apply set it since the last'
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

VERB='' FORCE=no
while [ $# -gt 0 ]; do
  case $1 in
    install | status | uninstall) if [ -n "$VERB" ]; then die "one of install, status, uninstall"; fi; VERB=$1 ;;
    --force) FORCE=yes ;;
    --help | -h) usage; exit 0 ;;
    *) die "unknown argument $1 (allowed: install, status, uninstall, --force, --help)" ;;
  esac
  shift
done
if [ -z "$VERB" ]; then usage >&2; exit 2; fi
require_host
"$VERB"
