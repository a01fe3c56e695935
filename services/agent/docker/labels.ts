/** The workload that a container or volume belongs to. */
export const UID_LABEL = "io.stillpoint.uid";
/** The data folder (by its host-uid) whose agent made it: agents that share an engine leave each other's alone. */
export const HOST_LABEL = "io.stillpoint.host-data";

export function labelsOf(hostData: string, uid?: string): Record<string, string> {
  return { [HOST_LABEL]: hostData, ...(uid !== undefined && { [UID_LABEL]: uid }) };
}

/** For filters of lists and events. */
export function ofHost(hostData: string): string {
  return `${HOST_LABEL}=${hostData}`;
}
