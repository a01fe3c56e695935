import type { Checkpoint, CreateCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import type { Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { checkDisplayName, parseWorkloadName } from "#libs/names";
import type { StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { defaultDisplayName } from "../domain/display-name.ts";
import { wrongExclusion } from "../domain/exclusions.ts";
import type { TakenType } from "../domain/policy.ts";
import type { Tree } from "../domain/tree.ts";
import type { CreateInput } from "../jobs/create-state.ts";
import { treeOf } from "../records/checkpoint-store.ts";
import { askedType } from "../records/contract-words.ts";
import { type AcceptDeps, accept, acceptOrRepeat, asked, checkPolicy } from "./accept.ts";
import { findVm } from "./find-checkpoint.ts";
import { projectType } from "./projects.ts";
import { full, nameTaken } from "./refusals.ts";

/** Checks a request for a checkpoint and accepts the job that takes it. */
export async function acceptCreate(
  deps: AcceptDeps,
  request: CreateCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { parent, displayName, type, requestId, excludeDisks, schedule, groupCheckpoint } = request;
  const asksFor = askedType(type);
  const fingerprint = { parent, displayName, type, excludeDisks, schedule, groupCheckpoint };
  if (displayName !== "") checkDisplayName(displayName);
  const named = asked(call, { target: parent, requestId }, { kind: "checkpoint.create", fingerprint });
  return acceptOrRepeat(deps, named, async () => {
    const vm = await findVm(deps, parent);
    const tree = treeOf(await deps.store.tree({ name: parent, uid: vm.uid }));
    const wanted = { displayName, excludeDisks, ...(asksFor === undefined ? {} : { asked: asksFor }) };
    const { input, check } = await newCheckpoint(deps, { vm, tree }, wanted);
    return accept(deps, { ...named, input: { ...input, schedule, groupCheckpoint } }, vm, check);
  });
}

export interface WantedCheckpoint {
  /** Empty: the VM's name and the time. */
  readonly displayName: string;
  readonly excludeDisks: readonly string[];
  readonly asked?: TakenType;
}

/** What the job that takes a checkpoint has to know, and the check that it may, for the VM as it is held. */
export async function newCheckpoint(
  deps: Pick<AcceptDeps, "projects" | "clock" | "random" | "limit">,
  { vm, tree }: { readonly vm: StoredRecord<Vm>; readonly tree: Tree<Checkpoint> },
  wanted: WantedCheckpoint,
): Promise<{ readonly input: CreateInput; readonly check: (held: StoredRecord<Vm>) => void }> {
  const { displayName, ...rest } = wanted;
  const taken = new Set(tree.nodes.map((node) => node.displayName));
  const input: CreateInput = {
    workloadUid: vm.uid,
    checkpointUid: deps.random.id("ckpt"),
    displayName: displayName || defaultDisplayName(parseWorkloadName(vm.name).workload, deps.clock.now(), taken),
    ...rest,
  };
  const inherited = await projectType(deps, vm.name);
  return {
    input,
    check(held) {
      checkPolicy(held, { ...rest, inherited });
      const wrong = wrongExclusion(held.body.spec?.disks ?? [], wanted.excludeDisks);
      if (wrong !== undefined) throw new StillpointError("ARGUMENT_INVALID", `${vm.name}: ${wrong}`);
      if (tree.nodes.length >= deps.limit) throw full(vm.name, deps.limit);
      if (taken.has(displayName)) throw nameTaken(vm.name, displayName);
    },
  };
}
