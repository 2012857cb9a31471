#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Line coverage: `coverage.sh FOLDER PROGRAM…` runs the unit tests built in FOLDER with --coverage and
# prints, file by file, how many of its lines ran.
set -uo pipefail

folder=$1
shift
find "$folder" -name '*.gcda' -delete
status=0
scripts/unit.sh "$@" || status=1
find "$folder" -name '*.gcda' -not -path '*/test/*' -print0 | sort -z |
	xargs -0 gcov -n 2>/dev/null |
	awk -F "[':%]" '
		/^File/ { file = $2 }
		/^Lines executed/ && file ~ /^(lib|vand|vanctl|console-api)\/.*\.c$/ {
			split($0, part, /[:% ]+/)
			of = part[length(part)]
			if (!(file in lines) || part[3] > percent[file]) { lines[file] = of; percent[file] = part[3] }
			file = ""
		}
		END {
			for (f in lines) {
				printf "%6.1f %% of %5d  %s\n", percent[f], lines[f], f | "sort -k 5"
				run += percent[f] * lines[f] / 100
				all += lines[f]
			}
			close("sort -k 5")
			if (all) printf "%6.1f %% of %5d  in all\n", 100 * run / all, all
		}'
exit "$status"
