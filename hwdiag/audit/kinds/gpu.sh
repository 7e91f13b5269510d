# GPUs: PLACE is the GPU's UUID and the field's name
get_gpu() {
  local answer status
  case $1 in *' lock' | *' vboost') return 3 ;; esac
  answer=$(nvidia-smi --id="${1% *}" --query-gpu="${1##* }" --format=csv,noheader,nounits 2>/dev/null)
  status=$?
  case $status in 0) ;; 2 | 3 | 6 | 127) return 1 ;; *) return 2 ;; esac
  case $answer in '' | *N/A* | *'Not Supported'* | *$'\n'*) return 1 ;; esac
  VALUE=$answer
}

put_gpu() {
  local on=0
  [ "$2" = Enabled ] && on=1
  case $1 in
    *' persistence_mode') smi "$1" -pm "$on" ;;
    *' accounting.mode') smi "$1" -am "$on" ;;
    *' ecc.mode.pending') smi "$1" -e "$on" ;;
    *' compute_mode') smi "$1" -c "${2^^}" ;;
    *' power.limit') smi "$1" -pl "$2" ;;
    *' lock') if [ "$2" = default ]; then smi "$1" -rgc; else smi "$1" -lgc "$2"; fi ;;
    *' vboost') if [ "$2" = default ]; then boost "$1" 0; else boost "$1" "$2"; fi ;;
    *) return 1 ;;
  esac
}
smi() { nvidia-smi --id="${1% *}" "$2" ${3+"$3"} >/dev/null 2>&1; }
boost() { nvidia-smi boost-slider --id="${1% *}" --vboost "$2" >/dev/null 2>&1; }
