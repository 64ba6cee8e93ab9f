# Sourced by the hooks of this directory. PATH is empty in a hook: it gets no environment but UPGRADE_….
PATH=${HOOK_PATH:-/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
STATE=${HOOK_STATE:-/var/lib/normrecv-hooks}

# die says what is wrong, in the agent's log, and fails the step.
die() {
	echo "$*" >&2
	exit 1
}

# installed reports whether this activation has been installed already. activate may be run again after a crash: the
# activation id is the same for each try of one activation, and of no other.
installed() { test "$(cat "$STATE/installed" 2>/dev/null)" = "$UPGRADE_ACTIVATION_ID"; }

# note_installed notes, durably, that it has been.
note_installed() {
	mkdir -p "$STATE" &&
		echo "$UPGRADE_ACTIVATION_ID" >"$STATE/installed.new" &&
		sync "$STATE/installed.new" &&
		mv "$STATE/installed.new" "$STATE/installed" &&
		sync "$STATE" || die "cannot note that the image is installed"
}

# restart restarts the system, and does not return before it goes down: a hook that returned would be one whose image runs.
restart() {
	reboot || die "the system does not restart"
	while :; do sleep 60; done
}
