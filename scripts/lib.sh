# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# Sourced by every script here once it has set $top: where things are, how to
# say what is going on, and how to call the kernel's make.

build=$(realpath -m "${BUILD:-$top/build}")
series=$top/patches/v5.10
qemu=$top/tools/testing/qemu
JOBS=${JOBS:-$(nproc)}
CONFIG=${CONFIG:-small}

# shellcheck source=patches/v5.10/base
. "$series/base"		# version source tarball sha256 tree
base_tree=$tree

# What git leaves behind must not keep our locks. (Compilers may: they are still at it.)
git()
{
	command git "$@" 7>&- 9>&-
}

# What is set for another make, another kernel or another repository (by a hook, a rebase
# -x), or by the user for all of them, is not for the scripts. Of the user they take over
# who commits; what a single repository has set gives way to scripts/gitconfig.
unset_others()
{
	# shellcheck disable=SC2046
	unset $(git rev-parse --local-env-vars)
	: "${GIT_COMMITTER_NAME:=$(git -C "$top" config user.name || echo device-exclusive)}"
	: "${GIT_COMMITTER_EMAIL:=$(git -C "$top" config user.email || echo device-exclusive@localhost)}"
	for variable in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p'); do
		case $variable in
		GIT_COMMITTER_NAME|GIT_COMMITTER_EMAIL|GIT_EXEC_PATH) ;;
		GIT_*|CDPATH|MAKE*|MFLAGS|GNUMAKEFLAGS|KBUILD_*|KCONFIG_*|ARCH|SUBARCH|CROSS_COMPILE*|\
		LLVM|LLVM_IAS|GCC_TOOLCHAIN|K*FLAGS|HOST*FLAGS|HOSTLDLIBS|USER*FLAGS|CPATH|*_INCLUDE_PATH|LIBRARY_PATH|\
		*_DEPENDENCIES|DEPENDENCIES_OUTPUT|TAR_OPTIONS|XZ_OPT|XZ_DEFAULTS|GZIP|POSIXLY_CORRECT)
			unset "$variable" ;;
		esac
	done
}

unset_others 2>/dev/null	# without git, somebody else says so
export GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
export GIT_CONFIG_GLOBAL="$top/scripts/gitconfig" GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=include.path GIT_CONFIG_VALUE_0="$top/scripts/gitconfig"

# The same objects whoever builds them.
export LC_ALL=C LOCALVERSION='' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_TIMESTAMP=1970-01-01 KBUILD_BUILD_USER=build KBUILD_BUILD_HOST=build

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
		echo "$build/${TOPICS:+topics-}${TOPICS:-linux}"
	fi
}

# What the series is made of, in order: folders of mails.
all_topics()
{
	find "$series" -mindepth 1 -maxdepth 1 -type d -name '[0-9][0-9]-*' -printf '%f\n' | sort
}

# Those that TOPICS names (3, 1-4, 1,2), or all.
topics()
{
	[ -n "${TOPICS:-}" ] || { all_topics; return; }
	all_topics | awk -v wanted="$TOPICS" '
		{ name[$0 + 0] = $0 }
		END {
			for (n = split(wanted, part, ","); n > 0; n--) {
				last = split(part[n], end, "-")
				if (part[n] !~ /^[0-9]+(-[0-9]+)?$/ || end[1] + 0 > end[last] + 0)
					exit 1
				for (i = end[1] + 0; i <= end[last] + 0; i++) {
					if (!(i in name))
						exit 1
					want[i] = 1
				}
			}
			for (i = 0; i < 100; i++)
				if (i in want)
					print name[i]
		}'
}

TOPICS=$(echo "${TOPICS:-}" | sed -E 's/(^|[-,])0+/\1/g')
tree=$(tree_for)
objs=${OBJS:-$tree/build-$CONFIG}

# one_of NAME VALUE ALLOWED...: a value that nobody has given is none of these.
one_of()
{
	name=$1
	value=$2
	shift 2
	[ -n "$value" ] || return 0
	for allowed; do
		[ "$value" != "$allowed" ] || return 0
	done
	die "$name=$value: there is $*"
}

