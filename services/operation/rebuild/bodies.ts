import { Checkpoint, CheckpointKind, CheckpointState, Consistency, Head } from "#contracts/checkpoint/v1/checkpoint";
import { Container } from "#contracts/container/v1/container";
import type { CheckpointManifest, ContainerDefinition, VmDefinition } from "#contracts/host/v1/agent";
import { Vm } from "#contracts/vm/v1/vm";
import { checkpointName, headName } from "#libs/names";
import type { Json } from "#libs/records";
import type { Copy } from "./copies.ts";

/** A workload's record as it is to be: what was known of it, or else what its host runs it by, with what is there now. */
export function workloadBody(copy: Copy, now: Date): Json {
  return withWhatIs(copy, copy.record?.body ?? fromDefinition(copy, now));
}

/** The same record with its host, and how the workload is there. */
export function withWhatIs({ host, manifest }: Copy, body: Json): Json {
  const { workload } = manifest;
  const container = workload?.container;
  const state = container?.state ?? `${workload?.state}`.replace("WORKLOAD_", "VM_");
  const machineType = workload?.machineType === "" ? {} : { machineType: workload?.machineType };
  const { operation: _over, stateReason, ...rest } = body;
  const why = rest.state === state && stateReason !== undefined ? { stateReason } : {};
  return { ...rest, ...(container === undefined && machineType), host, state, ...why };
}

function fromDefinition(copy: Copy, now: Date): Json {
  const { definition } = copy.manifest;
  if (definition?.$case === "vm") return vmFrom(copy, definition.value, now);
  return containerFrom(copy, definition?.value, now);
}

function vmFrom({ name, uid, manifest }: Copy, definition: VmDefinition, now: Date): Json {
  const { cpus, memoryBytes, disks, ports, userData, kernelArgs, isolated, recovery } = definition;
  const [root, ...others] = disks;
  const spec = { image: manifest.imageDigest, cpus, memoryBytes, rootSizeBytes: root?.sizeBytes ?? 0, disks: others };
  const rest = { ports, userData, kernelArgs, isolated, recovery };
  const times = { createTime: now, updateTime: now };
  const body = Vm.fromPartial({ name, uid, imageDigest: manifest.imageDigest, spec: { ...spec, ...rest }, ...times });
  return Vm.toJSON(body) as Json;
}

function containerFrom({ name, uid, manifest }: Copy, definition: ContainerDefinition | undefined, now: Date): Json {
  const spec = definition?.spec ?? {};
  const times = { createTime: now, updateTime: now };
  const body = Container.fromPartial({ name, uid, imageDigest: manifest.imageDigest, spec, ...times });
  return Container.toJSON(body) as Json;
}

/** A checkpoint's record as it is to be. What it reached nobody knows without its record: crash, unless its kind says. */
export function checkpointBody(copy: Copy, checkpoint: CheckpointManifest, known: Json | undefined): Json {
  const { parent } = checkpoint;
  const { operation: _over, ...body } = known ?? fromOutcome(copy, checkpoint);
  return { ...body, parent, host: copy.host, state: CheckpointState.READY };
}

const consistencies: Readonly<Record<string, Consistency>> = {
  standard: Consistency.SAVED_STATE,
  offline: Consistency.OFFLINE,
};

function fromOutcome({ name, uid: workloadUid }: Copy, { uid, kind, outcome, createTime }: CheckpointManifest): Json {
  const body = Checkpoint.fromPartial({
    name: checkpointName(name, uid),
    uid,
    displayName: `rebuilt-${uid.slice(-12)}`,
    workloadUid,
    kind: kind === "standard" ? CheckpointKind.STANDARD : CheckpointKind.PRODUCTION,
    consistency: consistencies[kind] ?? Consistency.CRASH,
    reason: "record.lost",
    sizeBytes: outcome?.sizeBytes ?? 0,
    receipt: { version: 1, rebuilt: true, ...outcome?.evidence },
    ...(createTime && { createTime, updateTime: createTime }),
  });
  return Checkpoint.toJSON(body) as Json;
}

/** Where now stands in the tree, as its host has it. */
export function headBody({ name, uid: workloadUid, manifest }: Copy): Json {
  const { workload, generationId } = manifest;
  const body = Head.fromPartial({ name: headName(name), workloadUid, parent: workload?.head ?? "", generationId });
  return Head.toJSON(body) as Json;
}
