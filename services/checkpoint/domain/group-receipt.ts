import type { Cause, TakenType } from "./policy.ts";
import type { JsonObject } from "./receipt.ts";

/** A member's checkpoint, with its own receipt. */
export interface MemberReceipt {
  readonly vm: string;
  /** Whose clock the times of its receipt are of. */
  readonly host: string;
  readonly checkpoint: string;
  readonly receipt: JsonObject;
}

export interface GroupVerdict {
  readonly groupCheckpointUid: string;
  readonly group: string;
  readonly requestedType: TakenType;
  readonly fellBack: boolean;
  readonly cause?: Cause;
}

const receiptVersion = 1;

/**
 * The receipt of a checkpoint over several VMs and containers, without its own digest. Its members' receipts are named by their
 * digests. `skewMs` lies between the first and the last instant at which a running member's disks were taken;
 * `frozenTogetherMs` is how long all frozen members stood still at one time: when that is more than 0, no member
 * holds anything that came after what another lacks. Times of several hosts are of several clocks, which may be apart:
 * `clocks` says so, the skew is as good as they are, and nothing is claimed of how long all stood still. Pure.
 */
export function writeGroupReceipt(verdict: GroupVerdict, members: readonly MemberReceipt[]): JsonObject {
  const { cause, ...rest } = verdict;
  const isOneClock = new Set(members.map(({ host }) => host)).size <= 1;
  return {
    version: receiptVersion,
    ...rest,
    reason: cause?.code ?? "",
    detail: cause?.detail ?? "",
    members: members.map(({ vm, checkpoint, receipt }) => ({
      ...{ vm, checkpoint, kind: receipt.kind, consistency: receipt.consistency, receipt: receipt.digest ?? "" },
      ...{ frozen: stillFrom(receipt), taken: takenOf(receipt), thawed: stillUntil(receipt) },
    })),
    skewMs: skewOf(members),
    clocks: isOneClock ? "one" : "several",
    frozenTogetherMs: isOneClock ? frozenTogether(members) : null,
  };
}

/** 0 when fewer than two members ran. Pure. */
export function skewOf(members: readonly MemberReceipt[]): number {
  const instants = members.map(({ receipt }) => takenOf(receipt)).filter((time) => time !== null);
  const times = instants.map((time) => Date.parse(time));
  return times.length < 2 ? 0 : Math.max(...times) - Math.min(...times);
}

/** Null when no two members were frozen. */
function frozenTogether(members: readonly MemberReceipt[]): number | null {
  const windows = members.flatMap(({ receipt }) => {
    const [frozen, thawed] = [stillFrom(receipt), stillUntil(receipt)];
    return frozen === null || thawed === null ? [] : [{ from: Date.parse(frozen), to: Date.parse(thawed) }];
  });
  if (windows.length < 2) return null;
  return Math.max(0, Math.min(...windows.map(({ to }) => to)) - Math.max(...windows.map(({ from }) => from)));
}

/** A guest's file systems are frozen, a container's processes paused. */
const stillFrom = (receipt: JsonObject) => textOf(receipt, "frozen") ?? textOf(receipt, "paused");

const stillUntil = (receipt: JsonObject) => textOf(receipt, "thawed") ?? textOf(receipt, "unpaused");

/** The instant of a running member's disks: of the transaction of a frozen one, of the stop of one with RAM. */
function takenOf(receipt: JsonObject): string | null {
  if (receipt.consistency === "offline" || receipt.consistency === "crash") return null;
  return textOf(receipt, "taken") ?? textOf(receipt, "stop");
}

/** The first time of an event in a receipt's timeline. */
function textOf({ timeline }: JsonObject, event: string): string | null {
  const found = (Array.isArray(timeline) ? timeline : []).find((entry: JsonObject) => entry.event === event)?.time;
  return typeof found === "string" ? found : null;
}
