# SPDX-License-Identifier: GPL-2.0
# The plots of scripts/bench, from results.csv in the current folder.
set terminal svg size 900,600 background "white"
set datafile separator ","
set grid
set key outside right top
unset errorbars

figures(kernel, op) = sprintf("< awk -F, '$1 == \"%s\" && $2 == \"icount\" && $3 == 1 && $4 == \"%s\" { print $5 * 4096 \",\" $7 / $5 }' results.csv", kernel, op)
kernels = system("cut -d, -f1 results.csv | grep -qx peer && echo patched peer || echo patched")

set output "make.svg"
set title "Make exclusive and release"
set logscale xy
set xlabel "bytes"
set ylabel "instructions a page"
set xtics ("4 KiB" 2**12, "64 KiB" 2**16, "2 MiB" 2**21, "64 MiB" 2**26, "1 GiB" 2**30)
plot for [k in kernels] for [op in "make+release make-still make-again make-takeover thp-make+release shared-make+release shared8-make+release touch mprotect-none"] \
	figures(k, op) using 1:2 with linespoints title k." ".op

set output "restore.svg"
set title "The CPU takes it back"
plot for [k in kernels] for [op in "read-back read-back-backward read-back-random write-back thp-read-back shared-read-back shared8-read-back touch mprotect-back"] \
	figures(k, op) using 1:2 with linespoints title k." ".op

set output "rest.svg"
set title "The patched kernel against the base, 2 MiB and more"
unset logscale
unset key
set xlabel ""
set ylabel "instructions more, per cent"
set xtics auto rotate by -60
set style fill solid 0.5
set boxwidth 0.8
set rmargin 8
rest = "< awk -F, '$2 == \"icount\" && ($5 == 512 || $5 == 16384) { k = $1 SUBSEP $4 SUBSEP $5; if ($1 == \"base\" && !(k in cost)) row[++n] = $4 SUBSEP $5; if (!(k in cost) || $7 < cost[k]) cost[k] = $7 } END { for (i = 1; i <= n; i++) { split(row[i], p, SUBSEP); print p[1] \" \" p[2] / 256 \" MiB,\" 100 * (cost[\"patched\", row[i]] / cost[\"base\", row[i]] - 1) } }' results.csv"
plot rest using 0:2:xtic(1) with boxes

set output "threads.svg"
unset rmargin
set title "Threads with 8 MiB each in one mm (emulated, wall-clock)"
set key
set xlabel "threads"
set ylabel "time against one thread"
set xtics (1, 2, 4, 8) norotate
set yrange [0:]
threads(op) = sprintf("< awk -F, '$1 == \"patched\" && $2 == \"tcg\" && $4 == \"%s\" { if (!one) one = $7; print $5 / 2048 \",\" $7 / one }' results.csv", op)
plot for [op in "threads-spin threads-touch threads-make threads-read-back"] \
	threads(op) using 1:2 with linespoints title op
