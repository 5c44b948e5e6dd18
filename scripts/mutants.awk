# SPDX-License-Identifier: GPL-2.0
# Reads the mutants in tools/testing/qemu/mutants/*.mut, see scripts/mutants. Prints a
# line for each: number, name, area, whether "make check" runs it, who must see it (or
# "-"), what it breaks, why it is equivalent; with tabs between. With -v tree=DIR, puts
# them into the sources there, all at once, each under its number. -v known="..." are the
# scenarios there are. What is wrong is said in a line each, and is the exit status.

function wrong(where, text)
{
	print where ": " text >"/dev/stderr"
	bad = 1
}

function trim(text)
{
	gsub(/^[ \t\n]+|[ \t\n]+$/, "", text)
	return text
}

function in_word(char)
{
	return char ~ /[A-Za-z0-9_]/
}

# Where the text in word[1..n] ends that begins at @at, with any blanks between words; 0
# if it does not begin there.
function match_end(text, at, n,		i)
{
	for (i = 1; i <= n; i++) {
		if (i > 1) {
			if (substr(text, at, 1) !~ /[ \t\n]/)
				return 0
			while (substr(text, at, 1) ~ /[ \t\n]/)
				at++
		}
		if (substr(text, at, length(word[i])) != word[i])
			return 0
		at += length(word[i])
	}
	if (in_word(substr(text, at - 1, 1)) && in_word(substr(text, at, 1)))
		return 0
	return at
}

# Counts where @old stands in @text; the last place is left in found_at and found_end.
function occurrences(text, old,		n, at, end, skip, count)
{
	n = split(trim(old), word, /[ \t\n]+/)
	for (at = 1; (skip = index(substr(text, at), word[1])); at++) {
		at += skip - 1
		if (at > 1 && in_word(substr(text, at - 1, 1)) && in_word(substr(word[1], 1, 1)))
			continue
		end = match_end(text, at, n)
		if (end) {
			found_at = at
			found_end = end
			count++
		}
	}
	return count + 0
}

# The last line of what begins in line @i: a function or an initializer, to the brace that
# closes it; a trace event; 0 if it is only declared there.
function last_line(i,	j, event, inside)
{
	event = line[i] ~ /^(TRACE_EVENT|DECLARE_EVENT_CLASS|DEFINE_EVENT)/
	for (j = i; j <= lines; j++) {
		if (event && line[j] ~ /^\);/)
			return j
		if (event)
			continue
		inside = inside || line[j] ~ /[{]/
		if (inside && (line[j] ~ /^[}]/ || j == i && line[j] ~ /[}];?$/))
			return j
		if (!inside && line[j] ~ /;$/)
			return 0
	}
	return 0
}

# The definitions of @what among the lines of a file: begin[n] to finish[n]. Returns how many
# there are. "*" is the whole file.
function find_definitions(what,		i, n, named)
{
	if (what == "*") {
		begin[1] = 1
		finish[1] = lines
		return 1
	}
	named = "(^|[^A-Za-z0-9_])" what "([^A-Za-z0-9_]|$)"
	for (i = 1; i <= lines; i++) {
		if (line[i] !~ /^[A-Za-z]/ || line[i] !~ named)
			continue
		finish[n + 1] = last_line(i)
		if (!finish[n + 1])
			continue
		begin[++n] = i
		i = finish[n]
	}
	return n + 0
}

# That of the line that @at is in
function indentation(text, at,	start, blanks)
{
	for (start = at; start > 1 && substr(text, start - 1, 1) != "\n"; start--)
		;
	for (blanks = 0; substr(text, start + blanks, 1) ~ /[ \t]/; blanks++)
		;
	return substr(text, start, blanks)
}

# Put @text in place of some lines.
function put_back(text, first, last,	i, n, piece, by)
{
	n = split(text, piece, "\n")
	by = n - (last - first + 1)
	if (by > 0)
		for (i = lines; i > last; i--)
			line[i + by] = line[i]
	if (by < 0)
		for (i = last + 1; i <= lines; i++)
			line[i + by] = line[i]
	lines += by
	for (i = 1; i <= n; i++)
		line[first + i - 1] = piece[i]
}

# One change of a mutant in the lines of its file
function change(h,	n, i, j, text, count, total, which, all, at, end, new)
{
	n = find_definitions(where_in[h])
	if (!n) {
		wrong(origin[h], "mutant " name[of[h]] ": no " where_in[h] " in " file[h])
		return
	}
	for (i = 1; i <= n; i++) {
		text = line[begin[i]]
		for (j = begin[i] + 1; j <= finish[i]; j++)
			text = text "\n" line[j]
		count = occurrences(text, old[h])
		if (!count)
			continue
		total += count
		which = i
		all = text
		at = found_at
		end = found_end
	}
	if (total != 1) {
		wrong(origin[h], "mutant " name[of[h]] ": its text is " (total ? "there " total " times" : "not there") \
		      " in " where_in[h] " of " file[h])
		return
	}
	new = fresh[h]
	gsub(/MUTANT/, "mutant(" of[h] ")", new)
	gsub(/\n/, "\n" indentation(all, at), new)
	put_back(substr(all, 1, at - 1) new substr(all, end), begin[which], finish[which])
}

