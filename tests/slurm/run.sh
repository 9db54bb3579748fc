#!/usr/bin/env bash
# Trains a sweep of 12 tiny runs on a Slurm cluster of this machine and compares it with the same sweep without Slurm.
# Usage: bash tests/slurm/run.sh target/release/gradamp
#
# Meanwhile one task is preempted, one is asked to save before its time limit, one node loses its daemon while its task goes on, and one
# loses power: daemon, task and run are killed. Further, tasks are cancelled and submitted again, a node does not see the folder, and a
# partition does not exist. The cluster listens on 127.0.0.1 and ends with this script. Where Slurm cannot run, the script says
# "skipped" and ends with success.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "$1")
begun=$SECONDS

skip() { printf '\n*** skipped: the test of sweeps on a real Slurm: %s\n\n' "$*"; exit 0; }
say() { printf '%4s s  %s\n' $((SECONDS - begun)) "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; [ ! -d "${place:-}" ] || report >&2; exit 1; }

for command in slurmctld slurmd munged sbatch squeue scancel sinfo scontrol python3; do
    PATH=$PATH:/usr/sbin:/sbin command -v $command >/dev/null || skip "$command is not installed"
done
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || skip "the daemons run as root here"

# Not in /tmp, which is the machine's memory on some systems; --slurm refuses that.
base=$(dirname "$(dirname "$program")")
place=$(mktemp -d "$base/slurm.XXXXXX")
export CLUSTER=$place/cluster
# shellcheck source=tests/slurm/cluster.sh
. "$here/cluster.sh"
trap 'cluster_stop; rm -rf "$place" || { sleep 1; rm -rf "$place"; }' EXIT
trap 'exit 130' INT TERM HUP

report() {
    squeue --array --states=all || true
    sinfo --Node --long || true
    tail -n 30 "$CLUSTER"/log/* "$place"/*/slurm/*.log || true
}

# Waits until a command succeeds, for at most so many seconds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $until ] || fail "waited in vain: $what"
        sleep 0.2
    done
}

unset GRADAMP_DATA SLURM_CONF ${!SBATCH_*} ${!SLURM_*}
cluster_start >"$place/start" 2>&1 || { cat "$place/start" "$CLUSTER"/log/* || true; skip "the daemons do not start on this machine"; }
say "a cluster of ${#NODES[*]} nodes; Slurm $(sbatch --version)"

cd "$place"
study() { # NAME SEEDS EPOCHS
    cat >"$1.toml" <<TOML
seeds = $2
[base]
model.width = 2
amplification.kinds = ["batch_norm"]
train = { batch_size = 16, device = "cpu", threads = 1, log_interval = 1, checkpoint_seconds = 1 }
data = { source = "shapes", validation = 64, shapes = { train = 320, test = 64 } }
strategy.phase = [{ epochs = $3, lr = 0.05, amplify = true }]
[axes]
"amplification.factor" = [1.5]
TOML
}

# As many epochs as take about six seconds here.
seconds() {
    study probe 1 "$1"
    rm -rf probe
    local before=$EPOCHREALTIME
    "$program" sweep probe.toml --out probe --jobs 1 --quiet >/dev/null
    echo "$before $EPOCHREALTIME" | awk '{ print ($2 - $1) / 2 }'
}
short=$(seconds 1)
long=$(seconds 4)
epochs=$(echo "$short $long" | awk '{ epoch = ($2 - $1) / 3; n = int(6 / (epoch > 0.01 ? epoch : 0.01)); print (n < 4 ? 4 : (n > 200 ? 200 : n)) }')
study sweep 6 "$epochs"
cp sweep.toml local.toml
say "12 runs of $epochs epochs"

# What cannot be submitted is refused with one error, and nothing is trained here.
"$program" sweep sweep.toml --out refused --slurm --partition nowhere >out 2>err && fail "a partition that does not exist was accepted"
[ "$(grep -c '^error: ' err)" = 1 ] && grep -q 'invalid partition' err || fail "$(cat err)"
[ -z "$(ls refused/runs)" ] || fail "runs were trained on the login node"

"$program" sweep sweep.toml --out sweep --slurm --time 1 --sbatch-arg=--signal=B:USR1@45 --cpus-per-task 1 | tee submitted
array=$(sed -n 's/^submitted job \([0-9]*\): .* tasks.*/\1/p' submitted)
collect=$(sed -n 's/^submitted job \([0-9]*\): collects.*/\1/p' submitted)
[ -n "$array" ] && [ -n "$collect" ] || fail "no job was submitted"
"$program" sweep sweep.toml --out sweep --slurm | grep -q '^nothing to submit' || fail "runs that are queued were submitted again"

# The index of the task that runs on a node, and the name of its run.
task_on() { squeue --noheader --array --states=RUNNING --nodelist="$1" --jobs="$array" --Format=ArrayTaskID 2>/dev/null | tr -d ' ' | head -n 1; }
run_of() { python3 -c 'import json, sys; print(json.loads(open("sweep/slurm/jobs.jsonl").readline())["what"]["runs"][int(sys.argv[1])])' "$1"; }
trains_on() {
    local index
    index=$(task_on "$1") && [ -n "$index" ] || return 1
    [ -s "sweep/runs/$(run_of "$index")/checkpoints/last/state.json" ] && [ "$(status_of "$index")" = running ]
}
status_of() { python3 -c 'import json, sys; print(json.load(open(f"sweep/runs/{sys.argv[1]}/run.json"))["outcome"])' "$(run_of "$1")" 2>/dev/null; }
job_of() { scontrol show job --oneliner "${array}_$1" | sed 's/^JobId=\([0-9]*\) .*/\1/'; }
restarts() { scontrol show job --oneliner "${array}_$1" | grep -o ' Restarts=[0-9]*' | cut -d= -f2; }
is_restarted() { [ "$(restarts "$1")" -gt 0 ]; }
# The program of a task, and the run that it trains in a process of its own.
processes_of() { pgrep -f -- "$place/sweep(/runs/| --run |/configs/)$1" || true; }

# Another job displaces a task.
wait_for 60 "a run on n1" trains_on n1
preempted=$(task_on n1)
urgent=$(sbatch --parsable --partition=high --nodelist=n1 --output=/dev/null --wrap='sleep 1')
wait_for 30 "the preemption of task $preempted" is_restarted "$preempted"
say "task $preempted was preempted by job $urgent"
"$program" watch sweep --once --size 200x30 >frame
grep -Eq 'preempted, requeued|restarted once by preemption' frame || fail "watch does not show the preempted task: $(cat frame)"
for word in running queued; do
    grep -q "$word" frame || fail "watch shows no task that is $word: $(cat frame)"
done

# A daemon is killed, and its task goes on while Slurm gives the run to another node. The run stands still meanwhile, so that two tasks
# surely have it. Another node loses power.
wait_for 60 "runs on n2 and n3" eval "trains_on n2 && trains_on n3"
twice=$(task_on n2)
lost=$(task_on n3)
still=$(processes_of "$(run_of "$twice")")
# shellcheck disable=SC2086 # lists of processes
kill -STOP $still
kill -KILL "$(<"$CLUSTER/slurmd-n2.pid")"
# shellcheck disable=SC2046
kill -KILL "$(<"$CLUSTER/slurmd-n3.pid")" $(pgrep -f "^slurmstepd: \[$(job_of "$lost")\.") $(pgrep -f "job0*$(job_of "$lost")/slurm_script") \
    $(processes_of "$(run_of "$lost")")
say "the daemon of n2 was killed while task $twice ran there; n3 lost power with task $lost"
# A signal to the run's group may continue it, so that it is stopped again and again.
# shellcheck disable=SC2086
still_and() { kill -STOP $still && "$@"; }
wait_for 60 "task $lost on another node" still_and is_restarted "$lost"
node_start n3
wait_for 60 "task $twice on another node" still_and is_restarted "$twice"
scontrol update "JobId=${array}_$twice" Priority=4000000000 StartTime=now
second_attempt() { [ "$(grep -c "runs in .* cells; folder" "sweep/slurm/${array}_$twice.log")" -ge 2 ]; }
wait_for 90 "the second task of run $twice" still_and second_attempt
# shellcheck disable=SC2086
kill -CONT $still 2>/dev/null || true
say "two tasks have run $twice"
wait_for 60 "the end of run $twice" eval '[ "$(status_of "$twice")" = finished ]'
lines() { grep -n "$1" "sweep/slurm/${array}_$twice.log" | tail -n 1 | cut -d: -f1; }
[ "$(lines 'runs in .* cells; folder')" -lt "$(lines '^\[1/1\]')" ] || fail "the second task began after the end of the run"
grep -q '"resumed": \[\]' "sweep/runs/$(run_of "$twice")/run.json" || fail "the run that two tasks had was trained by both"
node_start n2

is_done() { [ -z "$(squeue --noheader --jobs="$array,$collect" 2>/dev/null)" ]; }
wait_for 150 "the end of the sweep" is_done
say "the sweep is finished"
grep -q '^requeued: ' sweep/slurm/"${array}"_*.log || fail "no task met its time limit"
say "tasks that saved before their time limit: $(grep -l '^requeued: ' sweep/slurm/"${array}"_*.log | wc -l)"
grep -q 'baseline  *6/6' "sweep/slurm/$collect.log" || fail "the last job did not collect the results"
"$program" sweep sweep.toml --out sweep --slurm | grep -q '^nothing to submit: of 12 runs 12 are done' || fail "finished runs were submitted"
"$program" verify sweep >/dev/null || fail "a file of the sweep is damaged"

"$program" sweep sweep.toml --out local --jobs 2 --quiet >/dev/null
python3 "$here/compare.py" local sweep || fail "the sweep on Slurm differs from the local one"
say "all results are those of a sweep without Slurm"

# Cancelled tasks save, and are not requeued; another call submits them again.
study cancel 1 200
"$program" sweep cancel.toml --out cancel --slurm --max-parallel 2 >/dev/null
saved() { [ -s cancel/runs/baseline_seed-1/checkpoints/last/state.json ]; }
wait_for 60 "a run to cancel" saved
"$program" watch cancel --cancel | grep -q '^cancelled job' || fail "the tasks were not cancelled"
is_empty() { [ -z "$(squeue --noheader 2>/dev/null)" ]; }
wait_for 60 "the end of the cancelled tasks" is_empty
grep -q '"outcome": "interrupted"' cancel/runs/baseline_seed-1/run.json || fail "the cancelled run is not saved"
"$program" watch cancel --once --size 200x30 | grep -Eq 'cancelled' || fail "watch does not show the cancelled tasks"
"$program" sweep cancel.toml --out cancel --slurm --sbatch-arg=--hold | grep -q ': 2 tasks' || fail "cancelled runs were not submitted again"
"$program" watch cancel --cancel >/dev/null
say "cancelled tasks saved, and were submitted again"

# A node that does not see the folder.
if unshare --mount true 2>/dev/null; then
    daemon=$(<"$CLUSTER/slurmd-n3.pid")
    kill "$daemon"
    while kill -0 "$daemon" 2>/dev/null; do sleep 0.1; done
    mkdir hidden
    unshare --mount bash -c "mount -t tmpfs none '$place/hidden' && slurmd -N n3 -f '$SLURM_CONF'"
    "$program" sweep cancel.toml --out hidden/sweep --slurm --sbatch-arg=--nodelist=n3 >/dev/null
    shows() { "$program" watch hidden/sweep --once --size 200x30 >frame && grep -q "$1" frame; }
    wait_for 60 "the failure of a node that does not see the folder" shows "does the node see the sweep's folder"
    [ -z "$(ls hidden/sweep/runs)" ] || fail "something was written"
    "$program" watch hidden/sweep --cancel >/dev/null
    say "a node that does not see the folder is named"
fi
echo "passed in $((SECONDS - begun)) s"
