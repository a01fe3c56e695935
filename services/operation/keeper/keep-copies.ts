import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Logger } from "#libs/logger";
import { decodeRecord, type LogMessage, type RecordView, subjectOfName } from "#libs/records";
import { isAway, type KeepDeps } from "./keep-workload.ts";
import { type FollowDeps, followDurable } from "./nats-follower.ts";
import { bringUpToDate } from "./returned-hosts.ts";
import { hasMoved, keepersOf, type RecordSet, recordSets, toKept } from "./sets.ts";

export interface KeeperDeps extends FollowDeps, KeepDeps {
  readonly hosts: Pick<RecordView<Host>, "list">;
  readonly logger: Pick<Logger, "warn" | "debug">;
}

const ASK_WITHIN_MS = 10_000;

/**
 * Has hosts keep copies of the records of what they hold, a moment after each write: by these records that were lost are
 * written anew (`stillpoint admin rebuild`). Shared by all replicas; goes on where it stood. A host that is down keeps
 * nobody waiting, and is brought up to date when it is back; one that is forgotten is not. Runs until the signal.
 */
export async function keepCopies(deps: KeeperDeps): Promise<void> {
  await Promise.all([
    followDurable(deps, { name: "keeper", filter: "rec.projects.>" }, (messages) => keepBatch(deps, messages)),
    followDurable(deps, { name: "keeper-returns", filter: "rec.hosts.*" }, (messages) => bringUpToDate(deps, messages)),
  ]);
}

/** Gives the subjects of what is not kept yet. */
async function keepBatch(deps: KeeperDeps, messages: readonly LogMessage[]): Promise<Set<string>> {
  const late = new Set<string>();
  await Promise.all(
    recordSets(messages).map(async (set) => {
      try {
        await keepSet(deps, set);
      } catch (err) {
        deps.logger.debug({ err, of: set.workload }, "a host does not keep its records yet");
        for (const { subject } of set.messages) late.add(subject);
      }
    }),
  );
  return late;
}

async function keepSet(deps: KeeperDeps, { workload, messages }: RecordSet): Promise<void> {
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(ASK_WITHIN_MS)]);
  if (workload !== undefined) return await keepWorkload(deps, workload, messages, signal);
  const there = deps.hosts.list().filter(({ body }) => body.state !== HostState.DOWN);
  const hosts = there.map(({ name }) => name);
  for (const message of messages) {
    const kept = toKept(message);
    const keep = (host: string) => deps.manifests.keep(host, { uid: "", records: [kept] }, signal);
    const asked = await Promise.allSettled(keepersOf(kept.name, hosts).map(keep));
    const refused = asked.find(({ status }) => status === "rejected");
    if (refused?.status === "rejected") throw refused.reason;
  }
}

async function keepWorkload(
  deps: KeeperDeps,
  workload: string,
  messages: readonly LogMessage[],
  signal: AbortSignal,
): Promise<void> {
  const { records, manifests } = deps;
  const subject = subjectOfName(workload);
  const own = messages.find((message) => message.subject === subject) ?? (await records.read(subject));
  if (own === undefined) return;
  const { uid, body, deleted } = decodeRecord(own.data);
  // Its files are gone, or not there yet.
  if (deleted === true || typeof body.host !== "string" || body.host === "") return;
  const children = hasMoved(own) ? await records.newest(`${subject}.>`) : [];
  const all = [...new Set([...messages, ...children])];
  try {
    await manifests.keep(body.host, { uid, records: all.map(toKept) }, signal);
  } catch (error) {
    if (!(await isAway(deps, body.host))) throw error;
  }
}
