#!/bin/sh
# `orch-entrypoint sweep NAME ...`: what a job runs, as often as the cluster starts it. orch goes on from the storage,
# so a second start repeats nothing. A driver that still beats (of a cluster that is being deleted) is waited for, and
# so is MLflow at the end, as what is left unsent goes with the pod. exec: signals reach orch itself, and its exit
# code is the job's: 2 is the user's mistake, which another try repeats.
export ORCH_DRIVER_PATIENCE="${ORCH_DRIVER_PATIENCE:-120}" ORCH_TRACKING_PATIENCE="${ORCH_TRACKING_PATIENCE:-300}"
exec orch "$@"
