# GPUs: PLACE is the GPU's UUID and the field's name
PATH=$PATH:/usr/lib/wsl/lib # where nvidia-smi is below WSL2
SMI_S=30 SMI_MORE_S=35      # seconds for a call: without persistence mode the first one waits for each GPU to start
SMI_GONE=no

# smi PLACE ARGUMENT...: SAID is what nvidia-smi prints, WHY its last words. Status 124: it does not answer, and is not
# asked again; 125: it was not asked, for that. Nobody waits for one that is stuck in the driver and cannot be killed, and it does not hold our lock.
smi() {
  local line pid id=${1% *} status=124
  shift
  SAID='' WHY='nvidia-smi does not answer'
  if [ "$SMI_GONE" = yes ]; then return 125; fi
  coproc SMI {
    read -r _ # its ends are taken first: bash closes them where it has ended
    exec 9>&-
    timeout -k 1 "$SMI_S" nvidia-smi --id="$id" "$@" 2>/dev/null
    printf '\nstatus %s\n' "$?"
  }
  exec 8<&"${SMI[0]}"
  pid=$SMI_PID
  echo >&"${SMI[1]}"
  while IFS= read -r -t "$SMI_MORE_S" -u 8 line; do
    case $line in
      'status '*) status=${line#status }; break ;;
      ?*) SAID+=${SAID:+$'\n'}${line:0:200} ;;
    esac
    if [ "${#SAID}" -gt 2000 ]; then status=1; break; fi # no answer of its
  done
  exec 8<&-
  case $status in
    124 | 137) SMI_GONE=yes; return 124 ;;
    *) wait "$pid" 2>/dev/null ;;
  esac
  if [ "$status" = 127 ]; then SAID='nvidia-smi is not here'; fi
  WHY=${SAID##*$'\n'}
  WHY=${WHY:-nothing}
  return "$status"
}

get_gpu() {
  local status
  case $1 in *' lock' | *' vboost') return 3 ;; esac
  smi "$1" --query-gpu="${1##* }" --format=csv,noheader,nounits
  status=$?
  if [ "$status" -eq 0 ] && is_value "${1##* }" "$SAID"; then VALUE=$SAID WHY=; return; fi
  case $status:$SAID in
    2:* | 3:* | 0:'[N/A]' | 0:N/A | 0:'[Not Supported]' | 0:'Not Supported' | 0:'[Requested functionality'*)
      # Its answer does not end: it is not known at this moment.
      if [ -z "${BEFORE["gpu $1"]+x}" ]; then return 1; fi
      ;;
  esac
  return 2
}

# is_value FIELD TEXT: whether the field can have this value. [Unknown Error] and the like are none.
is_value() {
  case $1:$2 in
    persistence_mode:Enabled | persistence_mode:Disabled) ;;
    accounting.mode:Enabled | accounting.mode:Disabled) ;;
    ecc.mode.pending:Enabled | ecc.mode.pending:Disabled) ;;
    compute_mode:Default | compute_mode:Prohibited | compute_mode:Exclusive_Process | compute_mode:Exclusive_Thread) ;;
    power.limit:*[!0-9.]* | power.limit:) return 1 ;;
    power.limit:[0-9]*) ;;
    lock:default | lock:[0-9]*,[0-9]* | vboost:default | vboost:[0-9]) ;;
    *) return 1 ;;
  esac
}

# Status 124: nobody knows whether it was done; 125: it was not tried; 3: the GPU does not offer it. Any other but 0: it
# was refused, WHY tells the driver's words.
put_gpu() {
  local on=0 status
  WHY='not a value that it can have'
  if ! is_value "${1##* }" "$2"; then return 1; fi
  if [ "$2" = Enabled ]; then on=1; fi
  case ${1##* }:$2 in
    persistence_mode:*) smi "$1" -pm "$on" ;;
    accounting.mode:*) smi "$1" -am "$on" ;;
    ecc.mode.pending:*) smi "$1" -e "$on" ;;
    compute_mode:*) smi "$1" -c "${2^^}" ;;
    power.limit:*) smi "$1" -pl "$2" ;;
    lock:default) smi "$1" -rgc ;;
    lock:*) smi "$1" -lgc "$2" ;;
    vboost:default) smi "$1" boost-slider --vboost 0 ;;
    vboost:*) smi "$1" boost-slider --vboost "$2" ;;
  esac
  status=$?
  case $status:$SAID in # a request that the GPU does not offer is a warning, and its exit status 0
    0:*'not supported'* | 0:*'Not Supported'*) WHY='this GPU does not offer it'; return 3 ;;
    0:*'Unable to'* | 0:*'Failed to'* | 0:*Treating\ as\ warning*) return 1 ;;
  esac
  return "$status"
}

# held_gpu PLACE VALUE: whether the driver still has what cannot be read back. Status 1: no; 2: not known. WHY says it.
held_gpu() {
  if ! get_gpu "${1% *} persistence_mode"; then WHY="asked for, and its persistence mode is unknown: $WHY"; return 2; fi
  if [ "$VALUE" != Enabled ]; then WHY='asked for; without persistence mode the driver forgets it'; return 2; fi
  WHY='asked for; it cannot be read back'
  if [ "${1##* }" != lock ] || [ "$2" = default ]; then return 0; fi
  if smi "$1" --query-gpu=clocks.sm --format=csv,noheader,nounits; then
    case $SAID in
      '' | *[!0-9]*) ;;
      *) if [ "$SAID" -gt $((${2#*,} + 30)) ]; then WHY="its clock is $SAID MHz"; return 1; fi ;; # clocks go in steps
    esac
  fi
  WHY='asked for; it cannot be read back'
}
