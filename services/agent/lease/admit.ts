import { Recovery } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepAction, StepContext } from "../steps/step-runner.ts";
import type { Starts } from "./host-lease.ts";
import { heldByLease, type LeaseHold } from "./lease-hold.ts";

type AdmitDeps = Pick<AgentParts, "workloads" | "containers" | "starts">;

/** A VM or a container of this host. */
interface Admitted {
  readonly uid: string;
  readonly name: string;
  readonly isGuarded: boolean;
  readonly isLeftBehind: boolean;
  readonly leaseHold: LeaseHold | undefined;
  readonly adopted: Promise<void>;
}

/** These take back what a step did, and wait rather than leave half of it behind. */
export const takesBack: ReadonlySet<StepAction["$case"]> = new Set([
  "discardCheckpoint",
  "thawHeld",
  "removeCheckpoints",
]);
/** Also those that end it before they start it again: ended by then, it could not be started. */
export function startsIt(action: StepAction): boolean {
  if (action.$case === "applyCheckpoint") return action.value.leaveOff !== true;
  if (action.$case === "createContainer") return action.value.start;
  return ["startVm", "rebootVm", "startContainer"].includes(action.$case);
}

/** What makes a workload anew, or removes it, decides whether it may be started afterwards. */
export function noteMade(
  starts: Pick<Starts, "making" | "deleting">,
  uid: string,
  { $case }: StepAction,
  isHere: boolean,
): void {
  if (!isHere && ($case === "createVm" || $case === "createContainer")) starts.making(uid);
  if ($case === "deleteVm" || $case === "deleteContainer") starts.deleting(uid);
}

/**
 * Lets a step begin when the workload can answer it. Whatever is the matter with it, it can be ended and deleted.
 * @throws StillpointError LEASE_EXPIRED, START_UNCONFIRMED, WORKLOAD_LEFT_BEHIND
 */
export async function admit(deps: AdmitDeps, { uid, signal }: StepContext, action: StepAction): Promise<void> {
  const find = () => findVm(deps, uid) ?? findContainer(deps, uid);
  const found = find();
  noteMade(deps.starts, uid, action, found !== undefined);
  if (found === undefined) return;
  if (found.isLeftBehind) return refuseLeftBehind(found, action);
  if (takesBack.has(action.$case)) await untilFree(find, signal);
  if (find()?.leaseHold !== undefined) {
    if (endsIt(action)) return;
    throw heldByLease(found.name);
  }
  await unlessAborted(signal, found.adopted);
  if (found.isGuarded && startsIt(action)) await deps.starts.confirm(found, signal);
}

function findVm({ workloads }: AdmitDeps, uid: string): Admitted | undefined {
  const vm = workloads.find(uid);
  if (vm === undefined) return undefined;
  const { definition, manifest, leaseHold, adopted } = vm;
  const isGuarded = definition.recovery === Recovery.RESTART;
  return { uid, name: definition.name, isGuarded, isLeftBehind: manifest.leftBehind !== undefined, leaseHold, adopted };
}

function findContainer({ containers }: AdmitDeps, uid: string): Admitted | undefined {
  const container = containers?.containers.find(uid);
  if (container === undefined) return undefined;
  const { name, isGuarded, manifest, leaseHold } = container;
  const isLeftBehind = manifest.leftBehind !== undefined;
  return { uid, name, isGuarded, isLeftBehind, leaseHold, adopted: Promise.resolve() };
}

function endsIt(action: StepAction): boolean {
  if (action.$case === "stopVm") return action.value.force;
  if (action.$case === "killContainer") return ["", "SIGKILL"].includes(action.value.signal);
  return action.$case === "deleteVm" || action.$case === "deleteContainer";
}

function refuseLeftBehind({ name }: Admitted, action: StepAction): void {
  if (action.$case === "deleteVm" || action.$case === "deleteContainer") return;
  throw new StillpointError("WORKLOAD_LEFT_BEHIND", `${name} has left this host: its files here are of the past`);
}

async function untilFree(find: () => Admitted | undefined, signal: AbortSignal): Promise<void> {
  for (let found = find(); found?.leaseHold !== undefined; found = find()) {
    const { leaseHold, adopted } = found;
    // What it is is known when it was met, which begins then.
    await unlessAborted(
      signal,
      leaseHold.over.then(() => adopted),
    );
  }
}

async function unlessAborted(signal: AbortSignal, awaited: Promise<void>): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = () => reject(signal.reason);
  signal.addEventListener("abort", leave);
  try {
    await Promise.race([awaited, promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
