# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# Sourced by every script here once it has set $top: where things are, how to
# say what is going on, and how to call the kernel's make.

build=${BUILD:-$top/build}
series=$top/patches/v5.10
qemu=$top/tools/testing/qemu
JOBS=${JOBS:-$(nproc)}
CONFIG=${CONFIG:-small}

# shellcheck source=patches/v5.10/base
. "$series/base"		# version source tarball sha256 tree
base_tree=$tree

# Nothing of an outer make's, and the same objects whoever builds them.
unset CDPATH MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS
export LC_ALL=C LOCALVERSION='' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_USER=build KBUILD_BUILD_HOST=build

# What git leaves behind must not keep our locks. (Compilers may: they are still at it.)
git()
{
	command git "$@" 7>&- 9>&-
}

# Nothing that git has been told for another repository (by a hook, a rebase -x) or by
# the user reaches the git of the scripts, and what a repository has set for itself gives
# way to scripts/gitconfig. Of the user it takes over who commits.
own_git()
{
	# shellcheck disable=SC2046
	unset $(git rev-parse --local-env-vars)
	: "${GIT_COMMITTER_NAME:=$(git -C "$top" config user.name || echo device-exclusive)}"
	: "${GIT_COMMITTER_EMAIL:=$(git -C "$top" config user.email || echo device-exclusive@localhost)}"
	for variable in $(env | sed -n 's/^\(GIT_[A-Z0-9_]*\)=.*/\1/p'); do
		case $variable in
		GIT_COMMITTER_NAME|GIT_COMMITTER_EMAIL|GIT_EXEC_PATH) ;;
		*) unset "$variable" ;;
		esac
	done
	export GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
	export GIT_CONFIG_GLOBAL="$top/scripts/gitconfig" GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=include.path GIT_CONFIG_VALUE_0="$top/scripts/gitconfig"
}

own_git 2>/dev/null	# without git, somebody else says so

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "${0##*/}: $*"
	exit 1
}

# usage: print the comment block at the head of the script, without the marks.
usage()
{
	sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit "${1:-0}"
}

have()
{
	command -v "$1" >/dev/null 2>&1
}

# Steps: "step NAME" opens one, "took" closes it with the time it needed.
step()
{
	step_name=$*
	step_start=$(date +%s)
	say "== $step_name"
}

took()
{
	say "   ${*:-done}, $(($(date +%s) - step_start)) s"
}

# A source is asked for in one of three ways (TREE is for these scripts); $tree is where it is laid out and
# $objs (or OBJS) where it is built. Objects lie inside their tree because kbuild then uses
# relative paths, and a compiler cache can serve every tree on the machine.
tree_for()
{
	if [ -n "${TREE:-}" ]; then
		echo "$TREE"
	elif [ -n "${SRC:-}" ]; then
		echo "$build/src/$(basename "$(realpath -m "$SRC")")"
	elif [ -n "${LINUX:-}" ]; then
		echo "$build/own/$(basename "$(realpath -m "$LINUX")")"
	else
		echo "$build/linux"
	fi
}

tree=$(tree_for)
objs=${OBJS:-$tree/build-$CONFIG}

check_config()
{
	case $CONFIG in
	small|debug|off) ;;
	*) die "CONFIG=$CONFIG: there is small and debug" ;;
	esac
}

compiler()
{
	[ "${CCACHE:-}" = "no" ] || ! have ccache || { echo "ccache gcc"; return; }
	echo gcc
}

# The kernel's make, for $tree and $objs.
kmake()
{
	cc=$(compiler)
	make -C "$tree" O="$objs" CC="$cc" HOSTCC="$cc" -j"$JOBS" --no-print-directory "$@"
}

tgit()
{
	git -C "$tree" "$@"
}

# edited DIR [OPTION...]: are there edits that are not committed? Not to know is not "no".
edited()
{
	dir=$1
	shift
	edits=$(git -C "$dir" status --porcelain "$@") || die "$dir: git cannot tell what is edited there"
	[ -n "$edits" ]
}

# ours DIR: what a git tree that the scripts have made keeps, for a developer's git, too.
ours()
{
	mkdir -p "$1/.git/info"
	echo '/build-*/' >>"$1/.git/info/exclude"
	git -C "$1" config gc.auto 0
	git -C "$1" config maintenance.auto false
}

# The mails of the series in order, without the cover letter.
mails()
{
	find "$series" -name '[0-9][0-9][0-9][0-9]-*.patch' ! -name '0000-*' | sort
}

# What the laid out tree depends on, as one hash.
series_key()
{
	mails | { cat "$series/base"; while read -r mail; do cat "$mail"; done; } |
		sha256sum | cut -c1-40
}

# One script at a time changes a tree, or builds in one folder of it.
lock_for()
{
	mkdir -p "${1%/*}"
	exec 9>"$1"
	flock -n 9 || { say "   waiting for another run with ${1#"$top/"}"; flock 9; }
}

# A folder for one boot of a scenario; build/runs/latest is the last one.
new_run()
{
	name=$(date +%Y%m%d-%H%M%S)-$1-$CONFIG
	mkdir -p "$build/runs"
	while ! mkdir "$build/runs/$name" 2>/dev/null; do
		name=$name+
	done
	ln -sfn "$name" "$build/runs/latest"
	echo "$build/runs/$name"
}

# The git tree whose commits are the series: SRC, or the one laid out.
commits_in()
{
	[ -n "${SRC:-}" ] && realpath -m "$SRC" || echo "$tree"
}

# A clone of it that the checks move about in, so that neither a developer's files nor
# the objects built from them are touched.
scratch_tree()
{
	from=$(commits_in)
	tree=$build/scratch/$(basename "$from")
	lock_for "$tree.lock"
	if [ ! -d "$tree/.git" ]; then
		step "scratch: cloning the tree"
		rm -rf "$tree"
		git clone -q --shared --no-checkout "$from" "$tree"
		ours "$tree"
		took cloned
	fi
	head=$(git -C "$from" rev-parse HEAD)
	tgit fetch -q origin "$head" "refs/tags/v$version:refs/tags/v$version"
	commits=$(tgit rev-list --reverse "v$version..$head")
	# A check leaves its edits (bisect-check gives an option a prompt) behind.
	[ ! -e "$tree/Makefile" ] || tgit reset -q --hard
}

# The C files that the series touches and our kernels have, and those they do not:
# other drivers, other architectures, user space.
built_sources()
{
	tgit diff --name-only "v$version" "$head" -- '*.c' ':!tools' ':!samples' ':!arch' ':!drivers'
	tgit diff --name-only "v$version" "$head" -- 'drivers/gpu/drm/nouveau/*.c'
}

unbuilt_sources()
{
	tgit diff --name-only "v$version" "$head" -- 'samples/*.c' 'arch/*.c' 'drivers/*.c' \
		':!drivers/gpu/drm/nouveau'
}
