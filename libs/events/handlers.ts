import type { EventsServiceImplementation } from "#contracts/event/v1/event";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { Log, LogMessage } from "#libs/records";
import { type CallScope, resumeTokenHeader } from "#libs/rpc";
import { toEvent } from "./cloud-event.ts";

const FILTER = /^evt\.([A-Za-z0-9_-]+\.|\*\.)*([A-Za-z0-9_-]+|\*|>)$/;

/** The Events API over stream EVT. */
export function eventsHandlers(events: Log): EventsServiceImplementation<CallScope> {
  return {
    async *watchEvents({ since, filter, follow }, call) {
      const { principal, signal } = call;
      authorise(principal, "watch", "events");
      const subjects = checkFilter(filter);
      const afterSequence = since === "" ? await firstPosition(events, follow) : parseToken(since);
      // Told at once: a watch from now on that breaks off before anything came begins at this very place again.
      call.header.set(resumeTokenHeader, String(afterSequence));
      call.sendHeader();
      const messages = follow
        ? events.follow(subjects, { afterSequence, signal })
        : kept(events, subjects, afterSequence, signal);
      for await (const message of messages) yield toEvent(message);
    },
  };
}

/** What is there now, and no more. */
async function* kept(
  events: Log,
  filter: string,
  afterSequence: number,
  signal: AbortSignal,
): AsyncGenerator<LogMessage> {
  const newest = (await events.read(filter))?.sequence ?? 0;
  if (newest <= afterSequence) return;
  for await (const message of events.follow(filter, { afterSequence, signal })) {
    yield message;
    if (message.sequence >= newest) return;
  }
}

async function firstPosition(events: Log, follow: boolean): Promise<number> {
  return follow ? await events.lastSequence() : 0;
}

function checkFilter(filter: string): string {
  if (filter === "") return "evt.>";
  if (FILTER.test(filter)) return filter;
  throw new StillpointError("ARGUMENT_INVALID", `"${filter}" is not an event filter`, {
    help: 'Write a NATS subject filter that begins with "evt.", such as evt.vm.>',
  });
}

function parseToken(since: string): number {
  const token = Number(since);
  if (Number.isSafeInteger(token) && token >= 0) return token;
  throw new StillpointError("ARGUMENT_INVALID", `"${since}" is not an event token`);
}
