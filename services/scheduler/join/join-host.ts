import {
  type Host,
  HostIdentity,
  type JoinHostRequest,
  type JoinHostResponse,
  type JoinTokenRecord,
} from "#contracts/scheduler/v1/scheduler";
import type { Clock, Random } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { identityName, parseHostName } from "#libs/names";
import type { RecordStore } from "#libs/records";
import { type Authority, fingerprintOf, keyOfRequest } from "#libs/tls";
import type { JoinTokens } from "./join-tokens.ts";

export interface JoinDeps {
  readonly tokens: JoinTokens;
  readonly hosts: RecordStore<Host>;
  readonly identities: RecordStore<HostIdentity>;
  readonly clock: Clock;
  readonly random: Random;
  /** Of certificates. */
  readonly days: number;
  /** What every agent is configured with. */
  readonly settings: Readonly<Record<string, string>>;
}

/**
 * Trades a token for a certificate. The token is used up first and the host's identity is written before the certificate
 * is handed out, so that nobody has one of which nothing is known.
 */
export async function joinHost(
  deps: JoinDeps,
  authority: Authority,
  { token: text, host, certificateRequest }: JoinHostRequest,
): Promise<JoinHostResponse> {
  const id = parseHostName(host);
  const key = await keyOfRequest(certificateRequest);
  const token = await deps.tokens.look(text, { host, key });
  if (token.usedBy === "" && token.host === "") await refuseTaken(deps, host);
  await deps.tokens.use(token, { host, key });
  const certificate = await authority.sign(`host/${id}`, certificateRequest, { days: deps.days });
  await writeIdentity(deps, host, certificate);
  return { certificate, authority: await authority.read(), settings: settingsOf(deps, id, token) };
}

/** A token for any name is not one for the name of a host that there is, or that is about to come up. */
async function refuseTaken({ hosts, identities }: JoinDeps, host: string): Promise<void> {
  const identity = (await identities.get(identityName(host)))?.body;
  if (identity?.forgotten === true) return;
  if (identity === undefined && (await hosts.get(host)) === undefined) return;
  throw new StillpointError("HOST_EXISTS", `there is a host ${host}`);
}

async function writeIdentity({ identities, clock, random }: JoinDeps, host: string, certificate: string) {
  const name = identityName(host);
  const fresh = { certificateFingerprint: fingerprintOf(certificate), joinTime: clock.now() };
  const body = HostIdentity.fromPartial({ name, ...fresh });
  const events = [{ aggregate: "host", happened: "joined", data: { certificate: body.certificateFingerprint } }];
  const again = () =>
    identities.modify(name, ({ body: { certificatesFrom } }) => ({ body: { ...body, certificatesFrom }, events }));
  if ((await again()) !== undefined) return;
  try {
    await identities.create(name, { uid: random.id("identity"), body, events });
  } catch (error) {
    if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    await again();
  }
}

function settingsOf({ settings }: JoinDeps, id: string, { zone, labels }: JoinTokenRecord): Record<string, string> {
  const told = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return {
    AGENT_HOST_NAME: id,
    ...settings,
    ...(zone !== "" && { AGENT_ZONE: zone }),
    ...(told.length > 0 && { AGENT_LABELS: told.join(",") }),
  };
}
