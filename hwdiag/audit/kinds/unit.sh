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
