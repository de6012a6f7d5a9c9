#!/bin/sh
# The Node of the package, with the options and limits that server/overlayd.cjs would otherwise set by executing it again.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}" MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
exec /usr/lib/overlayd/node --max-semi-space-size=4 --no-parallel-scavenge /usr/lib/overlayd/server/overlayd.cjs "$@"
