#!/usr/bin/env bash
# Checks that a long run does not leak memory or file handles.
# Usage: bash tests/soak.sh target/release/gradamp [STEPS]
# Trains for STEPS steps (10,000 by default), with evaluations, gradient statistics, checkpoints and event files, and
# prints the memory and handles of the process ten times. Works on Linux only, because it reads /proc. Exits with 1
# if, from the second measurement to the last, memory grows by more than a twentieth or the number of handles grows at
# all.
set -euo pipefail
program=$(realpath "$1")
steps=${2:-10000}
place=$(mktemp -d)
trap 'kill "$run" 2>/dev/null || true; wait "$run" 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
# An epoch has 50 steps.
"$program" train --quiet --device cpu --threads 1 --model resnet18 --width 2 --batch-size 8 --data shapes --epochs $((steps / 50)) --tensorboard --out run \
    --set data.shapes.train=400 --set data.shapes.test=40 --set train.log_interval=1 --set train.gradients_every=10 --set train.checkpoint_seconds=1 &
run=$!
# The smallest of five counts, because a checkpoint that is being written holds a handle for a moment.
handles_of() {
    for _ in 1 2 3 4 5; do
        ls "/proc/$run/fd" 2>/dev/null | wc -l
        sleep 0.05
    done | sort -n | head -1
}
done_steps() { [ -s run/metrics.jsonl ] && grep -c '"kind":"step"' run/metrics.jsonl || echo 0; }
printf '%8s  %10s  %7s\n' steps 'VmRSS kB' handles
measurements=0
for part in 1 2 3 4 5 6 7 8 9 10; do
    until [ "$(done_steps)" -ge $((steps * part / 10 - 1)) ]; do
        kill -0 "$run" 2>/dev/null || break
        sleep 0.2
    done
    memory=$(awk '/VmRSS/ { print $2 }' "/proc/$run/status" 2>/dev/null || true)
    handles=$(handles_of)
    [ -n "$memory" ] && [ "$handles" -gt 0 ] || break # the run has ended
    printf '%8d  %10d  %7d\n' "$(done_steps)" "$memory" "$handles"
    measurements=$((measurements + 1))
    if [ "$measurements" = 2 ]; then first_memory=$memory first_handles=$handles; fi
    last_memory=$memory last_handles=$handles
done
wait "$run"
[ "$measurements" -ge 3 ] || { echo "the run was too short: only $measurements measurements were made"; exit 1; }
if [ $((last_memory * 20)) -gt $((first_memory * 21)) ] || [ "$last_handles" -gt "$first_handles" ]; then
    echo "memory or handles have grown"
    exit 1
fi
echo "memory and handles have not grown"
