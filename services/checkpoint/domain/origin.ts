import { type JsonObject, sealReceipt } from "./receipt.ts";

interface Received {
  /** The checkpoint or registry reference that it came from. */
  readonly origin: string;
  readonly receivedTime: Date;
  /** Resource name of the checkpoint that it became. */
  readonly name: string;
}

/**
 * The receipt of a checkpoint that was received: the evidence stays that of the place where it was taken, and the way
 * that it has come is added to it, newest last.
 */
export function withOrigin(
  receipt: JsonObject,
  { origin, receivedTime, name }: Received,
  hash: (text: string) => string,
): JsonObject {
  const before = Array.isArray(receipt.received) ? (receipt.received as readonly unknown[]) : [];
  const received = [...before, { origin, as: name, time: receivedTime.toISOString() }];
  return sealReceipt({ ...receipt, received }, hash);
}
