import { readMonitor, Silence } from "./nats-monitor.ts";

const CLUSTER_MINIMUM = [2, 10, 27] as const;

/**
 * Refuses a clustered server that would lose writes: below 2.9.21 a clustered stream skips the compare-and-set on
 * apply, and streams vanished in clusters below 2.10.23. A single node is right on every version.
 */
export function checkVersion(version: string, isClustered: boolean): void {
  if (!isClustered) return;
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, minimum] of CLUSTER_MINIMUM.entries()) {
    const part = parts[index] ?? 0;
    if (part > minimum) return;
    if (part < minimum) {
      throw new Error(
        `nats-server ${version} loses writes in a cluster: use 2.10.27 or later, or a single one without \`cluster\` ` +
          "in its configuration",
      );
    }
  }
}

/**
 * Refuses NATS servers that answer before a write is on the disk: by default they sync every two minutes, and a power
 * failure takes what they have acknowledged since; and a cluster in which one is too old. Only the servers' HTTP
 * monitoring tells (`/varz`). One that is away is looked at by whoever starts later; one of them has to answer.
 *
 * @param monitorUrls one or several, with commas between
 */
export async function checkServers(monitorUrls: string): Promise<void> {
  const answers = await Promise.allSettled(monitorUrls.split(",").map(checkServer));
  const failures = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as Error] : []));
  const refusal = failures.find((failure) => !(failure instanceof Silence));
  if (refusal !== undefined) throw refusal;
  const [silence] = failures;
  if (silence !== undefined && failures.length === answers.length) throw silence;
}

async function checkServer(monitorUrl: string): Promise<void> {
  const { version = "", cluster, jetstream } = await readMonitor(monitorUrl);
  checkVersion(version, cluster?.name !== undefined);
  if (jetstream?.config?.sync_always === true) return;
  throw new Error(
    "nats-server acknowledges writes that are not on its disk, and loses them when the power fails: " +
      `write \`jetstream { sync_interval: always }\` into the configuration of that at ${new URL(monitorUrl).host} ` +
      "(2.10 or later)",
  );
}
