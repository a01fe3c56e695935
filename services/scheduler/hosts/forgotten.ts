import type { Heartbeat } from "#contracts/host/v1/agent";
import type { HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { identityName } from "#libs/names";
import type { RecordStore } from "#libs/records";

/**
 * Whether a heartbeat is of a host that was forgotten and has not joined anew. One that has once joined by a token is
 * known by its name; of one that never has, only that very data folder is refused.
 */
export function isForgotten({ hostUid }: Heartbeat, identity: HostIdentity | undefined): boolean {
  if (identity === undefined || !identity.forgotten) return false;
  return identity.certificateFingerprint !== "" || identity.forgottenUid === hostUid;
}

/** What was forgotten is told of once, when it is heard again. */
export async function tellRefused(
  identities: Pick<RecordStore<HostIdentity>, "modify">,
  host: string,
  data: Readonly<Record<string, string>>,
): Promise<void> {
  await identities.modify(identityName(host), ({ body }) => {
    if (body.heardSince) return undefined;
    return { body: { ...body, heardSince: true }, events: [{ aggregate: "host", happened: "refused", data }] };
  });
}
