import type { NatsConnection } from "@nats-io/transport-node";
import type { Clock, Random } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { createRecordStore, type Log, rawCodec } from "#libs/records";
import type { ImageIndex } from "../index/image-index.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { type ChangeListener, Changes } from "./changes.ts";
import type { LastPulls } from "./last-pulls.ts";
import { tellNeighbours } from "./nats-neighbours.ts";
import { pullStream } from "./nats-pulls.ts";
import { Outbox } from "./outbox.ts";
import { publishOutbox } from "./publisher.ts";
import { Pulls } from "./pulls.ts";

export interface EventsDeps {
  readonly objects: ObjectStore;
  readonly index: ImageIndex;
  readonly lastPulls: LastPulls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Without it there are no events, and the index follows this process alone. */
  readonly nats?: { readonly connection: NatsConnection; readonly log: Log };
}

/** Starts telling what happens in the registry, until the lifecycle ends. */
export function startEvents(deps: EventsDeps, lifecycle: Lifecycle): { changes: Changes; pulls: Pulls } {
  const { index, lastPulls, nats, random } = deps;
  const listeners: ChangeListener[] = [(change) => index.follow(change)];
  const sinks = [lastPulls.remember];
  if (nats !== undefined) {
    listeners.push(startPublishing(deps, nats.log, lifecycle));
    listeners.push(tellNeighbours(nats.connection, random, index));
    sinks.push(pullStream(nats.connection, random));
  }
  const pulls = new Pulls({ ...deps, sinks });
  lifecycle.add("pulls", { running: pulls.run(lifecycle.signal) }, (it) => it.running);
  return { changes: new Changes(listeners), pulls };
}

function startPublishing(deps: EventsDeps, log: Log, lifecycle: Lifecycle): ChangeListener {
  const { clock, random } = deps;
  const outbox = new Outbox(deps);
  const records = createRecordStore({ log, codec: rawCodec, clock, random });
  const running = publishOutbox({ ...deps, outbox, records }, lifecycle.signal);
  lifecycle.add("events", { running }, (it) => it.running);
  return (change) => outbox.add(change);
}
