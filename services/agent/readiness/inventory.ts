import { z } from "zod";
import type { Writer } from "#contracts/vm/v1/vm";

/** Where the guest's tools say which writers there are (deploy/guest/README.md). */
export const INVENTORY = "/run/stillpoint/inventory.json";

const LONGEST_WORD = 200;
const word = z.string().transform((text) => text.slice(0, LONGEST_WORD));

const inventoryShape = z.object({
  version: z.literal(1),
  writers: z.array(z.object({ name: word, state: word, detail: word.default("") })).max(256),
});

/** Undefined when it is not an inventory: what a guest writes is not to be trusted. Pure. */
export function parseInventory(text: string): Writer[] | undefined {
  try {
    return inventoryShape.parse(JSON.parse(text)).writers;
  } catch {
    return undefined;
  }
}
