import { createHash } from "node:crypto";
import type { Parcels } from "../kept-vms.ts";

export const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** What hosts have pushed, in place of the blobs in the registry: names, and nothing behind them. */
export class MemoryParcels implements Parcels {
  readonly #references = new Set<string>();

  push(checkpoint: string, repository: string): string {
    const digest = digestOf(checkpoint);
    this.#references.add(`${repository}@${digest}`);
    return digest;
  }

  has(reference: string): boolean {
    return this.#references.has(reference);
  }
}
