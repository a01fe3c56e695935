import { InvalidArgumentError } from "commander";

/** The VM that a WORKLOAD means: `vm/NAME`, or a bare NAME. Whether it is a good name, the resource name tells. */
export function parseWorkload(text: string): string {
  const parts = text.split("/");
  const [first = "", second = ""] = parts;
  if (parts.length === 1) return first;
  if (parts.length === 2 && first === "vm") return second;
  throw new InvalidArgumentError("Write vm/NAME, or NAME for a VM.");
}
