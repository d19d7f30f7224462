#!/usr/bin/env bash
# A real SLURM of N virtual nodes on this machine, for tests: loopback only, no GPU, state that a start wipes.
#
#   virtual_cluster.sh start [N]    N nodes (2), each with 16 processors and 8 devices that only count; prints what to export
#   virtual_cluster.sh stop         cancel the jobs and end the daemons that were started here
#
# VIRTUAL_CLUSTER is its folder (/tmp/hs2pref-slurm), which every user must be able to enter.
set -euo pipefail
DIR=${VIRTUAL_CLUSTER:-/tmp/hs2pref-slurm}
GPUS=8
export SLURM_CONF=$DIR/slurm.conf

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

start() {
  local count=$1 node
  ((EUID == 0)) || die "start it as root: slurmd runs jobs as their users"
  command -v slurmctld slurmd munged >/dev/null || die "SLURM is not installed: make slurm-deps"
  stop
  rm -rf "$DIR"
  mkdir -p "$DIR/state" "$DIR/munge"
  chmod 755 "$DIR" "$DIR/munge"
  configure "$count"
  munged --key-file="$DIR/munge.key" --socket="$DIR/munge/socket" --pid-file="$DIR/munged.pid" --seed-file="$DIR/munge.seed" \
    --log-file="$DIR/munged.log"
  slurmctld -c
  for ((node = 1; node <= count; node++)); do slurmd -c -N "node$node"; done
  local deadline=$((SECONDS + 60))
  until [[ $(sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | wc -l) == "$count" ]]; do
    ((SECONDS < deadline)) || { tail -n 5 "$DIR"/*.log >&2; stop; die "not all nodes are up after a minute"; }
    sleep 0.2
  done
  echo "export SLURM_CONF=$SLURM_CONF"
}

# One host plays all nodes, hence %n, ports of their own and more processors than it has. Short intervals, so that a job
# starts within seconds, and a requeued one after cred_expire seconds. slurmctld looks at signals every 30 s all the same.
configure() {
  local count=$1 node port
  port=$(free_ports)
  (umask 077 && head -c 128 /dev/urandom > "$DIR/munge.key")
  for ((node = 0; node < GPUS; node++)); do mknod -m 666 "$DIR/gpu$node" c 1 3; done   # twins of /dev/null: SLURM counts devices
  echo "Name=gpu File=$DIR/gpu[0-$((GPUS - 1))]" > "$DIR/gres.conf"
  cat > "$SLURM_CONF" <<CONF
ClusterName=virtual
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket,cred_expire=5
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool-%n
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd-%n.pid
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
GresTypes=gpu
CONF
  for ((node = 1; node <= count; node++)); do
    echo "NodeName=node$node NodeAddr=127.0.0.1 Port=$((port + node)) CPUs=16 RealMemory=8000 Gres=gpu:$GPUS"
  done >> "$SLURM_CONF"
  echo "PartitionName=virtual Nodes=node[1-$count] Default=YES MaxTime=INFINITE" >> "$SLURM_CONF"
}

# The first of a hundred that nobody listens at.
free_ports() {
  local port
  for ((port = 17600; port < 20000; port += 100)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

# Jobs first: they would outlive the daemons. A pid file counts only while its process is still that daemon.
stop() {
  local file pid name
  if [[ -e $DIR/slurmctld.pid ]]; then
    timeout 10 scancel --full --user="$(id -un)" 2>/dev/null || true
    for _ in {1..60}; do [[ -n $(timeout 5 squeue --noheader 2>/dev/null) ]] || break; sleep 0.5; done
  fi
  for file in "$DIR"/slurmd-*.pid "$DIR/slurmctld.pid" "$DIR/munged.pid"; do
    [[ -e $file ]] || continue
    pid=$(<"$file") name=$(basename "$file" .pid)
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${name%%-*}" ]] || continue
    kill "$pid" 2>/dev/null && timeout 20 tail --pid="$pid" -f /dev/null || true
  done
}

case ${1-} in
  start) start "${2:-2}" ;;
  stop) stop ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
