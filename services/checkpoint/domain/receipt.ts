import type { Excluded } from "./exclusions.ts";
import type { Cause, TakenType } from "./policy.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export type Kind = "production" | "standard";
export type Consistency = "application" | "filesystem" | "saved-state" | "offline" | "crash";

/** What a checkpoint was asked to be and what it became. */
export interface Verdict {
  readonly requestedType: TakenType;
  readonly kind: Kind;
  readonly consistency: Consistency;
  readonly fellBack: boolean;
  /** Why it is less than what was asked for. */
  readonly cause?: Cause;
}

/** What was gathered on the way. `evidence` is the agent's; `refused` is that of a production attempt that was given up. */
export interface Gathered {
  readonly checkpointUid: string;
  readonly workload: string;
  readonly workloadUid: string;
  readonly parent: string;
  readonly evidence: JsonObject;
  readonly refused?: JsonObject;
  readonly excluded: readonly Excluded[];
}

const receiptVersion = 1;

/** The digest of a part that has not been computed yet. */
const pending = "pending";

/** What was asked for, what came of it, and why that is not the same, in one sentence without a full stop. */
export function summaryOf({ requestedType, kind, consistency, cause }: Verdict): string {
  const got = consistency === "crash" ? `${kind} that is only crash consistent` : kind;
  const because =
    cause === undefined ? "" : `, because ${[cause.code, cause.detail].filter((it) => it !== "").join(": ")}`;
  return `asked for ${requestedType}, got ${got}${because}`;
}

/** The receipt, still without its own digest. Parts that have no evidence are null, so that every receipt has every key. */
export function writeReceipt(verdict: Verdict, gathered: Gathered): JsonObject {
  const { evidence, refused } = gathered;
  const { requestedType, kind, consistency, fellBack, cause } = verdict;
  return {
    version: receiptVersion,
    checkpoint: gathered.checkpointUid,
    workload: gathered.workload,
    workloadUid: gathered.workloadUid,
    parent: gathered.parent,
    requestedType,
    kind,
    consistency,
    fellBack,
    reason: cause?.code ?? "",
    detail: cause?.detail ?? "",
    summary: summaryOf(verdict),
    freeze: evidence.freeze ?? null,
    pauseMs: evidence.pauseMs ?? null,
    disks: disksOf(evidence, gathered.excluded).map(withDigest),
    ram: isObject(evidence.ram) ? withDigest(evidence.ram) : null,
    verification: evidence.verification ?? null,
    machine: evidence.machine ?? null,
    timeline: evidence.timeline ?? [],
    refused: refused ?? null,
  };
}

/** The receipt with digests of its files filled in, keyed by disk id and "ram". Its own digest has to be renewed. */
export function foldDigests(receipt: JsonObject, digests: Readonly<Record<string, string>>): JsonObject {
  const disks = listOf(receipt.disks).map((disk) => {
    const digest = isObject(disk) && typeof disk.id === "string" ? digests[disk.id] : undefined;
    return digest === undefined || !isObject(disk) ? disk : { ...disk, digest };
  });
  const ram = receipt.ram;
  const ramDigest = digests.ram;
  return { ...receipt, disks, ram: isObject(ram) && ramDigest !== undefined ? { ...ram, digest: ramDigest } : ram };
}

/** The receipt with its own digest, taken over the canonical JSON of everything else in it. */
export function sealReceipt(receipt: JsonObject, hash: (text: string) => string): JsonObject {
  const { digest: _old, ...rest } = receipt;
  return { ...rest, digest: hash(canonicalJson(rest)) };
}

/** True when a receipt says what it said when it was sealed. */
export function isSealed(receipt: JsonObject, hash: (text: string) => string): boolean {
  return sealReceipt(receipt, hash).digest === receipt.digest;
}

/** JSON without spaces and with sorted keys, so that equal documents have equal text; undefined members are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(",")}}`;
}

/** What the host tells of each disk, but of those that were left out what we know of them. */
function disksOf(evidence: JsonObject, excluded: readonly Excluded[]): readonly unknown[] {
  const isExcluded = (disk: unknown) => isObject(disk) && excluded.some(({ id }) => id === disk.id);
  const included = listOf(evidence.disks).filter((disk) => !isExcluded(disk));
  return [...included, ...excluded.map(({ id, why }) => ({ id, included: false, why }))];
}

const withDigest = (part: unknown): unknown =>
  isObject(part) && part.included !== false ? { ...part, digest: part.digest ?? pending } : part;

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