# All changes in one file, and the header that they need.
function mutate(path,	h, i, text, included)
{
	lines = 0
	while ((getline text <(tree "/" path)) > 0)
		line[++lines] = text
	close(tree "/" path)
	for (h = 1; h <= hunks; h++)
		if (file[h] == path)
			change(h)
	if (bad)
		return
	for (i = 1; i <= lines; i++) {
		if (!included && line[i] ~ /^#[ \t]*include/)
			print "#include <linux/mutant.h>" >(tree "/" path)
		included = included || line[i] ~ /^#[ \t]*include/
		print line[i] >(tree "/" path)
	}
	close(tree "/" path)
	if (!included)
		wrong(path, "nothing is included there, and mutants want a header")
}

function end_mutant(	i, n, part)
{
	if (!mutants)
		return
	if (breaks[mutants] == "")
		wrong(born[mutants], "mutant " name[mutants] ": does not say what it breaks")
	if (seen[mutants] == "" && equivalent[mutants] == "")
		wrong(born[mutants], "mutant " name[mutants] ": nobody is to see it, nor is it equivalent")
	if (!changes)
		wrong(born[mutants], "mutant " name[mutants] ": changes nothing")
	else if (!marked)
		wrong(born[mutants], "mutant " name[mutants] ": MUTANT is not in it")
	n = split(seen[mutants], part, " ")
	for (i = 1; i <= n; i++)
		if (index(" " known " ", " " part[i] " ") == 0)
			wrong(born[mutants], "mutant " name[mutants] ": no scenario " part[i])
}

# The text of a line behind its first word
function rest(	text)
{
	text = $0
	sub(/^[ \t]*[^ \t]+[ \t]*/, "", text)
	return trim(text)
}

function new_mutant(	n, part)
{
	end_mutant()
	name[++mutants] = $2
	if ($2 !~ /^[a-z0-9][a-z0-9-]*$/ || NF != 2)
		wrong(FILENAME ":" FNR, "mutant " rest() ": a name is of small letters, digits and -")
	if ($2 in known_as)
		wrong(FILENAME ":" FNR, "mutant " $2 ": there is one in " known_as[$2])
	known_as[$2] = born[mutants] = FILENAME ":" FNR
	n = split(FILENAME, part, "/")
	area[mutants] = part[n]
	sub(/\.mut$/, "", area[mutants])
	changes = marked = 0
	now_file = now_in = ""
}

FNR == 1 { state = "" }
/^[ \t]*(#|$)/ { next }
$1 == "mutant" { new_mutant(); state = ""; next }
!mutants { wrong(FILENAME ":" FNR, "before the first mutant"); next }
$1 == "breaks" { breaks[mutants] = rest(); next }
$1 == "seen-by" { seen[mutants] = rest(); next }
$1 == "equivalent" { equivalent[mutants] = rest(); next }
$1 == "in-check" { in_check[mutants] = 1; next }
$1 == "file" { now_file = $2; state = ""; next }
$1 == "in" { now_in = $2; state = ""; next }
$1 == "-" {
	if (state != "-") {
		h = ++hunks
		changes++
		of[h] = mutants
		file[h] = now_file
		where_in[h] = now_in
		origin[h] = FILENAME ":" FNR
		if (now_file == "" || now_in == "")
			wrong(origin[h], "mutant " name[mutants] ": no file, or no function")
	}
	state = "-"
	old[h] = old[h] rest() "\n"
	next
}
$1 == "+" && state != "" {
	state = "+"
	fresh[h] = fresh[h] (fresh[h] == "" ? "" : "\n") rest()
	marked += /MUTANT/
	next
}
{ wrong(FILENAME ":" FNR, "not understood: " trim($0)) }

END {
	end_mutant()
	for (h = 1; h <= hunks && !bad && tree; h++) {
		if (file[h] in done)
			continue
		done[file[h]] = 1
		if ((getline text <(tree "/" file[h])) <= 0) {
			wrong(origin[h], "mutant " name[of[h]] ": no " file[h])
			continue
		}
		close(tree "/" file[h])
	}
	if (!bad && tree) {
		for (path in done)
			files[++nfiles] = path
		for (i = 1; i <= nfiles; i++)
			mutate(files[i])
	}
	for (m = 1; m <= mutants && !bad; m++)
		print m "\t" name[m] "\t" area[m] "\t" (in_check[m] ? "check" : "-") "\t" \
			(equivalent[m] == "" ? seen[m] : "-") "\t" breaks[m] "\t" equivalent[m]
	exit bad
}
