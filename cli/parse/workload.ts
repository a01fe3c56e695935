import { InvalidArgumentError } from "commander";
import { containerName, vmName } from "#libs/names";

/**
 * The VM that a WORKLOAD means: `vm/NAME`, or a bare NAME; a container stays `container/NAME`. Whether it is a good
 * name, the resource name tells.
 */
export function parseWorkload(text: string): string {
  const parts = text.split("/");
  const [first = "", second = ""] = parts;
  if (parts.length === 1) return first;
  if (parts.length === 2 && first === "vm") return second;
  if (parts.length === 2 && first === "container") return text;
  throw new InvalidArgumentError("Write vm/NAME or container/NAME, or NAME for a VM.");
}

/** The resource name of what `parseWorkload` gave. */
export function workloadName(project: string, workload: string): string {
  const [, container] = workload.split("/");
  return container === undefined ? vmName(project, workload) : containerName(project, container);
}
