import { existsSync } from "node:fs";
import {
  type Host,
  type HostIdentity,
  HostJoinDefinition,
  type JoinHostRequest,
  JoinTokenRecord,
} from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { createRecordStore, type Log, type RecordStore, RecordView } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { Authority } from "#libs/tls";
import type { SchedulerConfig } from "../config.ts";
import { repeat } from "../repeat.ts";
import { joinHost } from "./join-host.ts";
import { JoinTokens } from "./join-tokens.ts";

const sweepEveryMs = 3_600_000;

export interface Joining {
  readonly tokens: JoinTokens;
  /** @throws StillpointError CERTIFICATE_AUTHORITY_MISSING */
  authority(): Authority;
}

export interface JoiningDeps {
  readonly log: Log;
  readonly hosts: RecordStore<Host>;
  readonly identities: RecordStore<HostIdentity>;
  readonly logger: Logger;
}

/** Has machines join, where this replica has an authority to sign with: they come without a certificate, to a port apart. */
export async function startJoining(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { log, hosts, identities, logger }: JoiningDeps,
): Promise<Joining> {
  const { signal } = lifecycle;
  const store = createRecordStore({ log, codec: JoinTokenRecord, clock, random });
  const view = await RecordView.start({ log, filter: "rec.join-tokens.*", codec: JoinTokenRecord, signal });
  const tokens = new JoinTokens({ store, view, clock });
  const sweeping = repeat({ clock, logger, signal }, sweepEveryMs, () => tokens.sweep());
  lifecycle.add("old join tokens", { sweeping }, (it) => it.sweeping);
  const authority = authorityIn(config.JOIN_AUTHORITY, logger);
  if (authority !== undefined) {
    const { JOIN_CERTIFICATE_DAYS: days } = config;
    const deps = { tokens, hosts, identities, clock, random, days, settings: settingsOf(config) };
    const server = lifecycle.add("join", new RpcServer({ logger, anyone: true }), (it) => it.close());
    server.add(HostJoinDefinition, {
      joinHost: (request: JoinHostRequest) => joinHost(deps, authority, request),
    });
    const address = await server.listen(config.JOIN_ADDRESS);
    logger.info({ address, authority: await authority.fingerprint() }, "machines may join");
  }
  return {
    tokens,
    authority() {
      if (authority !== undefined) return authority;
      throw new StillpointError("CERTIFICATE_AUTHORITY_MISSING", "the scheduler has no authority to sign with", {
        help: "Set JOIN_AUTHORITY of the scheduler to the folder of `stillpoint cert ca`, or run: deploy/prepare.sh --join",
      });
    },
  };
}

/** A deployment may name the folder whether or not it was told to have machines join. */
function authorityIn(folder: string | undefined, logger: Logger): Authority | undefined {
  if (folder === undefined) return undefined;
  if (existsSync(folder)) return new Authority(folder);
  logger.info({ folder }, "no machine can join: JOIN_AUTHORITY is not there");
  return undefined;
}

/** Never the scheduler's own logins. */
function settingsOf(config: SchedulerConfig): Record<string, string> {
  const { JOIN_NATS_URL: nats = withoutLogin(config.NATS_URL), JOIN_REGISTRY_URL: registry } = config;
  return { NATS_URL: nats, ...(registry !== undefined && { REGISTRY_HTTP_URL: registry }) };
}

function withoutLogin(urls: string): string {
  return urls
    .split(",")
    .map((url) => url.replace(/^([a-z]+:\/\/)[^@/]*@/, "$1"))
    .join(",");
}
