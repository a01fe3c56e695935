import type { Clock, Random } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { createRecordStore, rawCodec } from "#libs/records";
import type { ImageIndex } from "../index/image-index.ts";
import type { Late } from "../late.ts";
import type { Records } from "../records.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { type ChangeListener, Changes } from "./changes.ts";
import type { LastPulls } from "./last-pulls.ts";
import { tellNeighbours } from "./nats-neighbours.ts";
import { pullStream } from "./nats-pulls.ts";
import { Outbox } from "./outbox.ts";
import { publishOutbox } from "./publisher.ts";
import { type PullSink, Pulls } from "./pulls.ts";

export interface EventsDeps {
  readonly objects: ObjectStore;
  readonly index: ImageIndex;
  readonly lastPulls: LastPulls;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Without it there are no events, and the index follows this process alone. */
  readonly records?: Late<Records>;
}

/** Starts telling what happens in the registry, until the lifecycle ends. */
export function startEvents(deps: EventsDeps, lifecycle: Lifecycle): { changes: Changes; pulls: Pulls } {
  const { index, lastPulls, records } = deps;
  const listeners: ChangeListener[] = [(change) => index.follow(change)];
  const sinks = [lastPulls.remember];
  if (records !== undefined) {
    listeners.push(startPublishing(deps, records, lifecycle));
    listeners.push(startTellingNeighbours(deps, records));
    sinks.push(startTellingPulls(deps, records));
  }
  const pulls = new Pulls({ ...deps, sinks });
  lifecycle.add("pulls", { running: pulls.run(lifecycle.signal) }, (it) => it.running);
  return { changes: new Changes(listeners), pulls };
}

/** What happens before NATS is there waits in the outbox. */
function startPublishing(deps: EventsDeps, records: Late<Records>, lifecycle: Lifecycle): ChangeListener {
  const { clock, random } = deps;
  const outbox = new Outbox(deps);
  const publishing = records.map(({ log }) => {
    const store = createRecordStore({ log, codec: rawCodec, clock, random });
    return { running: publishOutbox({ ...deps, outbox, records: store }, lifecycle.signal) };
  });
  lifecycle.add("events", publishing, (it) => it.now?.running);
  return (change) => outbox.add(change);
}

/** The index is made anew when NATS comes, since other replicas told of changes meanwhile. */
function startTellingNeighbours({ index, random }: EventsDeps, records: Late<Records>): ChangeListener {
  const isThere = records.now !== undefined;
  const telling = records.map(({ connection }) => {
    const tell = tellNeighbours(connection, random, index);
    if (!isThere) index.rebuild();
    return { tell };
  });
  return (change) => telling.now?.tell(change);
}

function startTellingPulls({ random }: EventsDeps, records: Late<Records>): PullSink {
  const telling = records.map(({ connection }) => ({ tell: pullStream(connection, random) }));
  return async (pulls) => await telling.now?.tell(pulls);
}
