import { StillpointError } from "#libs/errors";

const LARGEST = 1_000;

/** How many things a page of a gRPC list has. @throws StillpointError ARGUMENT_INVALID below 0 */
export function pageSize(wanted: number, usual: number): number {
  if (wanted < 0) throw new StillpointError("ARGUMENT_INVALID", "a page size cannot be negative");
  return wanted === 0 ? usual : Math.min(wanted, LARGEST);
}
