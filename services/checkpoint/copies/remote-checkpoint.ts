import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { type CheckpointType, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import {
  type CheckpointConfig,
  findRemoteCheckpoint,
  type RegistryClient,
  type RemoteCheckpoint,
  readReceipt,
} from "#libs/oci";
import type { JsonObject } from "../domain/receipt.ts";
import { consistencyWords, kindWords, typeWords } from "../records/contract-words.ts";

/** What a checkpoint in the registry says of itself. */
export interface FoundRemote {
  readonly kind: "vm";
  /** <repository>@sha256:... */
  readonly reference: string;
  /** Its names, kind, consistency and receipt. */
  readonly checkpoint: Checkpoint;
  /** The VM that it was taken of: of the same make, so that RAM fits, with disks of the same sizes, and no image. */
  readonly spec: VmSpec;
}

/** Looks at a VM's checkpoint in the registry. Fails with IMAGE_NOT_FOUND, IMAGE_INVALID and REGISTRY_UNREACHABLE. */
export async function findVm(registry: RegistryClient, reference: string): Promise<FoundRemote> {
  const remote = await findRemoteCheckpoint(registry, reference);
  const { repository, descriptor } = remote;
  const receipt = await readReceipt(registry, { repository, digest: descriptor.digest });
  const spec = specOf(remote);
  return {
    kind: "vm",
    reference: `${repository}@${descriptor.digest}`,
    checkpoint: checkpointOf(remote, spec, receipt),
    spec,
  };
}

function specOf({ config, disks, descriptor }: RemoteCheckpoint): VmSpec {
  const root = disks.find(({ id }) => id === "root");
  if (root === undefined) throw new StillpointError("IMAGE_INVALID", `${descriptor.digest} has no root disk`);
  const { cpus, memoryBytes } = config.machine;
  const here = { image: "", host: "", hostSelector: {}, ports: [], userData: new Uint8Array() };
  const machine = { cpus: Number(cpus), memoryBytes: Number(memoryBytes), rootSizeBytes: root.virtualSizeBytes };
  return VmSpec.fromPartial({ ...VmSpec.fromJSON(config.spec), ...here, ...machine });
}

function checkpointOf({ config, disks }: RemoteCheckpoint, spec: VmSpec, receipt: unknown): Checkpoint {
  const held = new Set(disks.map(({ id }) => id));
  return Checkpoint.fromPartial({
    ...told(config, receipt),
    excludedDisks: spec.disks.map(({ id }) => id).filter((id) => !held.has(id)),
  });
}

type Told = Pick<CheckpointConfig, "consistency" | "kind" | "displayName" | "createTime">;

/** What a config and a receipt say of a checkpoint, of a VM or a container. */
export function told({ consistency, kind, displayName, createTime }: Told, found: unknown) {
  const receipt = isObject(found) ? found : {};
  return {
    displayName,
    kind: kindWords[kind === "standard" ? "standard" : "production"],
    consistency: wordFor(consistencyWords, consistency),
    requestedType: typeWord(receipt.requestedType),
    fellBack: receipt.fellBack === true,
    reason: typeof receipt.reason === "string" ? receipt.reason : "",
    receipt,
    createTime: new Date(createTime),
  };
}

function wordFor<Value>(words: Readonly<Record<string, Value>>, word: string): Value {
  const value = Object.hasOwn(words, word) ? words[word] : undefined;
  if (value !== undefined) return value;
  throw new StillpointError("IMAGE_INVALID", `the checkpoint in the registry claims to be ${JSON.stringify(word)}`);
}

function typeWord(type: unknown): CheckpointType {
  return wordFor(typeWords, typeof type === "string" && Object.hasOwn(typeWords, type) ? type : "production");
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
