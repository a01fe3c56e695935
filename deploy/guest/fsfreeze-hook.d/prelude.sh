# shellcheck shell=sh
# Sourced by the writers, and not one itself: their settings, and sessions of a database's own client that hold a lock.
conf=${STILLPOINT_CONF:-/etc/stillpoint/writers.conf}
# shellcheck source=/dev/null
if [ -r "$conf" ]; then . "$conf"; fi

# How long a hold lasts when no thaw comes; longer than any freeze window (60 s).
: "${HOLD_SECONDS:=75}"
# A folder of the writer's own, in memory: a frozen disk takes no writes.
state=${STILLPOINT_RUN:-/run/stillpoint}/${0##*/}

fail() {
  echo "$*" >&2
  exit 1
}

absent() {
  echo "absent${1:+ $1}"
  exit 0
}

# open_session KEY COMMAND…: starts a client that reads statements and prints answers, line by line. It outlives the
# writer: its input stays open until the session is closed or HOLD_SECONDS are over, and then the client ends by itself.
open_session() {
  session=$state/$1 && shift
  mkdir -p "$state" && rm -f "$session".* && mkfifo "$session.in" "$session.out" || return 1
  "$@" <"$session.in" >"$session.out" 2>"$session.error" &
  echo $! >"$session.client"
  sleep "$HOLD_SECONDS" >"$session.in" 2>/dev/null &
  echo $! >"$session.keeper"
  exec 3<>"$session.in" 4<"$session.out"
}

# resume_session KEY: the session of an earlier call; fails when its client has ended, and with it the hold.
resume_session() {
  session=$state/$1
  read -r holder <"$session.client" && [ -e "/proc/$holder/exe" ] || return 1 # a zombie has none
  exec 3<>"$session.in" 4<"$session.out"
}

# say TEXT: sends statements; answer: reads the next line into `line`, fails when the client has ended.
say() {
  printf '%s\n' "$1" >&3
}
answer() {
  read -r line <&4
}

# until_answer PATTERN: reads until such a line; fails with what the client complained of when it ends before.
until_answer() {
  while answer; do
    # shellcheck disable=SC2254 # a pattern
    case $line in $1) return 0 ;; esac
  done
  cat "$session.error" >&2
  return 1
}

# close_sessions RELEASE WORD: lets go in every session with these statements, after which the client prints WORD. Fails
# when one did not hold until now. May be called twice, and when there are none.
close_sessions() {
  closed=0
  for file in "$state"/*.client; do
    [ -e "$file" ] || continue
    key=${file##*/}
    if ! resume_session "${key%.client}" || ! { say "$1" && until_answer "$2"; }; then
      echo "the hold had ended before the thaw" >&2
      closed=1
    fi
    for process in client keeper; do
      read -r pid <"${file%.client}.$process" && kill "$pid" 2>/dev/null
    done
  done
  rm -rf "$state"
  return $closed
}
