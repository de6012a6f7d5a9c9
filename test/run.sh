#!/bin/bash
# npm test: prepares the machine, checks the sources, runs every test, and ends with the line `N passed, N failed`.
#   test/run.sh          everything; the tests with real clients need root (for apt-get, mounts and overlay)
#   test/run.sh --unit   without the tests with real clients: no root, no packages
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PATH="$PWD/node_modules/.bin:$PATH"

passed=0
failed=0

# One line for each check that is no test; what it printed only when it failed.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok: $name"
  else
    echo "$output"
    echo "FAILED: $name"
    failed=$((failed + 1))
  fi
}

# Reads `# { total: 12, pass: 10, fail: 2 }`, the last line of its kind that tap wrote.
count() {
  local summary
  summary=$(grep -aE '^# \{ total: ' "$1" | tail -1)
  [[ $summary =~ pass:\ ([0-9]+) ]] && passed=$((passed + BASH_REMATCH[1]))
  [[ $summary =~ fail:\ ([0-9]+) ]] && failed=$((failed + BASH_REMATCH[1]))
  [[ $summary =~ (skip|todo):\ ([0-9]+) ]] && echo "${BASH_REMATCH[2]} left out (${BASH_REMATCH[1]})"
  [ -n "$summary" ]
}

if [ "${1:-}" = --unit ]; then
  files=$(find test -name '*.test.ts' -not -path 'test/external/*' | sort)
else
  files=$(find test -name '*.test.ts' | sort)
  bash test/external/setup || {
    echo 'Without real clients: npm run test:unit' >&2
    echo '0 passed, 1 failed'
    exit 1
  }
  # Once for all files of this run; it says which it is.
  KERNEL_CLIENT_ACCEL=$(test/external/kernel-client/accelerator) || {
    echo '0 passed, 1 failed'
    exit 1
  }
  export KERNEL_CLIENT_ACCEL
fi

check 'lint and format' biome check --error-on-warnings
check types tsc --noEmit
check 'types of the package' tsc -p tsconfig.build.json --noEmit
check 'test runner' tap build

mkdir -p .tap
results=.tap/results.tap
# shellcheck disable=SC2086 # no name of a test holds a blank
tap run --reporter=tap $files | tee "$results" | node test/report.ts
status=${PIPESTATUS[0]}
count "$results" || failed=$((failed + 1))
# A status without a failed assertion: a test file that ended wrongly.
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
