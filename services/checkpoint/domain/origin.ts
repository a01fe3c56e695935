import { type JsonObject, sealReceipt } from "./receipt.ts";

interface Received {
  /** The checkpoint or registry reference that it came from. */
  readonly origin: string;
  readonly receivedTime: Date;
  /** Its name here. */
  readonly workload: string;
}

/**
 * The receipt of a checkpoint that was received: the evidence stays that of the place where it was taken, and the way
 * that it has come is added to it, newest last.
 */
export function withOrigin(
  receipt: JsonObject,
  { origin, receivedTime, workload }: Received,
  hash: (text: string) => string,
): JsonObject {
  const before = Array.isArray(receipt.received) ? (receipt.received as readonly unknown[]) : [];
  const received = [...before, { origin, as: workload, time: receivedTime.toISOString() }];
  return sealReceipt({ ...receipt, received }, hash);
}
