# slower_than MICROSECONDS FILE: whether waking up from this idle state takes longer
slower_than() { get_file "$2" && [ "$VALUE" -gt "$1" ] 2>/dev/null; }
