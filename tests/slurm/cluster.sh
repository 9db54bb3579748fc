# A Slurm cluster of three nodes on this machine, for the scripts that source this file.
#
# Everything listens on 127.0.0.1 and lives in the folder $CLUSTER: configuration, key, sockets, logs and state. `cluster_stop` ends
# every process that `cluster_start` began.

NODES=(n1 n2 n3)

# A number of a free port of 127.0.0.1, and the two above it: python3 asks the system.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for it in sockets:
    it.bind(("127.0.0.1", 0))
print(*(it.getsockname()[1] for it in sockets))
PYTHON
}

cluster_start() {
    local ports node number=1
    mkdir -p "$CLUSTER"/{munge,state,spool,log}
    chmod 755 "$CLUSTER" "$CLUSTER"/*
    read -r -a ports <<<"$(free_ports $((${#NODES[@]} + 1)))"
    export SLURM_CONF=$CLUSTER/slurm.conf
    {
        cat <<CONF
ClusterName=gradamp
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmctldParameters=idle_on_node_suspend
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$CLUSTER/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$CLUSTER/state
SlurmdSpoolDir=$CLUSTER/spool/%n
SlurmctldPidFile=$CLUSTER/slurmctld.pid
SlurmdPidFile=$CLUSTER/slurmd-%n.pid
SlurmctldLogFile=$CLUSTER/log/slurmctld
SlurmdLogFile=$CLUSTER/log/%n
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=1,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
InactiveLimit=0
KillWait=15
MinJobAge=600
OverTimeLimit=0
CONF
        for node in "${NODES[@]}"; do
            echo "NodeName=$node NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=${ports[$number]} CPUs=1 RealMemory=1000 State=UNKNOWN"
            number=$((number + 1))
        done
        echo "PartitionName=low Nodes=ALL Default=YES PriorityTier=1 MaxTime=60 State=UP"
        echo "PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=60 State=UP"
    } >"$SLURM_CONF"
    dd if=/dev/urandom of="$CLUSTER/munge/key" bs=1024 count=1 status=none
    chmod 600 "$CLUSTER/munge/key"
    munged --force --key-file="$CLUSTER/munge/key" --socket="$CLUSTER/munge/socket" --pid-file="$CLUSTER/munge/pid" \
        --log-file="$CLUSTER/munge/log" --seed-file="$CLUSTER/munge/seed" || return 1
    slurmctld -c -f "$SLURM_CONF" || return 1
    for node in "${NODES[@]}"; do
        node_start "$node" || return 1
    done
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --Node --partition=low --states=idle --format=%N 2>/dev/null | wc -l)" = ${#NODES[@]} ] && return 0
        sleep 0.5
    done
    sinfo || true
    return 1
}

node_start() {
    slurmd -N "$1" -f "$SLURM_CONF"
}

cluster_stop() {
    local file pid
    set +e # also what has ended already is no reason to leave the rest
    [ -n "${SLURM_CONF:-}" ] && scancel --user=root 2>/dev/null
    # The daemons by their numbers, and then what has the cluster's own folder on its command line: programs and runs of jobs.
    for file in "$CLUSTER"/slurmctld.pid "$CLUSTER"/slurmd-*.pid "$CLUSTER"/munge/pid; do
        [ -s "$file" ] && pid=$(<"$file") && kill "$pid" 2>/dev/null
    done
    sleep 1
    for pid in $(pgrep -f -- "$(dirname "$CLUSTER")/"); do
        [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null
    done
    for pid in $(pgrep -f '^slurmstepd: '); do
        [[ "$(readlink "/proc/$pid/cwd")" = "$CLUSTER"/* ]] && kill -KILL "$pid" 2>/dev/null
    done
    return 0
}
