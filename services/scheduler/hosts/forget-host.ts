import type { ContainersClient } from "#contracts/container/v1/container";
import { type ForgetHostRequest, type Host, HostIdentity, HostState } from "#contracts/scheduler/v1/scheduler";
import type { VmsClient } from "#contracts/vm/v1/vm";
import type { Clock, Random } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { identityName, ledgerName, parseHostName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import type { Reservation } from "../domain/host.ts";
import type { HeldLedger } from "./held-ledger.ts";

export interface ForgetDeps {
  readonly store: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly identities: RecordStore<HostIdentity>;
  /** The services that own what is lost. */
  readonly vms: Pick<VmsClient, "markVmLost">;
  readonly containers: Pick<ContainersClient, "markContainerLost">;
  /** Ends what its agent has open in NATS. */
  readonly cutOff: (host: string) => Promise<void>;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
}

/**
 * Takes a host out of the inventory. Its heartbeats and its certificate are refused first: one that comes back meanwhile
 * stays, and is heard again. Cut off half-way it is simply asked for again.
 */
export async function forgetHost(deps: ForgetDeps, { name, force }: ForgetHostRequest): Promise<void> {
  parseHostName(name);
  const { uid } = await downHost(deps, name);
  const held = await reservationsOn(deps, name);
  if (held.length > 0 && !force) throw notEmpty(name, held);
  const before = (await deps.identities.get(identityName(name)))?.body;
  await refuse(deps, name, uid);
  try {
    await deps.cutOff(name);
    const host = await downHost(deps, name);
    for (const reservation of held) await lose(deps, name, reservation);
    await deps.ledgers.modify(ledgerName(name), ({ body }) => ({ body: { ...body, reservations: [] } }));
    const lost = held.map(({ workload }) => workload);
    await deps.store.remove(host, [{ aggregate: "host", happened: "forgotten", data: { uid, lost } }]);
  } catch (error) {
    // Who is gone by now was forgotten by another attempt of this call.
    if (!isStillpointError(error, "HOST_NOT_FOUND")) await welcome(deps, name, before?.certificatesFrom);
    throw isStillpointError(error, "RECORD_CONFLICT") ? notDown(name) : error;
  }
}

async function downHost({ store }: ForgetDeps, name: string): Promise<StoredRecord<Host>> {
  const host = await store.get(name);
  if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
  if (host.body.state !== HostState.DOWN) throw notDown(name);
  return host;
}

async function reservationsOn({ ledgers }: ForgetDeps, name: string): Promise<readonly Reservation[]> {
  return (await ledgers.get(ledgerName(name)))?.body.reservations ?? [];
}

/** The owner of a workload that is gone already has nothing to write down. */
async function lose(
  { vms, containers }: ForgetDeps,
  host: string,
  { workload: name, uid }: Reservation,
): Promise<void> {
  const isContainer = name.split("/")[2] === "containers";
  try {
    await (isContainer ? containers.markContainerLost({ name, uid, host }) : vms.markVmLost({ name, uid, host }));
  } catch (error) {
    if (!isStillpointError(error, "VM_NOT_FOUND") && !isStillpointError(error, "CONTAINER_NOT_FOUND")) throw error;
  }
}

async function refuse({ identities, clock, random }: ForgetDeps, host: string, forgottenUid: string): Promise<void> {
  const name = identityName(host);
  // Certificates know whole seconds alone.
  const certificatesFrom = new Date(Math.floor(clock.now().getTime() / 1_000) * 1_000);
  const forgotten = { forgotten: true, forgottenUid, heardSince: false, certificatesFrom };
  const known = await identities.modify(name, ({ body }) => ({ body: { ...body, ...forgotten } }));
  if (known !== undefined) return;
  await identities.create(name, {
    uid: random.id("identity"),
    body: HostIdentity.fromPartial({ name, ...forgotten }),
  });
}

async function welcome({ identities }: ForgetDeps, host: string, certificatesFrom: Date | undefined): Promise<void> {
  await identities.modify(identityName(host), ({ body }) => ({
    body: { ...body, forgotten: false, certificatesFrom },
  }));
}

const notDown = (name: string) => new StillpointError("HOST_NOT_DOWN", `${name} is heard of: it has not left`);

function notEmpty(name: string, held: readonly Reservation[]): StillpointError {
  const told = held.slice(0, 20).map(({ workload }) => workload);
  const more = held.length > told.length ? ` and ${held.length - told.length} more` : "";
  return new StillpointError("HOST_NOT_EMPTY", `${name} holds ${told.join(", ")}${more}`, {
    metadata: { workloads: `${held.length}` },
  });
}
