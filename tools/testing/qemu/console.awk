# SPDX-License-Identifier: GPL-2.0
# Reads a console log, see tools/testing/qemu/console.

function problem(text)
{
	print text
	problems++
}

# A stream ends where the next one begins, or the log does.
function end_stream()
{
	if (!streams)
		return
	if (planned < 0)
		problem("no plan in TAP stream " streams)
	else if (!planned && ours)
		problem("no test in TAP stream " streams)
	else if (results != planned)
		problem("TAP stream " streams ": " results + 0 " results of " planned)
}

# Why a test failed is said before its result, by our programs, KUnit and the kselftest
# harness. What failed as it should is not told.
function tell_why()
{
	printf "%s", why
	forget_why()
}

function forget_why()
{
	why = ""
	reasons = 0
}

# What counts is a subtest's result, or the test's own when it has none, or when it is
# bad and none of its subtests is.
function conclude(good, odd)
{
	if (odd) {
		skipped += sub_failed + !sub_seen
		sub_failed = 0
	} else if (good) {
		passed += !sub_seen
	} else if (!sub_failed) {
		sub_failed = 1
	}
	if (sub_failed) {
		tell_why()
		problem(line)
	}
	failed += sub_failed
	sub_seen = sub_failed = 0
	forget_why()
}

BEGIN {
	planned = -1
	complaint = "(^|: )BUG: |^BUG |^WARNING: |^kernel BUG at |^Oops: " \
		"|^general protection fault|^Kernel panic - not syncing" \
		"|^INFO: task .* blocked for more than|^INFO: rcu|^rcu: INFO: " \
		"|detected stall|^watchdog: |^UBSAN: |^DEBUG_LOCKS_WARN_ON" \
		"|^INFO: trying to register non-static key" \
		"|^Bad page (state|map)|Bad rss-counter|^unreferenced object" \
		"|^list_(add|del) corruption|^stack segment: |^divide error: " \
		"|^invalid opcode: |^page dumped because: |nobody cared" \
		"|^workqueue lockup|^INFO: possible |^INFO: inconsistent "
}

{
	sub(/\r+$/, "")
	sub(/^<[0-9]+>/, "")
	line = $0
	sub(/^\[ *[0-9]+\.[0-9]+\](\[ *[CT][0-9]+\])? /, "", line)
}

# A complaint is quoted as far as its first dozen lines go.
quoting {
	print "    " line
	quoting--
}

line == "------------[ cut here ]------------" && !quoting {
	cut = NR
	next
}

line ~ complaint {
	if (!quoting && complaints++ < 3) {
		print "the kernel complains, line " NR ":"
		print "    " line
		quoting = 11
	}
	next
}

line == "init: started" {
	started = 1
}

line ~ /^TAP version [0-9]+$/ {
	end_stream()
	streams++
	ours = started	# the kernel may have no KUnit suite
	planned = -1
	results = sub_seen = sub_failed = 0
	next
}

line ~ /^[0-9]+\.\.[0-9]+$/ && streams {
	planned = line
	sub(/.*\.\./, "", planned)
	planned += 0
}

line ~ /FAILURE: |EXPECTATION FAILED|ASSERTION FAILED|Expected / && reasons < 5 {
	why = why line "\n"
	reasons++
}

line ~ /^    ok / {
	sub_seen++
	forget_why()
	if (line ~ /# SKIP/)
		skipped++
	else
		passed++
}

line ~ /^    not ok / {
	sub_seen++
	if (line ~ /# TODO/) {
		skipped++
	} else {
		tell_why()
		print substr(line, 5)
		sub_failed++
	}
}

line ~ /^ok / && streams {
	results++
	conclude(1, line ~ /# SKIP/)
}

line ~ /^not ok / && streams {
	results++
	conclude(0, line ~ /# TODO/)
}

line ~ /^Bail out!/ {
	problem(line)
}

END {
	if (!streams)
		problem("the guest ran no test")
	if (!started)
		problem("init has not started")
	end_stream()
	problems += complaints
	if (complaints > 3)
		print complaints - 3 " more complaints"
	if (verdict == "")
		problem("the guest sent no verdict")
	else if (verdict != "none" && verdict !~ /^pass /)
		problem("the guest's verdict: " verdict)
	if (problems && !failed)
		failed = 1
	print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped"
	exit problems > 0
}
