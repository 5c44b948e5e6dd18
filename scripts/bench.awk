# SPDX-License-Identifier: GPL-2.0
# The report of scripts/bench, from its results.csv. Exit status 1 if two boots differ or
# a limit is not reached.
#
# cost[kernel, accel, operation, pages] is the least there was in all boots, for the whole
# range; what is printed is divided by the pages.

BEGIN {
	FS = ","
	nr_kernels = split("base patched peer", kernels, " ")
}

NR == 1 { next }

{
	key = $1 SUBSEP $2 SUBSEP $4 SUBSEP $5
	if (!(key in cost)) {
		median[key] = $8
		spread[key] = $7 ? ($9 - $7) / $7 : 0
		first[key] = $7
	} else {
		boots = 2
		if ($2 == "icount" && far($4, $7, first[key]))
			differ[++nr_differ] = sprintf("%s, %s, %d pages: %d and %d", $1, $4, $5, first[key], $7)
	}
	if (!(key in cost) || $7 < cost[key])
		cost[key] = $7
	if ($10 > events[key])
		events[key] = $10
	if ($2 == "tcg")
		clock = 1
	if (!(($4, $5) in seen)) {
		seen[$4, $5] = 1
		row[++nr_rows] = $4 SUBSEP $5
	}
}

function abs(x) { return x < 0 ? -x : x }

# By how much the cost of an operation may differ from boot to boot: 0.1 %, a timer tick if
# it takes long enough to meet one each time, and, where pages are taken from the allocator
# or given back, a few batches between its lists of each CPU and those of the zone, as
# boots bring these lists into different states. A fork takes little but objects.
function noise(op, cost)
{
	if (op ~ /touch|write-fault|tmpfs-write|munmap|copy-on-write|swap|migrate/)
		return cost / 1000 + 25000
	if (op == "fork")
		return cost / 200
	return cost / 1000 + (cost > 500000 ? 2500 : 0)
}

function far(op, a, b) { return abs(a - b) > noise(op, b) }

function has(kernel, op, pages) { return (kernel, "icount", op, pages) in cost }

# Instructions a page.
function per_page(kernel, op, pages) { return cost[kernel, "icount", op, pages] / pages }

function ratio(a, b) { return b ? sprintf("%.2f", a / b) : "-" }

function size(pages)
{
	if (pages < 256)
		return pages * 4 " KiB"
	return pages < 262144 ? pages / 256 " MiB" : pages / 262144 " GiB"
}

function title(text) { printf "\n%s\n", text }

# A limit on something that has been measured.
function limit(what, value, most)
{
	missed += value > most
	printf "  %-11s %-56s %8.2f (at most %g)\n", (value > most ? "NOT REACHED" : "reached"), what, value, most
}

function limit_cost(what, op, pages, most)
{
	if (has("patched", op, pages))
		limit(what ", " size(pages), per_page("patched", op, pages), most)
}

function limit_count(what, op, pages, most)
{
	if (has("patched", op, pages))
		limit(what ", " size(pages), events["patched", "icount", op, pages], most)
}

function ratios(accel, unit,   i, k, n, ops, p, list)
{
	n = split("make+release,make-still,make-again,read-back,touch,thp-make+release," \
		"shared-make+release,shared-read-back,shared8-make+release,shared8-read-back", ops, ",")
	split("512,16384", list, ",")
	title("Costs as a multiple of mprotect(PROT_NONE) of the same range (" unit ")")
	for (i = 1; i <= n; i++)
		for (p = 1; p <= 2; p++)
			for (k = 1; k <= nr_kernels; k++)
				ratio_line(kernels[k], accel, ops[i], list[p])
}

function ratio_line(kernel, accel, op, pages)
{
	if ((kernel, accel, op, pages) in cost)
		printf "  %-22s %-8s %-8s %8s\n", op, size(pages), kernel,
			ratio(cost[kernel, accel, op, pages], cost[kernel, accel, "mprotect-none", pages])
}