# number NAME VALUE LEAST DIGITS
number()
{
	case $2 in
	''|"$3") return ;;
	0*|*[!0-9]*) ;;
	*) [ ${#2} -gt "$4" ] || return 0 ;;
	esac
	die "$1=$2: not a number from $3 on, of up to $4 digits"
}

# settings: is all that a user has set something that there is?
settings()
{
	one_of CONFIG "$CONFIG" small debug off
	one_of ACCEL "${ACCEL:-}" tcg icount kvm auto
	one_of BENCH "${BENCH:-}" quick full
	one_of CCACHE "${CCACHE:-}" auto no
	number JOBS "$JOBS" 1 4
	number REPEAT "${REPEAT:-}" 1 7
	number STALL "${STALL:-}" 1 9
	number TIMEOUT "${TIMEOUT:-}" 1 9
	number SECONDS "${RUN_SECONDS:-}" 1 8
	number SEED "${SEED:-}" 0 19
	topics >/dev/null || die "TOPICS=$TOPICS: say 3, 1-4 or 1,2 of $(all_topics | xargs)"
	[ "${ACCEL:-}" != kvm ] || [ -w /dev/kvm ] || die "ACCEL=kvm: no /dev/kvm to write to"
	[ -z "${SRC:-}" ] || [ -z "${LINUX:-}" ] || die "SRC=$SRC, LINUX=$LINUX: one of them"
	[ -d "${SRC:-/}" ] || die "SRC=$SRC: no such directory"
	[ -d "${LINUX:-/}" ] || die "LINUX=$LINUX: no such directory"
	[ -f "${BASE_TARBALL:-$series/base}" ] || die "BASE_TARBALL=$BASE_TARBALL: no such file"
	[ -z "${BENCH_PEER:-}" ] || [ -f "$BENCH_PEER/arch/x86/boot/bzImage" ] ||
		die "BENCH_PEER=$BENCH_PEER: no kernel built there"
	case $top$build$tree$objs in
	*[[:space:]:]*) die "no kernel can be built where a path has a space or a colon: $tree" ;;
	esac
}

[ "${1:-}" = --help ] || settings

# find_scenario NAME: sets $scenario to the file, named or meant.
find_scenario()
{
	case $1 in
	/*) scenario=$1 ;;
	*) scenario=$qemu/scenarios/$1 ;;
	esac
	[ -f "$scenario" ] || die "TESTS=$1: there is $(cd "$qemu/scenarios" && echo *)"
}

# A shell without one would wait for ever.
terminal()
{
	[ -t 0 ] || die "a shell is for a terminal"
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

# The mails of the topics in order, with their cover letters.
letters()
{
	for topic in $(topics); do
		find "$series/$topic" -name '[0-9][0-9][0-9][0-9]-*.patch' | sort
	done
}

# The patches among them.
mails()
{
	letters | sed '/\/0000-[^/]*$/d'
}

# What a cover letter says: behind a line as over a signature, refresh adds what the
# topic changes.
letter_text()
{
	sed '/^-- $/,$d' "$1"
}

# commits_by_topic DIR: "COMMIT TOPIC NUMBER" for each that the git tree DIR has on top of
# the base. A topic begins with an empty commit, number 0000, whose message is its cover
# letter: "topic: NN-NAME: TITLE". What comes before the first is of topic "-".
commits_by_topic()
{
	git -C "$1" log --reverse --format='%H %s' "v$version..$head" | awk '
		BEGIN { topic = "-"; n = 1 }
		$2 == "topic:" { topic = $3; sub(/:$/, "", topic); n = 0 }
		{ printf "%s %s %04d\n", $1, topic, n++ }'
}

# What the laid out tree depends on, as one hash.
series_key()
{
	letters | { cat "$series/base"; while read -r mail; do cat "$mail"; done; } |
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
		[ -e "$build/runs/$name" ] || die "$build/runs: no folder can be made there"
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
# the objects built from them are touched. It is in build/scratch, or where $scratch says.
scratch_tree()
{
	from=$(commits_in)
	tree=$build/${scratch:-scratch}/$(basename "$from")
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
	commits_by_topic "$tree" >"$tree.commits"
	topics >"$tree.topics"
	commits=$(awk -v only="${TOPICS:-}" 'FILENAME == ARGV[1] { want[$1] = 1; next }
		$3 != "0000" && (!only || $2 in want) { print $1 }' "$tree.topics" "$tree.commits")
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
