import type { ClusterHistory, SeenHost, SeenVm } from "./cluster-history.ts";
import type { SimReplica } from "./sim-replica.ts";

/** What is not as it must be once nothing goes wrong any more; empty when all is. */
export function unsettled(history: ClusterHistory, replicas: ReadonlyMap<string, SimReplica>): string[] {
  const open = [...history.operations.values()].filter(({ id }) => !history.isOver(id));
  return [
    ...open.map(({ id, kind, target }) => `${id} ${kind} ${target} goes on`),
    ...[...history.hosts.values()].flatMap((host) => ofHost(history, replicas, host)),
    ...[...history.vms.values()].flatMap((vm) => ofVm(history, vm)),
  ];
}

function ofHost(
  history: ClusterHistory,
  replicas: ReadonlyMap<string, SimReplica>,
  { name, guard }: SeenHost,
): string[] {
  const state = history.states.get(name);
  const owners = [...replicas.values()].filter(({ membership }) => membership.ownedSinceMs(name) !== undefined);
  const held = guard.list().filter((uid) => !guard.runs(uid));
  const unneeded = history.ledgers.on(name).filter(({ uid }) => !isOn(history.vmOf(uid), name));
  return [
    ...(state === "HOST_STATE_READY" ? [] : [`${name} is ${state}`]),
    ...(owners.length === 1
      ? []
      : [`${name} is owned by ${owners.map(({ address }) => address).join(", ") || "nobody"}`]),
    ...held.map((uid) => `${uid} is held on ${name}`),
    ...unneeded.map(({ uid, operation }) => `${name} holds ${uid}/${operation}, which nobody needs`),
  ];
}

function ofVm(history: ClusterHistory, vm: SeenVm): string[] {
  const { name, uid, host, state, holder } = vm;
  const where = history.ledgers.holdersOf(uid);
  const isAbsent = state === "VM_STATE_RUNNING" && history.hosts.get(host)?.guard.runs(uid) !== true;
  return [
    ...(history.isOver(holder) ? [] : [`${name} is held by ${holder}`]),
    ...(isPlaced(vm, where)
      ? []
      : [`${name} on ${host || "nothing"} is in the ledgers of ${where.join(", ") || "nobody"}`]),
    ...(isAbsent && !history.isLost(uid) ? [`${name} does not run on ${host}`] : []),
  ];
}

/** What failed half-way, and could not be taken back, may have given back its place. */
function isPlaced(vm: SeenVm, where: readonly string[]): boolean {
  const { host, state } = vm;
  const isAway = host === "" || (state === "VM_STATE_FAILED" && where.length === 0);
  return isAway ? where.length === 0 : where.includes(host) && where.every((one) => isOn(vm, one));
}

const isOn = (vm: SeenVm | undefined, host: string): boolean => vm?.host === host || vm?.movedFrom === host;