function check_limits(   i, n, list)
{
	title("Limits (instructions a page, unless it says otherwise)")
	n = split("512,16384", list, ",")
	for (i = 1; i <= n; i++) {
		limit_cost("make and release, never exclusive before", "make+release", list[i], 150)
		limit_cost("make and release again", "make-again", list[i], 150)
		limit_cost("make and release, still exclusive", "make-still", list[i], 150)
		limit_count("notifier ranges for 512 pages", "notifier-ranges", list[i], list[i] / 512)
		limit_count("TLB flushes for 512 pages", "tlb-flushes", list[i], list[i] / 512)
	}
	limit_cost("make and release, huge page", "thp-make+release", 512, 200)
	limit_cost("make and release, single page", "make+release", 1, 1100)
	limit_cost("the same with a notifier", "notifier-make+release", 1, 1100)
	limit_cost("sequential read-back", "read-back", 512, 150)
	limit_count("sequential read-back, faults", "read-back", 512, 12)
	limit_cost("random touch", "read-back-random", 512, 1100)
	limit_count("random touch, faults", "read-back-random", 512, 512)
	limit_count("sequential read-back of shared memory, faults", "shared-read-back", 512, 12)
	check_rest("base", "patched")
	check_rest("base-off", "patched-off")
}

# What was there before must not cost more. The operations are those of the base. What is
# so small that the allocator's lists alone make a larger difference shows nothing.
function check_rest(old, new,   i, op, pages, part, percent)
{
	for (i = 1; i <= nr_rows; i++) {
		split(row[i], part, SUBSEP)
		op = part[1]
		pages = part[2]
		if (!has(old, op, pages) || !has(new, op, pages) || (pages != 512 && pages != 2048 && pages != 16384))
			continue
		if (noise(op, cost[old, "icount", op, pages]) > 0.0051 * cost[old, "icount", op, pages])
			continue
		percent = 100 * (per_page(new, op, pages) / per_page(old, op, pages) - 1)
		limit(new "/" old ", " op ", " size(pages) ", percent more", percent, 0.5)
	}
}

function versus_base(op, pages)
{
	if (!has("base", op, pages) || !has("patched", op, pages))
		return "-"
	return sprintf("%.4f", per_page("patched", op, pages) / per_page("base", op, pages))
}

function table(   i, j, part, key)
{
	title("Instructions a page: the least, and for the patched kernel the median and the spread of one boot")
	printf "  %-26s %8s %9s %9s %9s %9s %8s %9s %8s\n", "operation", "size",
		"base", "patched", "peer", "median", "spread", "patched/", "events"
	printf "  %-26s %8s %9s %9s %9s %9s %8s %9s %8s\n", "", "", "", "", "", "", "", "base", ""
	for (i = 1; i <= nr_rows; i++) {
		split(row[i], part, SUBSEP)
		if (part[1] ~ /^threads/ || part[1] == "tlb-flushes" || part[1] == "notifier-ranges")
			continue
		printf "  %-26s %8s", part[1], size(part[2])
		for (j = 1; j <= nr_kernels; j++)
			printf " %9s", has(kernels[j], part[1], part[2]) ? sprintf("%.1f", per_page(kernels[j], part[1], part[2])) : "-"
		key = "patched" SUBSEP "icount" SUBSEP part[1] SUBSEP part[2]
		printf " %9.1f %7.2f%% %9s %8d\n", median[key] / part[2], 100 * spread[key],
			versus_base(part[1], part[2]), events[key]
	}
}

# Time for the same work in each thread, so 1 is perfect as long as there are processors.
function threads(   i, j, k, n, ops, t)
{
	n = split("threads-spin,threads-touch,threads-make,threads-read-back", ops, ",")
	for (j = 1; j <= nr_kernels; j++) {
		k = kernels[j]
		if (!((k, "tcg", ops[1], 2048) in cost))
			continue
		title("Threads with 8 MiB each in one mm, " k " kernel: wall-clock time against one thread\n" \
			"(threads-spin shares nothing but the host's processors)")
		for (i = 1; i <= n; i++) {
			printf "  %-18s", ops[i]
			for (t = 1; t <= 8; t *= 2)
				printf "  %d: %6s", t, ratio(cost[k, "tcg", ops[i], t * 2048], cost[k, "tcg", ops[i], 2048])
			printf "\n"
		}
	}
}

END {
	ratios("icount", "instructions")
	check_limits()
	title("Two boots")
	for (i = 1; i <= nr_differ; i++)
		print "  DIFFER      " differ[i]
	if (!boots)
		print "  there was one only"
	else if (!nr_differ)
		print "  agree within 0.1 %, a timer tick, and the state of the allocator's lists"
	table()
	if (clock) {
		ratios("tcg", "wall-clock time, emulated")
		threads()
	}
	printf "\n%d limits not reached, %d differences between two boots\n", missed, nr_differ
	exit (missed > 0 || nr_differ > 0)
}
