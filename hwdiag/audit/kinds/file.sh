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
