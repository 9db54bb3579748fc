#!/usr/bin/env bash
# Memory and handles of a long run: `bash tests/soak.sh target/release/gradamp [STEPS]` trains, 10,000 steps if nothing else is said, with evaluations,
# gradients, checkpoints and event files on the way, and prints ten times what the process holds. Linux: it reads /proc.
# Ends with 1 if memory grows by more than a twentieth, or handles by any, from the second look to the last.
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
# The fewest of some looks: a checkpoint that is being written holds a handle for a moment.
handles_of() {
    for _ in 1 2 3 4 5; do
        ls "/proc/$run/fd" 2>/dev/null | wc -l
        sleep 0.05
    done | sort -n | head -1
}
done_steps() { [ -s run/metrics.jsonl ] && grep -c '"kind":"step"' run/metrics.jsonl || echo 0; }
printf '%8s  %10s  %7s\n' steps 'VmRSS kB' handles
looks=0
for part in 1 2 3 4 5 6 7 8 9 10; do
    until [ "$(done_steps)" -ge $((steps * part / 10 - 1)) ]; do
        kill -0 "$run" 2>/dev/null || break
        sleep 0.2
    done
    memory=$(awk '/VmRSS/ { print $2 }' "/proc/$run/status" 2>/dev/null || true)
    handles=$(handles_of)
    [ -n "$memory" ] && [ "$handles" -gt 0 ] || break # the run is over
    printf '%8d  %10d  %7d\n' "$(done_steps)" "$memory" "$handles"
    looks=$((looks + 1))
    if [ "$looks" = 2 ]; then first_memory=$memory first_handles=$handles; fi
    last_memory=$memory last_handles=$handles
done
wait "$run"
[ "$looks" -ge 3 ] || { echo "too short a run: it was looked at $looks times"; exit 1; }
if [ $((last_memory * 20)) -gt $((first_memory * 21)) ] || [ "$last_handles" -gt "$first_handles" ]; then
    echo "not flat"
    exit 1
fi
echo "flat"
