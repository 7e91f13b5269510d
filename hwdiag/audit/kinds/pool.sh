get_pool() { VALUE=$(zpool get -H -o value "${1##* }" "${1% *}" 2>/dev/null); [ -n "$VALUE" ] || return 1; }
put_pool() { zpool set "${1##* }=$2" "${1% *}" 2>/dev/null; }
