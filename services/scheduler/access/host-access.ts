import { X509Certificate } from "node:crypto";
import type { HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { isVoid } from "#libs/auth";
import type { Clock, Random } from "#libs/clock";
import { hostName, identityName } from "#libs/names";
import type { Decision } from "#libs/nats-callout";
import type { RecordStore } from "#libs/records";
import { fingerprintOf, identityOf } from "#libs/tls";
import { tellRefused } from "../hosts/forgotten.ts";

export interface HostAccessDeps {
  /** From the leader: one that was forgotten this moment is refused. */
  readonly identities: Pick<RecordStore<HostIdentity>, "get" | "modify">;
  readonly clock: Clock;
  readonly random: Pick<Random, "next">;
}

/** A connection ends by itself after so long, and is made anew: so does one that outlived its certificate. */
const leastMs = 30 * 60_000;
/** Those that came all at once do not come all at once again. */
const spreadMs = 30 * 60_000;

/** What NATS calls the agent of a host, by its id; its answers come below `_INBOX_<that>`. */
export const natsUserOf = (id: string): string => `host-${id}`;

/** What the one with this certificate may do in NATS: a host speaks for itself alone, and hears answers alone. */
export async function hostAccess(deps: HostAccessDeps, pem: string | undefined): Promise<Decision> {
  if (pem === undefined) return { refused: "no certificate" };
  const certificate = new X509Certificate(pem);
  const who = identityOf(certificate.subjectAltName);
  if (who === undefined || !who.startsWith("host/")) return { refused: `${who ?? "a certificate"} is no host` };
  const id = who.slice("host/".length);
  const host = hostName(id);
  const identity = (await deps.identities.get(identityName(host)))?.body;
  if (isVoid(identity, certificate.validFromDate)) {
    await tellRefused(deps.identities, host, { certificate: fingerprintOf(pem) });
    return { refused: `${host} was forgotten after its certificate was made` };
  }
  const user = natsUserOf(id);
  return {
    user,
    publish: [`hb.host.v1.${id}`, `obs.*.*.${id}`],
    subscribe: [`_INBOX_${user}.>`],
    until: untilOf(deps, certificate),
  };
}

function untilOf({ clock, random }: HostAccessDeps, { validToDate }: X509Certificate): Date {
  const ms = clock.now().getTime() + leastMs + random.next() * spreadMs;
  return new Date(Math.min(ms, validToDate.getTime()));
}
