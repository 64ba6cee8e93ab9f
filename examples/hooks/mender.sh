#!/bin/sh
# Hooks for Mender in standalone mode: the image of the release is a Mender Artifact. mender-update has an update on trial until it
# is committed, and rolls it back otherwise.
#
#     activate-cmd = "/etc/normrecv.d/mender.sh activate"
#     health-cmd = "/etc/normrecv.d/mender.sh health"        rollback-cmd = "/etc/normrecv.d/mender.sh rollback"
set -u
. "${0%/*}/once.sh"

# is_noted reports whether this activation is noted in a file.
is_noted() { test "$(cat "$STATE/$1" 2>/dev/null)" = "$UPGRADE_ACTIVATION_ID"; }

# note notes it.
note() { echo "$UPGRADE_ACTIVATION_ID" >"$STATE/$1" && sync "$STATE/$1" || die "cannot note it"; }

case ${1-} in
activate)
	if ! installed; then
		# 0: installed, 4: installed and a restart is needed, which is the next line in any case.
		mender-update install --reboot-exit-code "$UPGRADE_IMAGE"
		case $? in
		0 | 4) note_installed ;;
		*) die "mender-update install failed" ;;
		esac
	fi
	restart
	;;
health)
	installed || die "the artifact was not installed"
	is_noted committed && exit 0
	is_noted committing && again=yes || again=no
	note committing
	mender-update commit
	case $?$again in # 2: there is nothing to commit, since a try before this one did it
	0* | 2yes) note committed ;;
	*) die "mender-update commit failed: the old system runs, or the new one is not well" ;;
	esac
	;;
rollback)
	if installed && ! is_noted committed; then
		mender-update rollback || die "mender-update rollback failed"
		rm -f "$STATE/installed"
		restart
	fi
	;;
*) die "usage: mender.sh activate|health|rollback" ;;
esac
